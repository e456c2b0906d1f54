"""The frame of every page: a single file that can neither load nor run anything from elsewhere."""

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lossarium.errors import LossariumError
from lossarium.files import write_whole
from lossarium.report.palette import palette_css

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" '
    'fill="#0b6e75"/><path d="M3 4c2 7 5 8 10 8" fill="none" stroke="#fff" stroke-width="2" '
    'stroke-linecap="round"/></svg>'
)


def page(template: str, script: str | None, data: dict[str, Any], **words: Any) -> str:
    """A page as text.

    Args:
        template: Of this package.
        script: Of this package, run after uPlot and `shared.js`; None for a page without any script.
        data: The data for the script; JSON without NaN.
        words: The variables of the template; text among them is escaped.
    """
    environment = Environment(
        loader=PackageLoader("lossarium.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["breakable"] = _breakable
    names = () if script is None else ("uplot/uPlot.iife.min.js", "shared.js", script)
    scripts = [_package_text(name) for name in names]
    return environment.get_template(template).render(
        **words,
        favicon="data:image/svg+xml;base64," + base64.b64encode(FAVICON.encode()).decode("ascii"),
        content_security_policy=_content_security_policy(scripts),
        # These four come from the package or are made safe below: they are not escaped again.
        styles=Markup(_package_text("uplot/uPlot.min.css") + palette_css() + _package_text("report.css")),
        scripts=[Markup(script) for script in scripts],
        data=_json_for_html(data),
        uplot_licence=_package_text("uplot/LICENSE"),
    )


def write_page(content: str, path: Path) -> None:
    """Write a page atomically: readers see the old file or the new one.

    Raises:
        LossariumError: the folder cannot be written to.
    """
    # A folder name may contain bytes that are not UTF-8, which must not prevent the report.
    try:
        write_whole(path, content.encode("utf-8", "replace"))
    except OSError as error:
        raise LossariumError(
            f"The report cannot be written to {path} ({error.strerror}); choose a folder that can be written."
        ) from error


def _package_text(name: str) -> str:
    return resources.files("lossarium.report").joinpath(name).read_text("utf-8")


def _content_security_policy(scripts: list[str]) -> str:
    """Forbid all requests, and all scripts except the inlined ones, whatever text a name contains."""
    digests = (
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts
    )
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _breakable(spec: str) -> Markup:
    """The spec, escaped: lines break between its terms if they can, else after a bracket, comma or sign."""
    terms = (Markup("<wbr>").join(re.split(r"(?<=[(,*])", term)) for term in re.split(r"\s+(?=[+-]\s)", spec))
    return Markup(" ").join(Markup('<span class="term">{}</span>').format(term) for term in terms)


def _json_for_html(data: dict[str, Any]) -> Markup:
    """JSON that cannot close the HTML element around it; NaN is not JSON and must not occur."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)

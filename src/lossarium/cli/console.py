"""rich's console for streams whose encoding may lack the characters of tables."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from lossarium.text.plain import plain

_LEAST_WIDTH = 20


class PlainConsole(Console):
    """Replaces characters that the stream cannot encode before the layout, so that tables stay aligned."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        """Like rich's; without a file it writes to the current `sys.stdout` or `sys.stderr`.

        The file is passed on, since rich looks up the encoding only of a file that it is given.
        """
        options.setdefault("file", sys.stderr if stderr else sys.stdout)
        super().__init__(**options)
        # Some terminals report a width of 0 or 1 columns, at which nothing would be printed at all.
        if self.width < _LEAST_WIDTH:
            self.width = _LEAST_WIDTH

    def render_str(self, text: str, **options: Any) -> Text:
        """The text of a cell, a heading or a line."""
        return super().render_str(plain(text, self.encoding), **options)

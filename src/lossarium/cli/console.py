"""rich's console on a stream whose encoding may lack what tables are drawn with."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from lossarium.text.plain import plain

_LEAST_WIDTH = 20


class PlainConsole(Console):
    """Replaces what the stream cannot encode before the layout, so that tables stay aligned."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        """As rich's; without a file it writes to what `sys.stdout` or `sys.stderr` is now.

        rich knows the encoding of a file that it is given alone.
        """
        options.setdefault("file", sys.stderr if stderr else sys.stdout)
        super().__init__(**options)
        # Some terminals say that they are 0 or 1 columns wide, on which nothing would be printed at all.
        if self.width < _LEAST_WIDTH:
            self.width = _LEAST_WIDTH

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a cell, a heading or a line."""
        return super().render_str(plain(text, self.encoding), **options)

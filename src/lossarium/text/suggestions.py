"""Did you mean: the known names closest to a mistyped one."""

import difflib


def nearest(word: str, known: tuple[str, ...]) -> str:
    """A hint for an error message: the known names closest to `word`, or else all of them."""
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "choose from " + ", ".join(known) if known else "there are none"

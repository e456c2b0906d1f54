"""The colours of the losses: the same on the whole page, told apart by colour-blind readers as well.

Every loss also carries a number, and its line a dash after the sixth, so that nothing hangs on colour alone.
"""

LIGHT = (
    "#0072b2",
    "#d55e00",
    "#00855f",
    "#aa4499",
    "#8c6d00",
    "#1c93cc",
    "#332288",
    "#882255",
    "#117733",
    "#d63a6f",
    "#6b4c3b",
    "#555b63",
)
"""On white; the first six after Okabe and Ito, the rest after Paul Tol, darkened to 3:1 and more."""

DARK = (
    "#4fa8e0",
    "#f28e3c",
    "#3cc497",
    "#db8fd0",
    "#e3c63b",
    "#8fd3f7",
    "#a79bff",
    "#e78fb0",
    "#86ce6e",
    "#ff7aa2",
    "#c9a28a",
    "#b6bdc6",
)
"""The same hues, lighter, for a dark page."""

INK_ON_COLOUR = ("#000000", "#ffffff")


def colour_of(index: int) -> int:
    """The number (from 1) of the colour of the loss at `index`; it starts again after the last colour."""
    return index % len(LIGHT) + 1


def luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb`, in [0, 1] (WCAG 2.2)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours `#rrggbb`, in [1, 21] (WCAG 2.2)."""
    dark, bright = sorted((luminance(first), luminance(second)))
    return (bright + 0.05) / (dark + 0.05)


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on `colour`."""
    return max(INK_ON_COLOUR, key=lambda ink: contrast(ink, colour))


def palette_css() -> str:
    """The colours as CSS: `.loss-3` sets `--loss` and `--on-loss`; paper always gets the light colours."""
    classes = "".join(
        f".loss-{n}{{--loss:var(--loss-{n});--on-loss:var(--on-loss-{n})}}" for n in range(1, len(LIGHT) + 1)
    )
    return (
        f":root{{{_variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{classes}"
    )


def _variables(colours: tuple[str, ...]) -> str:
    return "".join(
        f"--loss-{n}:{colour};--on-loss-{n}:{ink_on(colour)};" for n, colour in enumerate(colours, start=1)
    )

"""What a trial shows while it runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewOptions:
    """What a trial shows while it runs; its numbers do not depend on it."""

    preview_every: float = 60.0
    """Seconds between two updates of `preview.png`; 0 for no previews."""
    tensorboard: bool = False
    """Whether to write event files; needs the package tensorboardX."""

"""The built-in losses. To add one: write its function and declaration, and name its file here."""

from lossarium.losses.declaration import LossInfo
from lossarium.losses.frequency import ffl, wavelet_l1
from lossarium.losses.gradient import gmsd, laplacian, mdsi, nlpd, pixel_gradient
from lossarium.losses.perceptual import flip, lpips
from lossarium.losses.pixel import norms, relative, robust
from lossarium.losses.structure import haarpsi, mix, ms_ssim, ssim, uqi

LOSSES: tuple[LossInfo, ...] = (
    *norms.LOSSES,
    *robust.LOSSES,
    *relative.LOSSES,
    *ssim.LOSSES,
    *uqi.LOSSES,
    *ms_ssim.LOSSES,
    *mix.LOSSES,
    *gmsd.LOSSES,
    *mdsi.LOSSES,
    *haarpsi.LOSSES,
    *nlpd.LOSSES,
    *pixel_gradient.LOSSES,
    *laplacian.LOSSES,
    *wavelet_l1.LOSSES,
    *ffl.LOSSES,
    *lpips.LOSSES,
    *flip.LOSSES,
)
# Other common names.
ALSO_CALLED = {"l1": "mae", "l2": "mse"}


def names() -> frozenset[str]:
    """The names of the built-in losses, and their other common names."""
    return frozenset((*(loss.name for loss in LOSSES), *ALSO_CALLED))

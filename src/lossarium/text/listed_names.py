"""The names that --help lists, kept here since the modules that define them import torch, which is slow."""

MODELS = ("compact", "lightweight", "original", "dfl_h128", "dfl_sae")
DEFAULT_JUDGES = ("psnr", "mae", "ssim", "lpips")
_FURTHER = ("lpips_vgg", "ms_ssim", "gmsd", "mdsi", "haarpsi", "nlpd", "wavelet_l1", "flip")
_ARTEFACTS = ("ciede2000", "sharpness", "grid", "colour_shift", "blur", "ringing", "blotches")
JUDGES = (*DEFAULT_JUDGES, *_FURTHER, *_ARTEFACTS)
OPTIMIZERS = ("adam", "adamw", "adamax", "nadam", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "multi_step", "exponential", "cosine", "one_cycle", "plateau")

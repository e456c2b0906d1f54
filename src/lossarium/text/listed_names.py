"""The names that --help lists, kept here since the modules that define them import torch, which is slow."""

MODELS = ("compact", "lightweight", "original", "dfl_h128", "dfl_sae")
DEFAULT_JUDGES = ("psnr", "mae", "ssim", "lpips")
JUDGES = (*DEFAULT_JUDGES, "lpips_vgg", "ms_ssim", "gmsd", "mdsi", "haarpsi", "nlpd", "wavelet_l1", "flip")
OPTIMIZERS = ("adam", "adamw", "adamax", "nadam", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "multi_step", "exponential", "cosine", "one_cycle", "plateau")

"""Names that the help lists: here, since the places that know them import torch, and help should not wait."""

MODELS = ("compact", "lightweight", "original", "dfl_h128", "dfl_sae")
JUDGES = ("psnr", "mae", "ssim", "lpips")
OPTIMIZERS = ("adam", "adamw", "adamax", "nadam", "sgd", "rmsprop")
SCHEDULES = ("constant", "step", "multi_step", "exponential", "cosine", "one_cycle", "plateau")

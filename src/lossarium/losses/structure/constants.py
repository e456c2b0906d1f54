"""Constants that formulas and their kernels share; kernels are recompiled when one changes."""

# SSIM's (K1 L)^2 and (K2 L)^2 with K1 = 0.01, K2 = 0.03 and L = 1, the range of pictures in [0, 1]
# (Wang et al. 2004, section III.B).
C1, C2 = 0.01**2, 0.03**2

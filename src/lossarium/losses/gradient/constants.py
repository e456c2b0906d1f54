"""Constants that formulas and their kernels share; kernels are recompiled when one changes."""

# The slope of a root at 0 is infinite, so the square of 1e-7 is added inside. That is float32's rounding near
# 1, and no magnitude or deviation changes by more.
ROOT_EPSILON = 1e-14

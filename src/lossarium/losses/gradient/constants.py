"""Constants that formulas and their kernels share; kernels are compiled anew when one changes."""

# A root's slope at 0 is infinite. With the square of 1e-7 inside, which is float32's rounding near 1, no
# magnitude and no deviation moves by more than that.
ROOT_EPSILON = 1e-14

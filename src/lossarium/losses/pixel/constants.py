"""Constants that formulas and their kernels share; kernels are recompiled when one changes."""

# An alpha nearer to 0 or to infinity than this equals its limit within float64.
NEAR_ZERO, FAR_OUT = 1e-18, 1e18
# Around alpha = 2 within this distance the power is taken relative to the square.
AROUND_SQUARE = 0.1
# exp(30) is 1e13: with it sums over pictures of any size stay finite in float32.
LARGEST_EXPONENT = 30.0

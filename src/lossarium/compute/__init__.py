"""Compiles and runs kernels, for any loss: compilation, threads, tiling, and small functions that kernels
share.

A kernel is in a file whose name ends in `_cpu`, beside the plain formula that it makes fast. To call one:

>>> import torch
>>> from lossarium.losses.structure import ssim_cpu
>>> target = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
>>> values, gradient = ssim_cpu.ssim(target, target, None, 1.0, window=11, sigma=1.5)
>>> values
tensor([0., 0., 0., 0.])

A loss's kernel is called as `kernel(input, target, weight, scale, *, options)` with float32, contiguous,
detached tensors on the CPU: input and target are (N, C, H, W), weight is (N, 1, H, W) or None. It returns
one value per picture, (N,), and the gradient of each picture's own value with respect to the input, times
`scale`, or None for the gradient if `scale` is None.
"""

"""What runs kernels, and knows no loss: compiling, threads, tiles and what they are made of.

Kernels stand beside what they make fast, in files whose names end in `_cpu`. To call one:

>>> import torch
>>> from lossarium.losses.structure import ssim_cpu
>>> target = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
>>> values, gradient = ssim_cpu.ssim(target, target, None, 1.0, window=11, sigma=1.5)
>>> values
tensor([0., 0., 0., 0.])

A loss's kernel is called as `kernel(input, target, weight, scale, *, options)` with float32, contiguous,
detached tensors on the CPU: (N, C, H, W) twice, and (N, 1, H, W) or None. It returns one value a picture,
(N,), and the gradient of each picture's own value by the input, times `scale`; none where scale is None.
"""

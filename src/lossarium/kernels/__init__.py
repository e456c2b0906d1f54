"""How losses are made fast on a CPU: value and gradient in one pass, under the same names as the losses.

`lossarium.losses` calls them where they serve; to call one oneself:

>>> import torch
>>> from lossarium.kernels import structure
>>> target = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
>>> values, gradient = structure.ssim(target, target, None, 1.0, window=11, sigma=1.5)
>>> values
tensor([0., 0., 0., 0.])

Every kernel is called as `kernel(input, target, weight, scale, *, options)` with float32, contiguous,
detached tensors on the CPU: (N, C, H, W) twice, and (N, 1, H, W) or None. It returns one value a picture,
(N,), and the gradient of each picture's own value by the input, times `scale`; none where scale is None.
"""

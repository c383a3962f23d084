"""Bilinear sampling of images at given positions, differentiable any number of times with respect to the images.

`torch.nn.functional.grid_sample` can be differentiated only once. Sampling is linear in the images, so its derivative
is its adjoint (each sample is added back to the four pixels it came from), and the derivative of the adjoint is
sampling again: two Functions, each the other's backward pass. Positions are constants: no gradient reaches them.

Shapes: images (N, C, H, W), grid (N, H', W', 2), result (N, C, H', W').
"""

import torch
import torch.nn.functional as F


def grid_sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Samples `images` (N, C, H, W) bilinearly at `grid` (N, H', W', 2); zero outside the images.

    A position is (x, y), -1 and 1 being the outer edges of the outermost pixels (align_corners=False).
    """
    if grid.requires_grad:
        raise ValueError("grid_sample has no derivative with respect to the grid; detach it")
    return _Sample.apply(images, grid)


class _Sample(torch.autograd.Function):
    """images -> samples."""

    @staticmethod
    def forward(images, grid):
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def setup_context(ctx, inputs, output):
        images, grid = inputs
        ctx.save_for_backward(grid)
        ctx.height, ctx.width = images.shape[2:]

    @staticmethod
    def backward(ctx, d_samples):
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(d_samples, grid, ctx.height, ctx.width), None

    @staticmethod
    def vmap(info, in_dims, images, grid):
        images, grid = _fold(info, in_dims, images, grid)
        return _Sample.apply(images, grid).unflatten(0, (info.batch_size, -1)), 0


class _Scatter(torch.autograd.Function):
    """samples -> images of `height` x `width`: the adjoint of `_Sample`."""

    @staticmethod
    def forward(samples, grid, height, width):
        images = samples.new_empty([1]).expand([*samples.shape[:2], height, width])  # only its shape is read
        bilinear, zeros, align_corners = 0, 0, False
        return torch.ops.aten.grid_sampler_2d_backward(
            samples, images, grid, bilinear, zeros, align_corners, output_mask=[True, False]
        )[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx, d_images):
        (grid,) = ctx.saved_tensors
        return _Sample.apply(d_images, grid), None, None, None

    @staticmethod
    def vmap(info, in_dims, samples, grid, height, width):
        samples, grid = _fold(info, in_dims, samples, grid)
        return _Scatter.apply(samples, grid, height, width).unflatten(0, (info.batch_size, -1)), 0


def _fold(info, in_dims, *tensors):
    """Folds vmap's dimension into the batch of each tensor; one that vmap does not map is repeated."""
    folded = []
    for tensor, dim in zip(tensors, in_dims, strict=False):
        tensor = tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        folded.append(tensor.flatten(0, 1))
    return folded

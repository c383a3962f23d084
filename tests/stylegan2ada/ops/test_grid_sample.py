"""The sampler against a slow reference, and its derivatives."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops.grid_sample import grid_sample


def reference(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Bilinear sampling by plain indexing, zero outside; PyTorch differentiates it as often as one likes."""
    batch, _, height, width = images.shape
    x = ((grid[..., 0] + 1) * width - 1) / 2
    y = ((grid[..., 1] + 1) * height - 1) / 2
    total = 0
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = x.floor() + dx, y.floor() + dy
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            column, row = column.clamp(0, width - 1).long(), row.clamp(0, height - 1).long()
            pixels = images[torch.arange(batch)[:, None, None], :, row, column].permute(0, 3, 1, 2)
            total = total + (weight * inside)[:, None] * pixels
    return total


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def grid() -> torch.Tensor:
    """Positions inside and outside the images."""
    return torch.rand(2, 4, 7, 2, dtype=torch.float64) * 3 - 1.5


def test_value_and_both_derivatives_equal_the_reference(images, grid):
    results = []
    for sample in (grid_sample, reference):
        y = sample(images, grid)
        (first,) = torch.autograd.grad(y.pow(3).sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), images)
        results.append((y, first, second))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(results[0][0], F.grid_sample(images, grid, align_corners=False))


def test_gradcheck_and_gradgradcheck(images, grid):
    assert gradcheck(lambda x: grid_sample(x, grid), images)
    assert gradgradcheck(lambda x: grid_sample(x, grid), images)


def test_per_sample_gradients_equal_a_loop(images, grid):
    """vmap over samples with a gradient penalty inside, as a private update needs it."""

    def penalty(image, positions, scale):
        def score(x):
            return (grid_sample(x[None], positions[None]) * scale).pow(3).sum()

        return torch.func.grad(score)(image).square().sum()

    scale = torch.tensor(1.3, dtype=torch.float64)
    per_sample = torch.func.grad(penalty, argnums=2)
    looped = torch.stack([per_sample(images[i].detach(), grid[i], scale) for i in range(2)])
    mapped = torch.func.vmap(per_sample, in_dims=(0, 0, None))(images.detach(), grid, scale)
    torch.testing.assert_close(mapped, looped)


def test_vmap_over_images_only(images, grid):
    stack = torch.stack([images, 2 * images]).detach()
    mapped = torch.func.vmap(grid_sample, in_dims=(0, None))(stack, grid)
    torch.testing.assert_close(mapped[1], 2 * grid_sample(images, grid))


def test_a_grid_with_gradient_raises(images, grid):
    with pytest.raises(ValueError, match="no derivative with respect to the grid"):
        grid_sample(images, grid.requires_grad_())

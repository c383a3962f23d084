"""The classifier's augmentation, drawn per image: mirror, small rotation, resized crop (SpineGAN 2022)."""

import math

import torch
from torch.nn import functional

FLIP_PROBABILITY = 0.3
LARGEST_ROTATION_DEG = 5.0
SMALLEST_CROP_AREA = 0.8


def random_views(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """float (N,C,H,W) square images to random views of the same shape, through one bilinear resampling.

    generator: on the CPU, so that a seed means the same views on every device.
    """
    placements = random_placements(len(images), generator).to(images)
    grid = functional.affine_grid(placements, images.shape, align_corners=False)
    # Where a turned crop looks past the edge it sees the edge pixel: zero would be mid-grey in [-1, 1].
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_placements(count: int, generator: torch.Generator) -> torch.Tensor:
    """(N,2,3) maps from a place in the view to the place in the image it shows, both in [-1, 1].

    Mirrored, then turned about the centre, then cropped to a square of `SMALLEST_CROP_AREA`..1 of the area.
    """
    flip, angle, area, x, y = torch.rand(5, count, generator=generator)
    side = (SMALLEST_CROP_AREA + (1 - SMALLEST_CROP_AREA) * area).sqrt()
    centre = (1 - side) * (2 * torch.stack([x, y]) - 1)  # (2,N)
    radians = math.radians(LARGEST_ROTATION_DEG) * (2 * angle - 1)
    mirror = torch.where(flip < FLIP_PROBABILITY, -1.0, 1.0)
    cos, sin = radians.cos(), radians.sin()
    turn = torch.stack([torch.stack([mirror * cos, -mirror * sin]), torch.stack([sin, cos])])  # (2,2,N)
    shift = (turn * centre).sum(dim=1)  # (2,N)
    return torch.cat([side * turn, shift[:, None]], dim=1).permute(2, 0, 1)

"""The classifier's augmentation: how often, how far, and that it shows the image it was given."""

import math

import pytest
import torch
from torch.nn import functional

from spine_ext import classifier_augment
from spine_ext.classifier_augment import random_placements, random_views

COUNT = 20_000


@pytest.fixture(scope="module")
def placements() -> torch.Tensor:
    return random_placements(COUNT, torch.Generator().manual_seed(0)).double()


def test_three_in_ten_are_mirrored(placements: torch.Tensor) -> None:
    mirrored = (torch.linalg.det(placements[:, :, :2]) < 0).double().mean().item()
    assert abs(mirrored - 0.3) < 4 * math.sqrt(0.3 * 0.7 / COUNT)


def test_the_area_is_uniform_in_the_scale_range(placements: torch.Tensor) -> None:
    area = torch.linalg.det(placements[:, :, :2]).abs()
    assert 0.8 - 1e-6 <= area.min() < 0.801
    assert 0.999 < area.max() <= 1 + 1e-6
    assert abs(area.mean().item() - 0.9) < 4 * 0.2 / math.sqrt(12 * COUNT)


def test_angles_are_uniform_within_five_degrees(placements: torch.Tensor) -> None:
    angle = torch.rad2deg(torch.atan2(placements[:, 1, 0], placements[:, 1, 1]))
    assert 4.99 < angle.max() <= 5.0001
    assert -5.0001 <= angle.min() < -4.99
    assert abs(angle.mean().item()) < 4 * 10 / math.sqrt(12 * COUNT)


def test_ratio_one_and_no_shear(placements: torch.Tensor) -> None:
    linear = placements[:, :, :2]
    gram = linear.transpose(1, 2) @ linear
    area = torch.linalg.det(linear).abs()
    torch.testing.assert_close(gram, area[:, None, None] * torch.eye(2).double(), atol=1e-5, rtol=1e-5)


def test_the_crop_lies_anywhere_in_the_turned_image(placements: torch.Tensor) -> None:
    """The crop's corners, turned back, are inside [-1, 1], and reach the borders."""
    linear, shift = placements[:, :, :2], placements[:, :, 2]
    side = torch.linalg.det(linear).abs().sqrt()
    turn_back = linear.transpose(1, 2) / side[:, None, None]
    centre = (turn_back @ shift[:, :, None])[:, :, 0]
    room = (1 - side)[:, None]
    assert (centre.abs() <= room + 1e-6).all()
    relative = centre[side < 0.99] / room[side < 0.99]
    assert relative.amin(0).max() < -0.99
    assert relative.amax(0).min() > 0.99


def test_each_image_has_its_own_view() -> None:
    image = torch.rand(1, 1, 32, 32).expand(8, -1, -1, -1)
    views = random_views(image, torch.Generator().manual_seed(1)).flatten(1)
    assert (torch.cdist(views, views) + torch.eye(8) > 0.1).all()


def test_the_seed_decides() -> None:
    images = torch.rand(4, 3, 32, 32)
    first, second, other = (random_views(images, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)


def test_without_range_it_is_the_image_or_its_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_augment, "LARGEST_ROTATION_DEG", 0.0)
    monkeypatch.setattr(classifier_augment, "SMALLEST_CROP_AREA", 1.0)
    images = torch.rand(64, 1, 16, 16)
    views = random_views(images, torch.Generator().manual_seed(0))
    same = torch.isclose(views, images, atol=1e-5).flatten(1).all(1)
    mirrored = torch.isclose(views, images.flip(3), atol=1e-5).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert same.any()
    assert mirrored.any()


def test_no_place_outside_the_image_is_seen_as_grey() -> None:
    black = torch.full((32, 1, 32, 32), -1.0)
    torch.testing.assert_close(random_views(black, torch.Generator().manual_seed(0)), black)


def test_a_view_equals_a_slow_look_up() -> None:
    """Pixel by pixel: where does the placement say this pixel comes from?"""
    ramp = torch.linspace(-1 + 1 / 64, 1 - 1 / 64, 64)
    x, y = ramp.expand(64, 64), ramp[:, None].expand(64, 64)
    images = torch.stack([x, y])[None].expand(3, -1, -1, -1)  # each pixel holds its own place
    placement = random_placements(3, torch.Generator().manual_seed(2))
    views = random_views(images, torch.Generator().manual_seed(2))
    for n in range(3):
        for row, column in ((20, 30), (32, 32), (40, 17)):
            here = torch.tensor([ramp[column], ramp[row], 1.0])
            torch.testing.assert_close(views[n, :, row, column], placement[n] @ here, atol=1e-4, rtol=1e-4)
    assert functional.mse_loss(views, images) > 1e-5

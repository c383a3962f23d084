"""Detectors: names, keys, and the images they are given."""

import pytest
import torch

from metrics.features import NamedDetector, key_of, name_of, three_channels


def grey(images: torch.Tensor) -> torch.Tensor:
    return images[:, 0].flatten(1).float()


class Callable_:
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return grey(images)


def test_any_callable_has_a_name_and_no_key_unless_it_says_so():
    assert (name_of(grey), key_of(grey)) == ("grey", None)
    assert (name_of(Callable_()), key_of(Callable_())) == ("Callable_", None)
    named = NamedDetector("mine", "a" * 64, grey)
    assert (name_of(named), key_of(named)) == ("mine", "a" * 64)
    pixels = torch.full([2, 3, 2, 2], 9, dtype=torch.uint8)
    torch.testing.assert_close(named(pixels), grey(pixels))


def test_grey_is_repeated_and_color_stays():
    grey_pixels = torch.randint(0, 256, (2, 1, 4, 4), dtype=torch.uint8)
    found = three_channels(grey_pixels)
    assert found.shape == (2, 3, 4, 4)
    assert all(torch.equal(found[:, channel], grey_pixels[:, 0]) for channel in range(3))
    color = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(three_channels(color), color)


@pytest.mark.parametrize(
    "batch", [torch.zeros(1, 3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, 4, 4).byte()]
)
def test_other_images_raise(batch):
    with pytest.raises(ValueError, match="batches must be uint8"):
        three_channels(batch)

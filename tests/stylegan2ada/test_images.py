"""The range of pixels, and grids."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from stylegan2ada.images import png_bytes, tile, to_model_range, to_uint8


class TestRange:
    def test_every_value_there_and_back(self) -> None:
        pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
        images = to_model_range(pixels)
        assert (images.dtype, images.min().item(), images.max().item()) == (torch.float32, -1, 1)
        assert torch.equal(to_uint8(images), pixels)

    def test_the_official_rounding_and_clamping(self) -> None:
        """x * 127.5 + 128, cut to a whole number: -1 is 0.5 and becomes 0, 1 is 255.5 and becomes 255."""
        images = torch.tensor([-9.0, -1.0, -0.0001, 0.0, 0.99, 1.0, 9.0]).reshape(1, 1, 1, 7)
        assert to_uint8(images).flatten().tolist() == [0, 0, 127, 128, 254, 255, 255]
        assert torch.equal(to_uint8(images.double()), to_uint8(images))


def test_a_grid_is_filled_row_by_row_and_ends_in_black() -> None:
    pixels = np.stack([np.full((1, 2, 3), value, np.uint8) for value in (10, 20, 30)])
    assert tile(pixels, columns=2)[0, ::2, ::3].tolist() == [[10, 20], [30, 0]]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png_keeps_pixels_and_grey_stays_grey(channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 5, 4)).astype(np.uint8)
    with PIL.Image.open(io.BytesIO(png_bytes(pixels))) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        np.testing.assert_array_equal(np.array(image).reshape(5, 4, channels).transpose(2, 0, 1), pixels)

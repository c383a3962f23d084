"""The centre square and its resampling, against index arithmetic."""

import numpy as np
import pytest

from spine_ext.square import RESAMPLERS, Rejected, SquareRecipe, make_square


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (201, 300), (128, 999), (256, 256), (2140, 1760)])
@pytest.mark.parametrize("resolution", [64, 256])
def test_nearest_takes_the_pixel_under_the_middle(shape, resolution):
    pixels = noise(*shape)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    positions = [((2 * i + 1) * side) // (2 * resolution) for i in range(resolution)]
    expected = [[pixels[top + y, left + x] for x in positions] for y in positions]
    assert (make_square(pixels, SquareRecipe(resolution, "nearest")) == expected).all()


def test_area_is_the_mean_of_the_pixels_covered():
    pixels = noise(512, 700)
    expected = pixels[:, 94:606].reshape(64, 8, 64, 8).mean(axis=(1, 3))
    assert np.abs(make_square(pixels, SquareRecipe(64, "area")) - expected).max() <= 1


@pytest.mark.parametrize("resample", RESAMPLERS)
def test_flat_stays_flat_and_size_is_right(resample):
    square = make_square(np.full((150, 170), 77, dtype=np.uint8), SquareRecipe(256, resample))
    assert square.shape == (256, 256) and square.dtype == np.uint8 and (square == 77).all()


@pytest.mark.parametrize(("shape", "accepted"), [((127, 500), False), ((500, 127), False), ((128, 128), True)])
def test_small_images_are_rejected(shape, accepted):
    if accepted:
        assert make_square(noise(*shape), SquareRecipe()).shape == (256, 256)
        return
    with pytest.raises(Rejected, match=r"too small: .*; the smaller side must be 128"):
        make_square(noise(*shape), SquareRecipe())
    assert make_square(noise(*shape), SquareRecipe(min_side_px=100)).shape == (256, 256)

"""The burned-in word is in the corner, of a size to be read, and the rest of the image is as it was."""

import numpy as np
import pytest

from spine_ext.burn_in import burn_in
from stylegan2ada.errors import UserError


@pytest.mark.parametrize("shade", [0, 128, 255])
@pytest.mark.parametrize("side", [64, 128, 256, 512])
@pytest.mark.parametrize("channels", [1, 3])
def test_word_in_the_corner(channels, side, shade):
    pixels = np.full((channels, side, side), shade, np.uint8)
    marked = burn_in(pixels)
    assert (marked.shape, marked.dtype) == (pixels.shape, np.uint8)
    black = np.argwhere(marked[0] == 0) if shade else np.argwhere(marked[0] > 0)
    (top, left), (bottom, right) = black.min(axis=0), black.max(axis=0)
    assert top > side * 0.8 and left <= 8 and bottom >= side - 8
    assert side * 0.2 < right < side and bottom - top >= 5  # letters of fewer rows cannot be told apart
    field = marked[:, top : bottom + 1, left : right + 1]
    assert field.max() > 200 and 0.1 < (field > 100).mean() < 0.6
    outside = marked.copy()
    outside[:, top - 2 :, : right + 10] = shade
    np.testing.assert_array_equal(outside, pixels)


def test_letters_are_not_clipped():
    """Nothing of the word touches the edge of its field, but for the blur of one pixel."""
    marked = burn_in(np.full((1, 256, 256), 128, np.uint8))[0]
    rows, columns = np.nonzero(marked == 0)
    field = marked[rows.min() :, : columns.max() + 1]
    assert max(field[0].max(), field[-1].max(), field[:, 0].max(), field[:, -1].max()) < 100


def test_an_image_that_is_too_small():
    with pytest.raises(UserError, match="--burn-in: SYNTHETIC cannot be read in 32x32 pixels"):
        burn_in(np.zeros((1, 32, 32), np.uint8))

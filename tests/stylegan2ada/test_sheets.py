"""Sheets hold every image unchanged, in its place, with the words beside it."""

import numpy as np
import PIL.Image
import pytest

from stylegan2ada.errors import UserError
from stylegan2ada.sheets import check_sheet, draw_sheet, save_sheet


def noise(count: int, channels: int = 1, side: int = 12) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(1, 256, (count, channels, side, side)).astype(np.uint8))


def place_of(image: np.ndarray, sheet: np.ndarray) -> tuple[int, int]:
    """Row and column of pixels where `image` stands in `sheet`, both (C,H,W); once."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, image.shape)[0]
    (place,) = np.argwhere((windows == image).all(axis=(2, 3, 4)))
    return tuple(place)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_words(channels):
    images = noise(5, channels)
    sheet = draw_sheet(images, columns=3)
    assert (sheet.shape, sheet.dtype) == ((channels, 2 * 12 + 2, 3 * 12 + 4), np.uint8)
    assert [place_of(image, sheet) for image in images] == [(0, 0), (0, 14), (0, 28), (14, 0), (14, 14)]
    assert not sheet[:, 14:, 28:].any()


@pytest.mark.parametrize("channels", [1, 3])
def test_words_stand_beside_rows_and_above_columns(channels):
    images = noise(6, channels, side=32)
    sheet = draw_sheet(images, 3, ["normal", "abnormal"], ["a column with a long name", "", "c"])
    places = [place_of(image, sheet) for image in images]
    assert len({row for row, _ in places}) == 2 and len({column for _, column in places}) == 3
    top, left = places[0]
    for row, _ in places[::3]:
        assert sheet[:, row : row + 32, : left - 1].max() > 200
    for (_, column), has_word in zip(places[:3], (True, False, True), strict=True):
        assert (sheet[:, :top, column : column + 32].max() > 200) == has_word


def test_file(tmp_path):
    save_sheet(tmp_path / "new" / "sheet.png", noise(4, 3), 2)
    with PIL.Image.open(tmp_path / "new" / "sheet.png") as picture:
        np.testing.assert_array_equal(np.array(picture).transpose(2, 0, 1), draw_sheet(noise(4, 3), 2))


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*sheet.png"):
        save_sheet(tmp_path / "file" / "sheet.png", noise(1), 1)


def test_too_many():
    check_sheet(2048, 256, "--grid")
    with pytest.raises(UserError, match="--grid: 2,049 images of 256 px are too many for one picture; at most 2,048"):
        check_sheet(2049, 256, "--grid")

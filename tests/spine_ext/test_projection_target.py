"""Targets of any size, shape and color fit the network, and every change is said."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spine_ext.projection_target import read_target
from stylegan2ada.errors import UserError
from tests.dicom_samples import dicom_bytes, make_dataset


def save(path: Path, *shape: int) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return pixels


def test_an_image_that_fits_is_taken_as_it_is(tmp_path):
    grey, color = save(tmp_path / "g.png", 16, 16), save(tmp_path / "c.png", 16, 16, 3)
    found, remarks = read_target(tmp_path / "g.png", 16, 1)
    np.testing.assert_array_equal(found, grey[None])
    assert remarks == [] and found.dtype == np.uint8
    found, remarks = read_target(tmp_path / "c.png", 16, 3)
    np.testing.assert_array_equal(found, color.transpose(2, 0, 1))
    assert remarks == []


def test_the_centre_square_is_cut_out(tmp_path):
    pixels = save(tmp_path / "a.png", 16, 20)
    found, remarks = read_target(tmp_path / "a.png", 16, 1)
    np.testing.assert_array_equal(found[0], pixels[:, 2:18])
    assert remarks == ["20x16 pixels: the centre square of 16 is used"]


@pytest.mark.parametrize("side", [8, 40])
def test_other_sizes_are_resized(tmp_path, side):
    PIL.Image.linear_gradient("L").resize((side, side)).save(tmp_path / "a.png")
    found, remarks = read_target(tmp_path / "a.png", 16, 1)
    assert remarks == [f"resized from {side} to the network's 16 pixels"]
    assert found.shape == (1, 16, 16) and (np.diff(found[0].astype(int), axis=0) >= 0).all()


def test_colors_are_fitted(tmp_path):
    grey, _ = save(tmp_path / "g.png", 16, 16), save(tmp_path / "c.png", 16, 16, 3)
    found, remarks = read_target(tmp_path / "g.png", 16, 3)
    np.testing.assert_array_equal(found, np.stack([grey] * 3))
    assert remarks == ["grey made color for this network"]
    found, remarks = read_target(tmp_path / "c.png", 16, 1)
    assert found.shape == (1, 16, 16) and remarks == ["color made grey for this network"]


@pytest.mark.parametrize("name", ["a.dcm", "1.2.840.dicom", "a"])
def test_dicom(tmp_path, name):
    """As a viewer shows it: MONOCHROME1 is inverted."""
    stored = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
    window = {"WindowCenter": 128, "WindowWidth": 256}
    dataset = make_dataset(stored, PhotometricInterpretation="MONOCHROME1", BitsAllocated=8, BitsStored=8, **window)
    (tmp_path / name).write_bytes(dicom_bytes(dataset))
    found, remarks = read_target(tmp_path / name, 32, 1)
    np.testing.assert_array_equal(found[0], 255 - stored)
    assert remarks == []


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "data", "parts"),
        [
            ("a.png", b"rubbish", "cannot read a.png .* as PNG"),
            ("a.png", b"", "cannot read a.png"),
            ("a.dcm", b"rubbish", "--target .*a.dcm: no image .* by its name, and as DICOM: "),
            ("a.txt", b"hello" * 100, "as DICOM: "),
            ("a.dcm", b"\0" * 128 + b"DICM" + b"\xff" * 64, "as DICOM: "),
        ],
    )
    def test_no_image(self, tmp_path, name, data, parts):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=parts):
            read_target(tmp_path / name, 16, 1)

    def test_missing_or_a_folder(self, tmp_path):
        for path in (tmp_path / "none.png", tmp_path):
            with pytest.raises(UserError, match="there is no such file"):
                read_target(path, 16, 1)

    def test_a_palette_is_refused_with_the_remedy(self, tmp_path):
        PIL.Image.new("P", (16, 16)).save(tmp_path / "a.png")
        with pytest.raises(UserError, match="mode P: convert the images to 8-bit grey or RGB"):
            read_target(tmp_path / "a.png", 16, 1)

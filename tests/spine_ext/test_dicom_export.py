"""Exported files hold every attribute that the standard asks of Secondary Capture, and say that they are synthetic."""

import io
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from spine_ext.dicom_export import SyntheticSeries, dicom_bytes
from spine_ext.dicom_pixels import read_radiograph

# PS3.3 2024: the attributes that may not be missing, and those that may not be empty either. Conditional attributes
# whose condition holds here stand with the others.
PRESENT = {
    "Patient C.7.1.1": "PatientName PatientID PatientBirthDate PatientSex",
    "General Study C.7.2.1": "StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber",
    "General Series C.7.3.1": "Modality SeriesInstanceUID SeriesNumber Laterality",
    "SC Equipment C.8.6.1": "ConversionType",
    "General Image C.7.6.1": "InstanceNumber PatientOrientation ContentDate ContentTime",
    "Image Pixel C.7.6.3": (
        "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation"
        " PixelData"
    ),
    "VOI LUT C.11.2": "WindowCenter WindowWidth",
    "SOP Common C.12.1": "SOPClassUID SOPInstanceUID SpecificCharacterSet",
}
FILLED = {
    "General Study C.7.2.1": "StudyInstanceUID",
    "General Series C.7.3.1": "Modality SeriesInstanceUID",
    "SC Equipment C.8.6.1": "ConversionType",
    "Image Pixel C.7.6.3": PRESENT["Image Pixel C.7.6.3"],
    "VOI LUT C.11.2": PRESENT["VOI LUT C.11.2"],
    "SOP Common C.12.1": PRESENT["SOP Common C.12.1"],
}
SYNTHETIC_TEXTS = (
    "PatientName PatientID PatientComments StudyID StudyDescription SeriesDescription ImageType ImageComments"
    " DerivationDescription"
)

SERIES = SyntheticSeries("Made with network n.safetensors.", ["Trained on: drawn shapes."])


def noise(channels: int = 1, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (channels, side, side)).astype(np.uint8)


def export(pixels: np.ndarray, number: int = 3, series: SyntheticSeries = SERIES) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(dicom_bytes(series, pixels, number, "Class 1 (Fraktur, älter). Seed 5.")))


def test_control_characters_do_not_reach_the_file():
    """They come from file names; an escape in a text is an error of the standard, and pydicom warns."""
    series = SyntheticSeries("Made with network a\x1b[2J\n\udcff.safetensors.", ["x\x00y"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = export(noise(), series=series)
        assert dataset.DerivationDescription.endswith("Made with network a?[2J??.safetensors.")
        assert dataset.ImageComments.endswith("x?y")


class TestModules:
    @pytest.mark.parametrize("module", PRESENT)
    def test_required_attributes(self, module):
        dataset = export(noise())
        assert [keyword for keyword in PRESENT[module].split() if keyword not in dataset] == []
        empty = [keyword for keyword in FILLED.get(module, "").split() if dataset[keyword].is_empty]
        assert empty == []

    def test_color_has_its_planes(self):
        dataset = export(noise(3))
        assert (dataset.SamplesPerPixel, dataset.PhotometricInterpretation) == (3, "RGB")
        assert dataset.PlanarConfiguration == 0
        assert "WindowCenter" not in dataset and "PlanarConfiguration" not in export(noise())

    def test_grey_pixel_format(self):
        dataset = export(noise(side=16))
        found = [dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit]
        assert [*found, dataset.PixelRepresentation] == [16, 16, 8, 8, 7, 0]
        assert dataset.PhotometricInterpretation == "MONOCHROME2"

    def test_file_is_a_secondary_capture(self):
        dataset = export(noise())
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
        assert (dataset.Modality, dataset.ConversionType) == ("OT", "SYN")


class TestSaysThatItIsSynthetic:
    def test_attribute_of_the_standard(self):
        assert export(noise())[0x0008, 0x001C].value == "YES"

    @pytest.mark.parametrize("keyword", SYNTHETIC_TEXTS.split())
    def test_in_words(self, keyword):
        assert "SYNTHETIC" in str(export(noise())[keyword].value)

    def test_what_made_it(self):
        (equipment,) = export(noise()).ContributingEquipmentSequence
        (purpose,) = equipment.PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
        assert purpose.CodeMeaning == "Synthesizing Equipment"
        assert "SYNTHETIC" in equipment.ContributionDescription

    def test_comment_holds_class_and_notices(self):
        comment = export(noise()).ImageComments
        assert "Class 1 (Fraktur, älter). Seed 5." in comment and "drawn shapes" in comment
        assert "n.safetensors" in export(noise()).DerivationDescription


class TestIdentifiers:
    def test_a_run_is_one_series_of_new_identifiers(self):
        first, second = export(noise(), 1), export(noise(), 2)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "StudyDate", "StudyTime"):
            assert first[keyword].value == second[keyword].value
        assert first.SOPInstanceUID != second.SOPInstanceUID
        assert [first.InstanceNumber, second.InstanceNumber] == [1, 2]
        other = export(noise(), 1, SyntheticSeries("The same words."))
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "SOPInstanceUID"):
            assert first[keyword].value != other[keyword].value

    def test_uids_are_random_ones_of_the_standard_root(self):
        dataset = export(noise())
        for uid in (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID):
            assert uid.is_valid and len(uid) <= 64 and uid.startswith("2.25.")
            assert (int(uid.removeprefix("2.25.")) >> 76) & 15 == 4  # a UUID of version 4, which is random


class TestPixels:
    @pytest.mark.parametrize("side", [4, 32, 256])
    def test_our_reader_gives_them_back(self, side):
        pixels = noise(side=side)
        np.testing.assert_array_equal(read_radiograph(io.BytesIO(dicom_bytes(SERIES, pixels, 1, ""))), pixels[0])

    def test_a_narrow_range_is_not_spread(self):
        pixels = noise() // 16 + 100
        np.testing.assert_array_equal(read_radiograph(io.BytesIO(dicom_bytes(SERIES, pixels, 1, ""))), pixels[0])

    def test_color(self):
        pixels = noise(3)
        np.testing.assert_array_equal(export(pixels).pixel_array.transpose(2, 0, 1), pixels)

    def test_an_odd_number_of_bytes_is_padded(self):
        pixels = np.full((1, 3, 3), 7, np.uint8)
        assert len(export(pixels).PixelData) == 10
        np.testing.assert_array_equal(export(pixels).pixel_array, pixels[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_validator(tmp_path: Path, channels: int):
    """dciodvfy finds no error. Its releases so far (2024) are older than SyntheticData: it may say that it does not
    know (0008,001C), and nothing else. Its one other remark is that Laterality should be empty only where unknown."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of dicom3tools is not here")
    (tmp_path / "a.dcm").write_bytes(dicom_bytes(SERIES, noise(channels, 64), 1, "Class 1."))
    lines = validate(tmp_path / "a.dcm")
    errors = [line for line in lines if "Error" in line and "(0x0008,0x001c)" not in line]
    assert errors == []
    explained = ("(0x0008,0x001c)", "<Laterality>", "Standard Extended SOP Class")
    warnings = [line for line in lines if "Warning" in line]
    assert [line for line in warnings if not any(part in line for part in explained)] == []

    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    del dataset.SyntheticData
    dataset.save_as(tmp_path / "b.dcm")
    assert [line for line in validate(tmp_path / "b.dcm") if "Error" in line or "Extended" in line] == []


def validate(path: Path) -> list[str]:
    """What dciodvfy says of a file, line by line."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and "SCImage" in lines
    return lines

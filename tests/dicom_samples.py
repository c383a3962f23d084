"""Small DICOM files made for a test: what is not given has the values of an ordinary 12-bit DX image."""

import io
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    uid.JPEGLosslessSV1: lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=16),
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True),
}


def make_dataset(pixels: np.ndarray, syntax: str = uid.ExplicitVRLittleEndian, **attributes: object) -> Dataset:
    """A DX image of integer (H,W) `pixels`, stored as `syntax`; an attribute given as None is left out."""
    signed = pixels.min() < 0
    allocated = 8 if attributes.get("BitsAllocated") == 8 else 16
    stored = attributes.get("BitsStored") or min(12, allocated)
    cells = pixels.astype(f"{'i' if signed else 'u'}{allocated // 8}")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    standard = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(signed),
    }
    for keyword, value in {**standard, **attributes}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if syntax in ENCODERS:
        dataset.PixelData = encapsulate([ENCODERS[syntax](cells)])
    elif syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = cells.astype(cells.dtype.newbyteorder(">")).tobytes()
    else:
        dataset.PixelData = cells.tobytes()
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OB" if syntax in ENCODERS or allocated == 8 else "OW"
    if syntax == uid.RLELossless:
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        dataset.compress(uid.RLELossless, generate_instance_uid=False)
    return dataset


def dicom_bytes(dataset: Dataset) -> bytes:
    """The file of a dataset, which may lack attributes or be wrong in any way."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom_file(dataset: Dataset) -> io.BytesIO:
    return io.BytesIO(dicom_bytes(dataset))


def write_dicom(path: Path, pixels: np.ndarray, **attributes: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(make_dataset(pixels, **attributes)))


def lut_item(entries: np.ndarray, first: int, bits: int, words: bool = True, signed: bool = False) -> Dataset:
    """An item of a modality or VOI LUT sequence; `words` False packs 8-bit entries one to a byte."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries) % 2**16, first, bits])
    data = np.asarray(entries).astype("<u2" if words else "u1").tobytes()
    item.add_new("LUTData", "OW", data + b"\0" * (len(data) % 2))
    return item

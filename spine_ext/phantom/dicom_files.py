"""Phantom radiographs as DX DICOM files, in the variety a real archive has."""

import io
import uuid
from dataclasses import dataclass

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, RLELossless

NOTICE = "Procedural phantom. Not clinical data"
FLAWS = ("no pixel data", "truncated", "too small")

_NAMESPACE = uuid.UUID("6d6b2c1e-0b9a-5f0e-9a57-6c8f3c7d2a11")


@dataclass(frozen=True)
class Encoding:
    """How a radiograph is stored.

    bits: 10 to 16, in 16-bit words. inverted: MONOCHROME1. rle: RLE Lossless instead of native words.
    window: the values use a part of the range, and the window tags say which. rescale: stored values have a
    slope and an intercept. flaw: one of `FLAWS`, or empty.
    """

    bits: int
    inverted: bool
    rle: bool
    window: bool
    rescale: bool
    flaw: str = ""


def draw_encoding(rng: np.random.Generator, flaw: str = "") -> Encoding:
    """Mostly 12 bits, MONOCHROME2, native and windowed, like the archives; the rest in fair shares."""
    return Encoding(
        bits=int(rng.choice([10, 12, 14, 16], p=[0.2, 0.5, 0.2, 0.1])),
        inverted=bool(rng.random() < 0.3),
        rle=bool(rng.random() < 0.2),
        window=bool(rng.random() < 0.65),
        rescale=bool(rng.random() < 0.2),
        flaw=flaw,
    )


def unique_id(*parts: object) -> uuid.UUID:
    """An identifier that depends on `parts` alone: a phantom has the same one wherever it is made."""
    return uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in parts))


def dicom_bytes(
    pixels: np.ndarray,
    view: str,
    encoding: Encoding,
    ids: tuple[uuid.UUID, uuid.UUID, uuid.UUID],
    px_per_mm: float,
) -> bytes:
    """One file: `pixels` (height, width), 0..1, bone bright; `ids` of study, series and image."""
    dataset = _header(view, ids, px_per_mm)
    stored = _store(dataset, pixels, encoding)
    dataset.Rows, dataset.Columns = stored.shape
    if encoding.rle:
        dataset.PixelData = encapsulate([_rle_frame(stored)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.PixelData = stored.astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
    if encoding.flaw == "no pixel data":
        del dataset.PixelData
    data = _write(dataset, RLELossless if encoding.rle else ExplicitVRLittleEndian)
    return data[: len(data) * 2 // 3] if encoding.flaw == "truncated" else data


def _header(view: str, ids: tuple[uuid.UUID, uuid.UUID, uuid.UUID], px_per_mm: float) -> Dataset:
    study, series, image = (UID(f"2.25.{identifier.int}") for identifier in ids)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["DERIVED", "PRIMARY", ""]
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, image
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.StudyID = ds.ReferringPhysicianName = ""
    ds.PatientName = ds.PatientID = ds.PatientBirthDate = ds.PatientSex = ""
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "No patient: " + NOTICE
    ds.Manufacturer = "SpineGAN phantom"
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.SeriesDescription = "SYNTHETIC PHANTOM L-SPINE " + ("LAT" if view == "lateral" else "AP")
    ds.SeriesNumber = ds.InstanceNumber = "1"
    ds.ImageComments = NOTICE
    ds.BodyPartExamined = "LSPINE"
    ds.ViewPosition = "LL" if view == "lateral" else "AP"
    ds.PatientOrientation = ["P", "F"] if view == "lateral" else ["L", "F"]  # where rows and columns lead
    ds.ImageLaterality = "U"
    ds.ImagerPixelSpacing = [round(1 / px_per_mm, 5)] * 2
    ds.DetectorType = "DIRECT"
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    return ds


def _store(dataset: Dataset, pixels: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Fills in the tags that say what stored values mean, and returns these: uint16 (height, width)."""
    top = 2**encoding.bits - 1
    low, high = (0.12 * top, 0.80 * top) if encoding.window else (0.0, float(top))
    values = 1.0 - pixels if encoding.inverted else pixels
    stored = np.uint16(np.clip(np.rint(low + (high - low) * values), 0, top))
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, encoding.bits, encoding.bits - 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if encoding.inverted else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if encoding.inverted else "IDENTITY"
    slope, intercept = (0.5, -100) if encoding.rescale else (1, 0)
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = str(slope), str(intercept), "US"
    if encoding.window:
        dataset.WindowCenter = f"{slope * (low + high) / 2 + intercept:.1f}"
        dataset.WindowWidth = f"{slope * (high - low):.1f}"
    return stored


def _rle_frame(stored: np.ndarray) -> bytes:
    """DICOM PS3.5 annex G: a header of 16 words, then a PackBits segment per byte of the words, high byte first."""
    segments = []
    for plane in (stored >> 8, stored & 255):
        rows = plane.astype(np.uint8)
        segment = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in rows)  # no run crosses a row
        segments.append(segment + b"\0" * (len(segment) % 2))
    header = np.zeros(16, dtype="<u4")
    header[:3] = len(segments), 64, 64 + len(segments[0])
    return header.tobytes() + b"".join(segments)


def _write(dataset: Dataset, transfer_syntax: UID) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    meta.TransferSyntaxUID = transfer_syntax
    buffer = io.BytesIO()
    FileDataset(None, dataset, preamble=b"\0" * 128, file_meta=meta).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()

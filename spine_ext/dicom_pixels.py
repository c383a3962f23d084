"""One DICOM radiograph -> 8-bit grey, as a viewer shows it; for clinical images that is bone bright, air
dark.

In the order of the standard (PS3.4 N.2, PS3.3 C.11.1-2):
stored values -> modality LUT or rescale -> VOI LUT or window -> MONOCHROME1 inversion -> 8 bits.

What the standard leaves open, or files get wrong, is decided here:

* A VOI LUT is preferred to a window, and the first of several is used.
* After a VOI LUT the range is the LUT's own, not that of the stored bits. A LUT that claims 16 bits often
only
  means 16-bit words: its depth is then what its largest entry needs.
* Without a VOI LUT and window, or with one that leaves a single grey level (width 0, or meant for other
data),
  the values between the 0.5th and the 99.5th percentile are spread over the whole range.
* Pixels of the padding value are no measurement: they become black and do not count in the percentiles.
* The polarity is PhotometricInterpretation's alone; PresentationLUTShape repeats it and is not applied again.
"""

import contextlib
import os
import warnings
from typing import BinaryIO

import numpy as np
import pydicom

from .dicom_decode import Rejected, read_dicom, rejecting, stored_values

__all__ = ["Rejected", "read_radiograph"]

PERCENTILES = (0.5, 99.5)


def read_radiograph(source: str | os.PathLike | BinaryIO) -> np.ndarray:
    """Reads one single-frame grey DICOM image as uint8 (H,W), 0 = black, 255 = white.

    Args:
        source: a path, or a seekable binary file.
    Raises:
        Rejected: with a short stable reason and a detail, for every file that does not give an image.
    """
    with contextlib.ExitStack() as stack:
        # pydicom's warnings quote header values, which may name a patient; what matters is checked here.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if isinstance(source, (str, os.PathLike)):
            with rejecting("unreadable file"):
                source = stack.enter_context(open(source, "rb"))
        dataset = read_dicom(source)
        with rejecting("damaged header"):
            stored = stored_values(dataset)
            return _to_grey(stored, dataset)


def _to_grey(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Every step maps a value to a value, so it is worked out once per value that can occur, then looked up."""
    low, high = int(stored.min()), int(stored.max())
    values = np.arange(low, high + 1)
    counts = np.bincount((stored - low).ravel(), minlength=len(values))
    padding = _is_padding(values, dataset)
    grey = _shown(values, np.where(padding, 0, counts), dataset)
    grey[padding] = 0
    return grey[stored - low]


def _shown(values: np.ndarray, counts: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """uint8 grey of each stored value; `counts` is how many pixels have it."""
    modality = _apply_modality(values, dataset)
    fraction = _apply_voi(modality, dataset)
    if fraction is None or _is_blank(fraction, counts):
        fraction = _spread(modality, counts)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        fraction = 1 - fraction
    return np.floor(fraction * 255 + 0.5).astype(np.uint8)


def _apply_modality(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """PS3.3 C.11.1: a lookup table, or slope and intercept, or neither."""
    if dataset.get("ModalityLUTSequence"):
        entries, _ = _look_up(values, dataset.ModalityLUTSequence[0], dataset)
        return entries
    slope, intercept = _first_number(dataset, "RescaleSlope"), _first_number(dataset, "RescaleIntercept")
    if slope == 0:
        raise Rejected("blank image", "RescaleSlope is 0")
    return values * (1.0 if slope is None else slope) + (intercept or 0.0)


def _apply_voi(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray | None:
    """PS3.3 C.11.2: the values of interest as fractions of the display range, or None where nothing says which."""
    if dataset.get("VOILUTSequence"):
        entries, bits = _look_up(np.rint(values).astype(np.int64), dataset.VOILUTSequence[0], dataset)
        return entries / (2**bits - 1)
    center, width = _first_number(dataset, "WindowCenter"), _first_number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    return _apply_window(values, center, width, str(dataset.get("VOILUTFunction") or "LINEAR"))


def _apply_window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray | None:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, with the output range [0, 1]; None for a width that is no width."""
    if function == "LINEAR" and width >= 1:
        if width == 1:
            return (values > center - 0.5).astype(np.float64)
        return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((values - center) / width + 0.5, 0, 1)
    if function == "SIGMOID" and width > 0:
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise Rejected("unsupported VOI LUT function", function)
    return None


def _look_up(values: np.ndarray, item: pydicom.Dataset, dataset: pydicom.Dataset) -> tuple[np.ndarray, int]:
    """Integers through a modality or VOI LUT (PS3.3 C.11.1.1): the entry for each value, and bits per entry."""
    count, first, bits = (int(number) & 0xFFFF for number in item.LUTDescriptor)
    count = count or 2**16
    signed_input = values.min() < 0 or bool(dataset.get("PixelRepresentation", 0))
    if signed_input and first >= 2**15:
        first -= 2**16
    table = _lut_entries(item, count, bits, dataset)
    needed = int(table.max()).bit_length()
    if bits == 16 or needed > bits:
        bits = max(needed, 1)
    return table[np.clip(values - first, 0, count - 1)], bits


def _lut_entries(item: pydicom.Dataset, count: int, bits: int, dataset: pydicom.Dataset) -> np.ndarray:
    """LUTData as int64 (count,): words or bytes, and pydicom gives words as a list of integers at times."""
    big_endian = dataset.file_meta.TransferSyntaxUID.is_little_endian is False
    word = ">u2" if big_endian else "<u2"
    data = item.LUTData
    if not isinstance(data, bytes):
        data = np.atleast_1d(np.asarray(data)).astype(word).tobytes()
    cell = word if len(data) >= 2 * count else "u1"
    if cell == "u1" and (bits > 8 or len(data) < count):
        raise Rejected("damaged header", f"a LUT of {count} entries has {len(data)} bytes")
    return np.frombuffer(data, cell, count).astype(np.int64)


def _spread(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The central percentiles of the pixels spread linearly over [0, 1]; of all pixels if those are one value."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(counts[order])
    total = cumulative[-1]
    for below, above in (PERCENTILES, (0, 100)):
        # The smallest value that at least this share of the pixels do not exceed (and at least one pixel
        # has).
        ranks = (max(total * below / 100, 1), total * above / 100)
        low, high = values[order][np.searchsorted(cumulative, ranks)] if total else (0, 0)
        if high > low:
            return np.clip((values - low) / (high - low), 0, 1)
    raise Rejected("blank image", "all pixels have one value")


def _is_blank(fraction: np.ndarray, counts: np.ndarray) -> bool:
    occurring = fraction[counts > 0]
    return occurring.size == 0 or np.ptp(occurring) < 1 / 255


def _is_padding(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """PS3.3 C.7.5.1.1.2: bool per stored value; a range where PixelPaddingRangeLimit gives its other end."""
    first = _first_number(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(len(values), dtype=bool)
    last = _first_number(dataset, "PixelPaddingRangeLimit")
    ends = sorted((first, first if last is None else last))
    return (values >= ends[0]) & (values <= ends[1])


def _first_number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """The (first) value of a numeric element as a finite float, or None where it is absent or empty."""
    value = dataset.get(keyword)
    if isinstance(value, (pydicom.multival.MultiValue, list, tuple)):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    number = float(value)
    if not np.isfinite(number):
        raise Rejected("damaged header", f"{keyword} is {number}")
    return number

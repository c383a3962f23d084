"""A DICOM file -> the integers its pixels store. Files are hostile until proven otherwise.

pydicom parses the file and decodes native, deflated and RLE pixel data; imagecodecs decodes the JPEG family.
Every size is checked before it is believed: of the file, of a deflated data set, of the image, of the
codestream.
"""

import contextlib
import dataclasses
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import pixel_array

MAX_FILE_BYTES = 2**29
MAX_PIXELS = 2**26  # stitched full-spine radiographs stay below 50 million

DICOM_MAGIC_OFFSET, DICOM_MAGIC = 128, b"DICM"

_NATIVE_OR_RLE = {
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
}
_JPEG_2000 = {uid.JPEG2000Lossless, uid.JPEG2000}
_DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    uid.JPEGBaseline8Bit: imagecodecs.jpeg_decode,
    uid.JPEGExtended12Bit: imagecodecs.jpeg_decode,
    uid.JPEGLossless: imagecodecs.jpeg_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpeg_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uid.JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    uid.JPEG2000: imagecodecs.jpeg2k_decode,
}


class Rejected(Exception):
    """A file that does not become a training image: `reason` is short and stable, `detail` says what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = " ".join(detail.split())[:200]

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@contextlib.contextmanager
def rejecting(reason: str) -> Iterator[None]:
    """Turns whatever a library raises on a damaged file into `Rejected(reason)` with its type and message."""
    try:
        yield
    except Rejected:
        raise
    except Exception as error:  # libraries fed with hostile bytes raise anything; nothing of it is lost
        raise Rejected(reason, f"{type(error).__name__}: {error}") from error


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How pixels are stored (PS3.3 C.7.6.3): bits per cell, bits used, and the highest used bit."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool


def read_dicom(file: BinaryIO) -> pydicom.Dataset:
    """Parses a whole DICOM file; raises `Rejected` for what is not one, is too big, or is damaged."""
    size = file.seek(0, 2)
    if size > MAX_FILE_BYTES:
        raise Rejected("file too large", f"{size} bytes; at most {MAX_FILE_BYTES} are read")
    file.seek(DICOM_MAGIC_OFFSET)
    if file.read(len(DICOM_MAGIC)) != DICOM_MAGIC:
        raise Rejected("not a DICOM file", f"{size} bytes without the DICM prefix")
    with rejecting("damaged file"):
        _check_inflated_size(file)
        file.seek(0)
        try:
            return pydicom.dcmread(file)
        except InvalidDicomError as error:
            raise Rejected("not a DICOM file", str(error)) from error


def _check_inflated_size(file: BinaryIO) -> None:
    """pydicom inflates a deflated data set without a limit; this tries it first, within one."""
    file.seek(0)
    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), MAX_FILE_BYTES + 1)
    if len(inflated) > MAX_FILE_BYTES:
        raise Rejected("file too large", f"inflates to more than {MAX_FILE_BYTES} bytes")


def stored_values(dataset: pydicom.Dataset) -> np.ndarray:
    """The stored pixel values, int32 (H,W), of a single-frame grey image of at most 16 bits."""
    layout = _layout(dataset)
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if syntax is None:
        raise Rejected("missing attribute", "TransferSyntaxUID")
    if "PixelData" not in dataset or not dataset.PixelData:
        raise Rejected("no pixel data")
    if syntax in _NATIVE_OR_RLE:
        return _decode_native_or_rle(dataset, layout, syntax)
    if syntax in _DECODERS:
        return _decode_jpeg_family(dataset, layout, syntax)
    raise Rejected("unsupported transfer syntax", f"{syntax} {syntax.name}")


def _layout(dataset: pydicom.Dataset) -> _Layout:
    photometric = str(dataset.get("PhotometricInterpretation") or "missing")
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise Rejected("not greyscale", f"PhotometricInterpretation is {photometric}")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise Rejected("several frames", f"NumberOfFrames is {frames}; one is expected")
    keywords = ("Rows", "Columns", "BitsAllocated", "BitsStored")
    if missing := [keyword for keyword in keywords if dataset.get(keyword) is None]:
        raise Rejected("missing attribute", ", ".join(missing))
    rows, columns, allocated, stored = (int(dataset.get(keyword)) for keyword in keywords)
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise Rejected("impossible image size", f"{rows} rows x {columns} columns; at most {MAX_PIXELS} pixels")
    high_bit = int(dataset.get("HighBit", stored - 1))
    if allocated not in (8, 16) or not 1 <= stored <= high_bit + 1 <= allocated:
        detail = f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high_bit}"
        raise Rejected("unsupported pixel format", detail)
    return _Layout(rows, columns, allocated, stored, high_bit, bool(dataset.get("PixelRepresentation", 0)))


def _decode_native_or_rle(dataset: pydicom.Dataset, layout: _Layout, syntax: uid.UID) -> np.ndarray:
    needed = layout.rows * layout.columns * layout.bits_allocated // 8
    if syntax != uid.RLELossless and len(dataset.PixelData) < needed:
        raise Rejected("truncated pixel data", f"{len(dataset.PixelData)} bytes of {needed}")
    options = {} if syntax == uid.RLELossless else {"view_only": True}
    with rejecting("decoding failed"):
        cells = pixel_array(dataset, raw=True, index=0, correct_unused_bits=False, **options)
    unused_below = layout.high_bit + 1 - layout.bits_stored
    return _as_integers(cells.astype(np.int32) >> unused_below, layout.bits_stored, layout.signed)


def _decode_jpeg_family(dataset: pydicom.Dataset, layout: _Layout, syntax: uid.UID) -> np.ndarray:
    with rejecting("decoding failed"):
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if syntax in _JPEG_2000:
            frame = frame[max(frame.find(_J2K_START), 0) :]  # some writers wrap the codestream in a JP2 file
        precision = _checked_precision(frame, layout, _j2k_header if syntax in _JPEG_2000 else _jpeg_header)
        decoded = _DECODERS[syntax](frame)
        if decoded.shape != (layout.rows, layout.columns) or decoded.dtype.kind not in "iu":
            raise Rejected("decoding failed", f"the decoder gave {decoded.dtype} {decoded.shape}")
    # Lossy codestreams overshoot BitsStored a little, so only a sign makes it worth trusting.
    bits = min(precision, layout.bits_stored) if layout.signed else precision
    return _as_integers(decoded.astype(np.int32), bits, layout.signed)


def _as_integers(cells: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """The lowest `bits` bits of each int32 cell as an unsigned or two's-complement integer."""
    values = cells & (2**bits - 1)
    return values - ((values >> (bits - 1)) << bits) if signed else values


_J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ
_JPEG_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0-15; SOF55 of JPEG-LS

Header = tuple[int, int, int, int]  # rows, columns, components, bits per component


def _checked_precision(frame: bytes, layout: _Layout, read_header: Callable[[bytes], Header]) -> int:
    """Bits per pixel of the codestream, whose own size must be the data set's before a decoder allocates it."""
    rows, columns, components, precision = read_header(frame)
    if (rows, columns, components) != (layout.rows, layout.columns, 1):
        found = f"codestream of {rows} x {columns} with {components} components"
        raise Rejected("decoding failed", f"{found} in an image of {layout.rows} x {layout.columns}")
    if not 1 <= precision <= 16:
        raise Rejected("unsupported pixel format", f"codestream of {precision} bits")
    return precision


def _j2k_header(frame: bytes) -> Header:
    """Reads the SIZ segment (ISO/IEC 15444-1, A.5.1)."""
    if not frame.startswith(_J2K_START):
        raise Rejected("decoding failed", "no JPEG 2000 codestream")
    _, _, right, bottom, left, top, *_, components, precision = struct.unpack_from(">HH8IHB", frame, 4)
    return bottom - top, right - left, components, (precision & 0x7F) + 1


def _jpeg_header(frame: bytes) -> Header:
    """Walks the segments to the frame header (ISO/IEC 10918-1, B.2.2; ISO/IEC 14495-1, C.2.2)."""
    position = 2
    while frame[:2] == b"\xff\xd8" and position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _JPEG_FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 4)
            return rows, columns, components, precision
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    raise Rejected("decoding failed", "no JPEG frame header")

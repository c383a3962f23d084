"""A radiograph file -> a square of the data set's size. Light to import: worker processes run this."""

import contextlib
import dataclasses
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.Image

from .dicom_decode import MAX_FILE_BYTES, Rejected, rejecting
from .dicom_pixels import read_radiograph

# Nearest takes, for output pixel i of n from a side of s, the input pixel floor((i + 1/2) * s / n).
RESAMPLERS = {
    "nearest": PIL.Image.Resampling.NEAREST,
    "area": PIL.Image.Resampling.BOX,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}


@dataclasses.dataclass(frozen=True)
class SquareRecipe:
    """How an image becomes a square: its side, the key of `RESAMPLERS`, and the smallest side worth having."""

    resolution: int = 256
    resample: str = "nearest"
    min_side_px: int = 128


def make_square(pixels: np.ndarray, recipe: SquareRecipe) -> np.ndarray:
    """uint8 (H,W) to uint8 (resolution, resolution): the centre square of the smaller side, resized.

    An odd difference of the sides leaves the extra pixel at the bottom or right. `nearest`, `area` and the others
    are Pillow's; the filters of `bilinear` and `lanczos` widen when shrinking, so they do not alias.

    Raises:
        Rejected: the smaller side is below `min_side_px`.
    """
    height, width = pixels.shape
    side = min(height, width)
    if side < recipe.min_side_px:
        raise Rejected("too small", f"{width} x {height} pixels; the smaller side must be {recipe.min_side_px}")
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    size = (recipe.resolution, recipe.resolution)
    return np.asarray(PIL.Image.fromarray(square).resize(size, RESAMPLERS[recipe.resample]))


def read_squares(names: Sequence[str], source: Path, recipe: SquareRecipe) -> list[np.ndarray | Rejected]:
    """For each file of a folder or zip, its square, or why there is none."""
    with opened_source(source) as open_file:
        return [_square_or_rejected(open_file, name, recipe) for name in names]


def _square_or_rejected(open_file: Callable[[str], BinaryIO], name: str, recipe: SquareRecipe) -> np.ndarray | Rejected:
    try:
        with rejecting("unreadable file"):
            file = open_file(name)
        with file:
            return make_square(read_radiograph(file), recipe)
    except Rejected as rejected:
        return Rejected(rejected.reason, rejected.detail)  # a fresh one: a traceback would keep the pixels alive


@contextlib.contextmanager
def opened_source(source: Path) -> Iterator[Callable[[str], BinaryIO]]:
    """Yields a function that opens a file of a folder or zip by its name relative to it."""
    if source.is_dir():
        yield lambda name: open(source / name, "rb")
        return
    with zipfile.ZipFile(source) as archive:
        yield lambda name: _zip_member(archive, name)


def _zip_member(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    size = archive.getinfo(name).file_size
    if size > MAX_FILE_BYTES:
        raise Rejected("file too large", f"{size} bytes; at most {MAX_FILE_BYTES} are read")
    return io.BytesIO(archive.read(name))

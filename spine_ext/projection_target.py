"""The image to project: a radiograph in DICOM, or an image file, made to fit a network, saying what was changed."""

import os
from pathlib import Path

import numpy as np
import PIL.Image

from stylegan2ada.errors import UserError
from stylegan2ada.image_files import IMAGE_FORMATS, open_image_files, read_header, read_pixels
from stylegan2ada.images import to_pil

from .dicom_decode import Rejected
from .dicom_pixels import read_radiograph


def read_target(path: str | os.PathLike, resolution_px: int, num_channels: int) -> tuple[np.ndarray, list[str]]:
    """uint8 (C, resolution, resolution) pixels of an image file, and what had to be changed, in words.

    A file that is not named like an image is read as DICOM, as dataset_tool_dicom.py reads it. The centre square is
    resized with Pillow's Lanczos filter.

    Raises:
        UserError: the file is missing or gives no image.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--target {path}: there is no such file; give an image or a DICOM file")
    picture = to_pil(_read_image(path) if path.suffix.lower() in IMAGE_FORMATS else _read_dicom(path))
    remarks = []
    if picture.width != picture.height:
        side = min(picture.size)
        remarks.append(f"{picture.width}x{picture.height} pixels: the centre square of {side} is used")
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    if picture.width != resolution_px:
        remarks.append(f"resized from {picture.width} to the network's {resolution_px} pixels")
        picture = picture.resize((resolution_px, resolution_px), PIL.Image.Resampling.LANCZOS)
    mode = "L" if num_channels == 1 else "RGB"
    if picture.mode != mode:
        remarks.append("color made grey for this network" if mode == "L" else "grey made color for this network")
        picture = picture.convert(mode)
    pixels = np.array(picture)
    return (pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy()), remarks


def _read_image(path: Path) -> np.ndarray:
    files = open_image_files(path.parent)
    return read_pixels(files, path.name, read_header(files, path.name))


def _read_dicom(path: Path) -> np.ndarray:
    try:
        return read_radiograph(path)[np.newaxis]
    except Rejected as error:
        known = ", ".join(IMAGE_FORMATS)
        raise UserError(f"--target {path}: no image ({known}) by its name, and as DICOM: {error}") from error

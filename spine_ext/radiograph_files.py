"""Which files of a folder or zip are radiographs, in the VinDr-SpineXR layout or without any.

A file counts when its name ends like a DICOM file's or its content starts like one; one that cannot be looked
into counts too, so that the conversion lists it with the reason. The VinDr layout keeps the images of `train.csv`
in `train_images/`: where such a folder exists, at any depth, only it is used.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from stylegan2ada.errors import UserError

from .dicom_decode import DICOM_MAGIC, DICOM_MAGIC_OFFSET, Rejected
from .square import opened_source

DICOM_SUFFIXES = (".dicom", ".dcm", ".dicm")

# RuntimeError: a password or a compression that zipfile does not know.
_UNREADABLE = (Rejected, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


def find_radiographs(source: Path, annotations_name: str) -> tuple[list[str], str | None]:
    """The files of a folder or zip that are or should be radiographs: sorted names relative to `source`.

    Also the name of the VinDr folder that they were narrowed down to, or None.

    Args:
        annotations_name: name of the annotations CSV; of `train.csv` the folder `train_images` is used if there.
    Raises:
        UserError: the source is missing, no folder or zip, or without radiographs.
    """
    folder = f"{PurePosixPath(annotations_name).stem}_images"
    try:
        names = sorted(_walk(source) if source.is_dir() else _zip_names(source))
        with opened_source(source) as open_file:
            found = [name for name in names if _is_radiograph(name, open_file)]
    except zipfile.BadZipFile as error:
        raise UserError(f"{source} is no folder and no zip file: give a folder or zip of DICOM files") from error
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror or error}; check --source") from error
    if not found:
        suffixes = ", ".join(DICOM_SUFFIXES)
        raise UserError(f"{source} holds no DICOM files (named {suffixes}, or with DICOM content): check --source")
    in_folder = [name for name in found if folder in PurePosixPath(name).parts[:-1]]
    return (in_folder, folder) if in_folder else (found, None)


def image_id(name: str, known: Collection[str]) -> str:
    """The file's name without its suffix; the whole name where that is a known id (a UID holds dots)."""
    path = PurePosixPath(name)
    return path.name if path.name in known else path.stem


def _is_radiograph(name: str, open_file: Callable[[str], BinaryIO]) -> bool:
    path = PurePosixPath(name)
    if path.name.startswith(".") or "__MACOSX" in path.parts:  # what macOS leaves beside files is not theirs
        return False
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with open_file(name) as file:
            return file.read(DICOM_MAGIC_OFFSET + len(DICOM_MAGIC))[DICOM_MAGIC_OFFSET:] == DICOM_MAGIC
    except _UNREADABLE:
        return True


def _walk(folder: Path) -> Iterator[str]:
    """Files under `folder`, through symbolic links too, each real folder once."""
    visited = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        yield from (Path(root, name).relative_to(folder).as_posix() for name in files)


def _zip_names(source: Path) -> set[str]:
    """A name that stands twice in the zip is one file, the later one, as for every program that unpacks it."""
    with zipfile.ZipFile(source) as archive:
        return {member.filename for member in archive.infolist() if not member.is_dir()}

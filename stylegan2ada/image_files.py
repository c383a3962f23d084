"""Reading image files out of a folder or a zip. They may be hostile: sizes are checked before decoding."""

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np
import PIL.Image

from .errors import UserError

IMAGE_FORMATS = {  # file name suffix -> Pillow format
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
MAX_SIDE_PX = 4096
MAX_IMAGE_BYTES = 2 * 3 * MAX_SIDE_PX**2  # no encoding of such an image needs twice its raw size
MAX_TEXT_BYTES = 512 * 2**20

_CHANNELS = {"L": 1, "RGB": 3}  # Pillow modes
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, zipfile.BadZipFile)
_BOMBS = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)


class Header(NamedTuple):
    """What an image file says of itself."""

    width: int
    height: int
    channels: int


class ImageFiles(Protocol):
    """The files below one path, known by their relative names with forward slashes."""

    path: Path

    def names(self) -> list[str]:
        """All file names, sorted; hidden ones (`.DS_Store`, `__MACOSX/`) left out."""

    def size_bytes(self, name: str) -> int:
        """The size of a file once unpacked."""

    def checksum(self, name: str) -> int:
        """CRC-32 of a file once unpacked."""

    def open(self, name: str) -> IO[bytes]:
        """A seekable binary stream."""


def open_image_files(path: str | os.PathLike) -> ImageFiles:
    """The folder or zip at `path`, or a `UserError`."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: give the path of a dataset zip or folder")
    if path.is_dir():
        return _Folder(path)
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is neither a folder nor a zip file: give a dataset zip or a folder of images")
    return _Zip(path)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        paths = (Path(parent, file) for parent, _, files in os.walk(self.path) for file in files)
        return _sorted_visible(path.relative_to(self.path).as_posix() for path in paths)

    def size_bytes(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def checksum(self, name: str) -> int:
        return zlib.crc32((self.path / name).read_bytes())

    def open(self, name: str) -> IO[bytes]:
        return open(self.path / name, "rb")


class _Zip:
    """The zip is opened anew in every process: a forked worker would share the position of the handle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        self._process_id: int | None = None

    def names(self) -> list[str]:
        return _sorted_visible(info.filename for info in self._opened().infolist() if not info.is_dir())

    def size_bytes(self, name: str) -> int:
        return self._opened().getinfo(name).file_size  # zipfile never unpacks more than this

    def checksum(self, name: str) -> int:
        return self._opened().getinfo(name).CRC

    def open(self, name: str) -> IO[bytes]:
        try:
            return self._opened().open(name)
        except (RuntimeError, NotImplementedError) as error:  # a password, an unknown compression
            raise UserError(f"cannot unpack {name} in {self.path}: {error}; write the zip anew, stored") from error

    def _opened(self) -> zipfile.ZipFile:
        if self._process_id != os.getpid():
            try:
                self._archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError) as error:
                raise UserError(f"{self.path} is a broken zip ({error}): copy or make it again") from error
            self._process_id = os.getpid()
        return self._archive

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_archive": None, "_process_id": None}


def _sorted_visible(names: Iterator[str]) -> list[str]:
    return sorted({n for n in names if not any(part.startswith((".", "__MACOSX")) for part in n.split("/"))})


def read_text(files: ImageFiles, name: str) -> str:
    """The UTF-8 text of one file."""
    _check_size(files, name, MAX_TEXT_BYTES)
    try:
        with files.open(name) as stream:
            return stream.read().decode("utf-8")
    except _DECODING_ERRORS as error:
        raise UserError(f"cannot read {name} in {files.path}: {error}; make the dataset again") from error


def read_header(files: ImageFiles, name: str) -> Header:
    """Width, height and channels of one image, without decoding it."""
    with _opened_image(files, name) as image:
        return _header(image, files, name)


def read_pixels(files: ImageFiles, name: str, expected: Header) -> np.ndarray:
    """uint8 (C,H,W) pixels of one image, decoded only if its header is the expected one."""
    with _opened_image(files, name) as image:
        check_same(_header(image, files, name), expected, files, name)
        pixels = np.array(image)
    return pixels[np.newaxis] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def check_same(header: Header, expected: Header, files: ImageFiles, name: str) -> None:
    """Raises a `UserError` when an image differs from the others in size or channels."""
    if header != expected:
        raise UserError(
            f"{name} in {files.path} has {_describe(header)}, the first image has {_describe(expected)}: "
            "a dataset needs one size and one number of channels; convert them to the same"
        )


@contextlib.contextmanager
def _opened_image(files: ImageFiles, name: str) -> Iterator[PIL.Image.Image]:
    """Decoding errors inside the block become a `UserError` that names the file."""
    _check_size(files, name, MAX_IMAGE_BYTES)
    image_format = IMAGE_FORMATS[os.path.splitext(name)[1].lower()]
    try:
        with files.open(name) as stream, PIL.Image.open(stream, formats=[image_format]) as image:
            yield image
    except _BOMBS as error:
        raise _too_large(files, name, str(error)) from error
    except _DECODING_ERRORS as error:
        raise UserError(
            f"cannot read {name} in {files.path} as {image_format}: {error}; replace or remove this image"
        ) from error


def _header(image: PIL.Image.Image, files: ImageFiles, name: str) -> Header:
    if image.mode not in _CHANNELS:
        raise UserError(
            f"{name} in {files.path} has pixels of mode {image.mode}: "
            "convert the images to 8-bit grey or RGB, without palette or transparency"
        )
    if max(image.size) > MAX_SIDE_PX:
        raise _too_large(files, name, f"{image.width}x{image.height} pixels")
    return Header(image.width, image.height, _CHANNELS[image.mode])


def _check_size(files: ImageFiles, name: str, limit_bytes: int) -> None:
    size_bytes = files.size_bytes(name)
    if size_bytes > limit_bytes:
        raise UserError(
            f"{name} in {files.path} unpacks to {size_bytes:,} bytes, more than the {limit_bytes:,} allowed: "
            "remove it or make the dataset again"
        )


def _too_large(files: ImageFiles, name: str, what: str) -> UserError:
    return UserError(f"{name} in {files.path} is too large ({what}): at most {MAX_SIDE_PX} pixels a side; resize it")


def _describe(header: Header) -> str:
    return f"{header.width}x{header.height} pixels in {header.channels} channel{'s' * (header.channels > 1)}"

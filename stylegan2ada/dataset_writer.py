"""Writing image datasets in the official StyleGAN2-ADA format: a zip, or a folder with the same members.

Members are `00000/img00000000.png`, ... and `dataset.json`: `{"labels": [[name, class], ...] | null}` and our
further keys (`classes`: the class names; `groups`: a number per image, equal for images that belong together). Equal
images give equal bytes: members carry a fixed time stamp.
"""

import contextlib
import json
import operator
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from .dataset_labels import INDEX_NAME
from .errors import UserError
from .files import atomic_path
from .images import png_bytes

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time stamp a zip can hold

WriteMember = Callable[[str, bytes], None]


class DatasetWriter:
    """Context manager that builds a dataset at `dest`, which appears complete on success, else not at all.

    Args:
        dest: a path that ends in `.zip`, otherwise a folder.
        classes: class names in label order, or None.
        metadata: further keys of `dataset.json`; `writer.metadata` may be filled until the end of the block.
        overwrite: replace an existing zip or dataset folder instead of refusing it.
    Raises:
        UserError: `dest` exists or cannot be written; images of mixed or unusable size; no images at all.
    """

    def __init__(
        self,
        dest: str | os.PathLike,
        classes: Sequence[str] | None = None,
        metadata: Mapping[str, object] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.dest = Path(dest)
        self.classes = None if classes is None else [str(name) for name in classes]
        self.metadata = dict(metadata or {})
        if reserved := {"labels", "classes", "groups"} & self.metadata.keys():
            raise ValueError(f"metadata may not hold the reserved keys {sorted(reserved)}")
        _check_destination(self.dest, overwrite)
        self._labels: list[tuple[str, int | None]] = []
        self._groups: list[int | None] = []
        self._shape: tuple[int, ...] | None = None
        self._stack = contextlib.ExitStack()
        self._write_member: WriteMember | None = None

    def __enter__(self) -> "DatasetWriter":
        sink = _zip_sink if _is_zip(self.dest) else _folder_sink
        try:
            self._write_member = self._stack.enter_context(sink(self.dest))
        except OSError as error:
            raise UserError(f"cannot write {self.dest}: {error.strerror}; choose another destination") from error
        self._stack.push(self._finish)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, pixels: np.ndarray, label: int | None = None, group: int | None = None) -> str:
        """Writes one uint8 (H,W) or (H,W,3) image; returns its member name.

        All images have one shape, H = W = a power of two; either all have a label or none has, and so with groups.
        Images of one group belong together, e.g. to one study.
        """
        if self._write_member is None:
            raise RuntimeError("DatasetWriter.add() works inside its with block only")
        self._check_pixels(pixels)
        label = self._checked_label(label)
        group = self._checked_group(group)
        index = len(self._labels)
        name = f"{index // 1000:05d}/img{index:08d}.png"
        self._write(name, png_bytes(pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)))
        self._labels.append((name, label))
        self._groups.append(group)
        self._shape = pixels.shape
        return name

    def _check_pixels(self, pixels: np.ndarray) -> None:
        if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
            raise ValueError(f"pixels must be uint8 (H,W) or (H,W,3), not {pixels.dtype} {pixels.shape}")
        height, width = pixels.shape[:2]
        if height != width or height < 4 or height & (height - 1):
            raise UserError(
                f"image {len(self)} for {self.dest} has {width}x{height} pixels: "
                "a dataset needs square images whose side is a power of two, 4 or more; crop and resize first"
            )
        if self._shape is not None and pixels.shape != self._shape:
            raise UserError(
                f"image {len(self)} for {self.dest} has shape {pixels.shape}, those before it {self._shape}: "
                "a dataset needs one size and one number of channels; convert them to the same first"
            )

    def _checked_label(self, label: int | None) -> int | None:
        if self._labels and (self._labels[0][1] is None) != (label is None):
            raise ValueError("either all images have a label or none has")
        if label is None:
            return None
        label = operator.index(label)
        if label < 0 or (self.classes is not None and label >= len(self.classes)):
            known = "" if self.classes is None else f"; the classes are {', '.join(self.classes)}"
            raise ValueError(f"label {label} is outside the range of classes{known}")
        return label

    def _checked_group(self, group: int | None) -> int | None:
        if self._groups and (self._groups[0] is None) != (group is None):
            raise ValueError("either all images have a group or none has")
        if group is None:
            return None
        group = operator.index(group)
        if group < 0:
            raise ValueError(f"group {group} is negative: groups are numbers from 0")
        return group

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._write_member(name, data)
        except OSError as error:
            raise UserError(f"cannot write {self.dest}: {error.strerror}; free some space or move it") from error

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Runs first when the with block ends; an error from here or from the block discards everything."""
        if kind is None:
            if not self._labels:
                raise UserError(f"no image to write: {self.dest} was not made")
            labels = None if self._labels[0][1] is None else self._labels
            classes = {} if self.classes is None else {"classes": self.classes}
            groups = {} if self._groups[0] is None else {"groups": self._groups}
            index = {"labels": labels, **classes, **groups, **self.metadata}
            self._write(INDEX_NAME, json.dumps(index, allow_nan=False).encode())
        self._write_member = None


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _check_destination(dest: Path, overwrite: bool) -> None:
    """A folder is replaced only if it is empty or plainly a dataset: nobody's home folder is ever deleted."""
    if not dest.exists():
        return
    if dest.is_dir() == _is_zip(dest):
        raise UserError(f"{dest} exists and is {'a folder' if dest.is_dir() else 'a file'}: choose another destination")
    if dest.is_dir() and not any(dest.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{dest} already exists: remove it or choose another destination")
    if dest.is_dir() and not (dest / INDEX_NAME).is_file():
        raise UserError(f"{dest} holds files but no {INDEX_NAME}, so it is not overwritten: choose another destination")


@contextlib.contextmanager
def _zip_sink(dest: Path) -> Iterator[WriteMember]:
    with atomic_path(dest) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, data: bytes) -> None:
            member = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
            member.create_system = 3  # Unix, whatever the machine: the same bytes everywhere
            member.external_attr = 0o644 << 16
            archive.writestr(member, data)

        yield write


@contextlib.contextmanager
def _folder_sink(dest: Path) -> Iterator[WriteMember]:
    dest.parent.mkdir(parents=True, exist_ok=True)
    suffix = secrets.token_hex(4)
    temporary = dest.with_name(f".{dest.name}.{suffix}.tmp")
    replaced = dest.with_name(f".{dest.name}.{suffix}.old")
    temporary.mkdir()

    def write(name: str, data: bytes) -> None:
        path = temporary / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    try:
        yield write
        if dest.exists():
            os.replace(dest, replaced)
        os.replace(temporary, dest)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

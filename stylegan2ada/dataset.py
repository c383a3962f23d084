"""Image datasets in the official StyleGAN2-ADA format, and the endless order in which training reads them.

N images, C channels, H x W pixels, K labels. Pixels are uint8 in 0..255, labels float32: one-hot for classes.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch.utils.data

from .dataset_labels import no_labels, read_groups, read_labels, read_notice
from .errors import UserError
from .image_files import (
    IMAGE_FORMATS,
    Header,
    ImageFiles,
    check_same,
    open_image_files,
    read_header,
    read_pixels,
)

MAX_HEADERS_AT_OPENING = 20_000  # of an even spread; whatever is checked here is checked again when it is read


class ImageDataset(torch.utils.data.Dataset):
    """The square images of a zip or folder, and the labels of its `dataset.json`.

    Args:
        path: a zip or a folder.
        resolution: the side in pixels that the images must have; None takes what they have.
        use_labels: read the labels; otherwise K = 0.
        max_size: keep a random subset of this size, drawn with `seed`.
        mirror: append a left-right mirrored copy of every image that is kept.
    Raises:
        UserError: whatever is wrong with the files or with `max_size`.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        resolution: int | None = None,
        use_labels: bool = False,
        max_size: int | None = None,
        mirror: bool = False,
        seed: int = 0,
    ) -> None:
        self.path = Path(path)
        self._files = open_image_files(self.path)
        self._names = _image_names(self._files)
        self._header = _common_header(self._files, self._names)
        if resolution is not None and resolution != self.resolution:
            raise UserError(
                f"the images of {path} have {self.resolution} pixels a side, not {resolution}: "
                "leave the resolution out, or convert them to it"
            )
        self._labels = read_labels(self._files, self._names) if use_labels else no_labels(len(self._names))
        kept = _subset(len(self._names), max_size, seed, self.path)
        self._indices = np.tile(kept, 2) if mirror else kept
        self._num_unmirrored = len(kept)

    @property
    def name(self) -> str:
        """The file name without its suffix."""
        return self.path.stem

    @property
    def resolution(self) -> int:
        """Side of the images in pixels, a power of two."""
        return self._header.width

    @property
    def num_channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return self._header.channels

    @property
    def label_dim(self) -> int:
        """K: the number of classes, or of numbers per label; 0 without labels."""
        return self._labels.dim

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes in label order, where `dataset.json` has them and labels are used."""
        return self._labels.class_names

    @property
    def notice(self) -> str | None:
        """What `dataset.json` wants everyone to know, e.g. that the images are not clinical."""
        return read_notice(self._files)

    @property
    def labels(self) -> np.ndarray:
        """float32 (N,K), in the order of the images."""
        return self._labels.vectors(self._indices)

    @property
    def groups(self) -> np.ndarray | None:
        """int64 (N,): equal for images that belong together, e.g. to one study; None where it is not known.

        Training ignores them: they are for whoever divides the images or judges by them.
        """
        groups = read_groups(self._files, self._names)
        return None if groups is None else groups[self._indices]

    @property
    def image_names(self) -> tuple[str, ...]:
        """Names of the image files in the dataset, in the order of the images."""
        return tuple(self._names[index] for index in self._indices)

    def fingerprint(self) -> str:
        """A hash of the names, contents and labels of the images in use, wherever they lie: equal for equal data.

        Of very many files in a folder, an even spread is read.
        """
        digest = hashlib.sha256(np.ascontiguousarray(self.labels).tobytes())
        names = [self._names[index] for index in self._indices]
        for name in names:
            digest.update(f"{name} {self._files.size_bytes(name)}\n".encode())
        for name in names[:: -(-len(names) // MAX_HEADERS_AT_OPENING)]:
            digest.update(self._files.checksum(name).to_bytes(4, "little"))
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (C,H,W) pixels and float32 (K,) label."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        pixels = read_pixels(self._files, self._names[self._indices[index]], self._header)
        if index >= self._num_unmirrored:
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        return pixels, self._labels.vectors(self._indices[index : index + 1])[0]


class EndlessSampler(torch.utils.data.Sampler[int]):
    """Endless indices into `size` items: all items in a fresh random order, again and again.

    The order depends on `seed` alone. Position p of the one global stream belongs to the process with rank
    (p - start) mod world_size, so the processes share each epoch out between them.

    Args:
        start: how many items all processes together have consumed already; the stream goes on from there.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, world_size: int = 1, start: int = 0) -> None:
        if size < 1 or start < 0 or not 0 <= rank < world_size:
            raise ValueError(f"no stream for size {size}, start {start}, rank {rank} of {world_size}")
        if not 0 <= seed < 2**32:
            raise UserError(f"seed {seed} is outside 0..{2**32 - 1}: choose another")
        self.size = size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start = start

    def __iter__(self) -> Iterator[int]:
        position = self.start + self.rank
        while True:
            epoch, offset = divmod(position, self.size)
            # RandomState promises the same stream in every version of numpy; Generator does not
            order = np.random.RandomState([self.seed, epoch]).permutation(self.size)
            ours = order[offset :: self.world_size]
            yield from ours.tolist()
            position += len(ours) * self.world_size


def _image_names(files: ImageFiles) -> list[str]:
    names = [name for name in files.names() if os.path.splitext(name)[1].lower() in IMAGE_FORMATS]
    if not names:
        raise UserError(f"{files.path} holds no images ({', '.join(IMAGE_FORMATS)}): give a dataset zip or folder")
    return names


def _common_header(files: ImageFiles, names: Sequence[str]) -> Header:
    """Size and channels of all images; a square whose side is a power of two."""
    first = read_header(files, names[0])
    where = f"{names[0]} in {files.path}"
    if first.width != first.height:
        raise UserError(
            f"{where} has {first.width}x{first.height} pixels: training needs square images; crop or pad them"
        )
    if first.width < 4 or first.width & (first.width - 1):
        nearest = max(4, 2 ** round(np.log2(first.width)))
        raise UserError(
            f"{where} has {first.width}x{first.height} pixels: the side must be a power of two, 4 or more; "
            f"resize the images, for example to {nearest}x{nearest}"
        )
    for name in names[:: -(-len(names) // MAX_HEADERS_AT_OPENING)]:
        check_same(read_header(files, name), first, files, name)
    return first


def _subset(count: int, max_size: int | None, seed: int, path: Path) -> np.ndarray:
    """Indices of the images kept, in order."""
    if max_size is None:
        return np.arange(count)
    if not 1 <= max_size <= count:
        raise UserError(f"cannot take {max_size} images out of {path}, which has {count}: choose 1 to {count}")
    return np.sort(np.random.RandomState(seed).permutation(count)[:max_size])

"""Where images come from: numbered chunks, so that who computes which of them does not matter."""

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch

CHUNK_SIZE = 64

Advance = Callable[[int, int], None]
"""Called as advance(done, total), often."""

Progress = Callable[[str, str], Advance]
"""Called as progress(label, unit) at the start of something long."""


class ImageSource(Protocol):
    """Images that are a function of their number: a data set, or a generator with a seed.

    A chunk is a function of its index alone. So neither the detector's batch nor the number of processes changes
    a result, and the first images are the same however many are asked for.
    """

    name: str  # for messages
    key: str | None  # hash of the contents: features may be kept under it. None: they are not kept
    num_images: int | None  # None: endless
    class_names: tuple[str, ...]  # () without classes

    def chunk(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 (n,C,H,W) pixels on any device, C 1 or 3, and int64 (n,) classes of the images from 64 * index on.

        n is 64, except at the end.
        """


@runtime_checkable
class PathSource(Protocol):
    """A generator, for perceptual path lengths."""

    def path_pairs(
        self, index: int, *, epsilon: float, space: Literal["z", "w"], sampling: Literal["full", "end"]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Chunk `index` of pairs of images that lie `epsilon` apart on paths: two float (64,C,H,W), about 0..255, not
        rounded.

        A path leads from one latent to another of the same label: by spherical interpolation in z, linear in w. The
        first point is a random one of the path (full), or its beginning (end). Noise is the same in both images.
        """

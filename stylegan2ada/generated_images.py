"""Generated images in chunks of 64, as metrics read them, and pairs of near images for the path length.

Shapes: N images, C channels, H x W pixels, Z latent size, K label size.
"""

import copy
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from .compute import set_dealer, set_precision
from .dataset_chunks import CHUNK_SIZE, class_names_of, classes_of_labels
from .dealing import Dealer
from .errors import UserError
from .generator import Generator
from .images import to_byte_range, to_uint8
from .sampling import check_finite

MAX_SEED = 2**32 - 1
PATH_EPSILON = 1e-4  # StyleGAN, section 4.1


class GeneratedImages:
    """An endless source of a generator's images: chunk i depends on the seed and on i alone.

    The official way: z is standard normal, noise is random, and each image has the label of a training image, drawn
    uniformly. Latents and labels are the same on every device, noise on every device of a kind; torch's own random
    numbers are neither used nor changed. Computes in float32 on a copy of G, on G's device, whatever G trains in.

    Args:
        labels: float (M,K) to draw from, those of the training set; for an unconditional G, K = 0 or None.
        fixed_class: all images are of this class.
        batch: images computed at a time, a divisor of 64: takes less memory and gives the same images, but for the
            rounding of convolutions.
    Raises:
        UserError: the labels are not of G's size, or there is no such class.
    """

    key = None  # nothing made of them is worth keeping
    num_images = None

    def __init__(
        self,
        G: Generator,
        seed: int,
        labels: np.ndarray | None = None,
        class_names: tuple[str, ...] | None = None,
        truncation_psi: float = 1.0,
        noise_mode: str = "random",
        fixed_class: int | None = None,
        batch: int = 16,
        name: str = "generator",
    ) -> None:
        labels = np.zeros((1, 0), dtype=np.float32) if labels is None else np.asarray(labels, dtype=np.float32)
        if labels.ndim != 2 or len(labels) == 0 or labels.shape[1] != G.c_dim:
            raise UserError(
                f"the network was trained with {G.c_dim} classes, the labels have {labels.shape[-1]}: give the dataset "
                "that it was trained on"
            )
        if not 0 <= seed <= MAX_SEED:
            raise UserError(f"seed {seed} is outside 0..{MAX_SEED}: choose another")
        if CHUNK_SIZE % batch:
            raise ValueError(f"batch is a divisor of {CHUNK_SIZE}, not {batch}")
        self.name, self.class_names = name, class_names_of(labels, class_names)
        self._G = copy.deepcopy(G).eval().requires_grad_(False)
        set_precision(self._G, "fp32")
        self._seed, self._labels, self._parts = seed, labels, CHUNK_SIZE // batch
        self._truncation_psi, self._noise_mode = truncation_psi, noise_mode
        if fixed_class is not None:
            self._labels = _labels_of_class(fixed_class, self.class_names)

    @torch.no_grad()
    def chunk(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 (64,C,H,W) pixels on G's device and int64 (64,) classes, -1 where there are none.

        Raises:
            NonFiniteError: an image holds NaN or Inf.
        """
        random = self._random(index)
        z, labels = self._latents(random), self._draw_labels(random)
        noise_seed = int(random.randint(2**31, size=1)[0])
        pixels = torch.empty([CHUNK_SIZE, *self._image_shape()], dtype=torch.uint8, device=self._device)
        for part, own in self._pieces():
            dealer = Dealer(part, self._parts, torch.Generator(self._device).manual_seed(noise_seed))
            set_dealer(self._G, dealer)
            images = self._G(z[own], labels[own], self._truncation_psi, noise_mode=self._noise_mode)
            self._check(images, index, own)
            pixels[own] = to_uint8(images)
        return pixels, classes_of_labels(labels.cpu(), len(self.class_names))

    @torch.no_grad()
    def path_pairs(
        self,
        index: int,
        *,
        epsilon: float = PATH_EPSILON,
        space: Literal["z", "w"] = "w",
        sampling: Literal["full", "end"] = "end",
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Chunk `index` of pairs of images that lie `epsilon` apart on a path between two latents: float (64,C,H,W)
        in about 0..255, not rounded, at t and at t + epsilon.

        StyleGAN, section 4.1: paths are spherical in Z and straight in W. Both ends, and both images, have the same
        label and the same (constant) noise.

        Args:
            sampling: t is 0 ("end") or uniform in 0..1 ("full").
        """
        if space not in ("z", "w") or sampling not in ("end", "full"):
            raise ValueError(f"a path is in z or w, sampled at end or full, not {space!r}, {sampling!r}")
        random = self._random(index)
        z0, z1 = self._latents(random), self._latents(random)
        labels = self._draw_labels(random)
        uniform = torch.from_numpy(random.uniform(size=(CHUNK_SIZE, 1))).to(self._device)
        t = uniform if sampling == "full" else torch.zeros_like(uniform)
        pairs = torch.empty([2, CHUNK_SIZE, *self._image_shape()], device=self._device)
        for _, own in self._pieces():
            ws = [self._on_path(z0[own], z1[own], labels[own], at[own], space) for at in (t, t + epsilon)]
            images = self._G.synthesis(torch.cat(ws), noise_mode="const")
            for pair, half in zip(pairs, images.chunk(2), strict=True):
                self._check(half, index, own)
                pair[own] = to_byte_range(half)
        return pairs[0], pairs[1]

    def _on_path(
        self, z0: torch.Tensor, z1: torch.Tensor, c: torch.Tensor, t: torch.Tensor, space: str
    ) -> torch.Tensor:
        """(n, L, W) latents at t (n,1) between the ends. Float64, since steps of 1e-4 are what it is about."""
        if space == "z":
            return self._G.mapping(slerp(z0.double(), z1.double(), t).float(), c, self._truncation_psi)
        w0, w1 = (self._G.mapping(z, c, self._truncation_psi).double() for z in (z0, z1))
        return w0.lerp(w1, t[:, :, None]).float()

    @property
    def _device(self) -> torch.device:
        return next(self._G.parameters()).device

    def _image_shape(self) -> tuple[int, int, int]:
        return self._G.img_channels, self._G.img_resolution, self._G.img_resolution

    def _random(self, index: int) -> np.random.RandomState:
        """RandomState promises the same numbers in every version of numpy."""
        return np.random.RandomState([self._seed, index])

    def _latents(self, random: np.random.RandomState) -> torch.Tensor:
        z = random.standard_normal((CHUNK_SIZE, self._G.z_dim))
        return torch.from_numpy(z.astype(np.float32)).to(self._device)

    def _draw_labels(self, random: np.random.RandomState) -> torch.Tensor:
        """Of any `labels` the same numbers are drawn, so that what is drawn later does not depend on them."""
        places = (random.uniform(size=CHUNK_SIZE) * len(self._labels)).astype(np.int64)
        return torch.from_numpy(self._labels[places]).to(self._device)

    def _pieces(self) -> Iterator[tuple[int, slice]]:
        """Rows of a chunk that are computed together, as a Dealer deals them."""
        for part in range(self._parts):
            yield part, slice(part, None, self._parts)

    def _check(self, images: torch.Tensor, index: int, own: slice) -> None:
        places = range(CHUNK_SIZE)[own]
        check_finite(images, [f"{self.name}, number {index * CHUNK_SIZE + place}" for place in places])


def slerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """(n,Z) unit vectors at t (n,1) of the way from the direction of a (n,Z) to that of b, at constant angular speed.

    Shoemake 1985. Where both directions are (nearly) the same, that one.
    """
    a, b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    angle = torch.acos((a * b).sum(dim=1, keepdim=True).clamp(-1, 1))
    sine = angle.sin()
    between = (a * ((1 - t) * angle).sin() + b * (t * angle).sin()) / sine
    return torch.where(sine.abs() < 1e-8, a, between)


def _labels_of_class(index: int, class_names: tuple[str, ...]) -> np.ndarray:
    if not 0 <= index < len(class_names):
        raise UserError(f"there is no class {index}: the network knows {len(class_names)}, from 0 on")
    return np.eye(len(class_names), dtype=np.float32)[index : index + 1]

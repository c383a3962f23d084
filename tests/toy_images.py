"""Tiny labelled images: which class one belongs to is told by where it is bright. Not radiographs."""

import dataclasses
from pathlib import Path

import numpy as np

from stylegan2ada.dataset_writer import DatasetWriter

CORNERS = (slice(2, 14), slice(18, 30), slice(10, 22), slice(6, 18))


def toy_pixels(label: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 (32,32): noise, and a bright square whose place is the class."""
    pixels = rng.integers(0, 80, (32, 32)).astype(np.uint8)
    pixels[CORNERS[label], CORNERS[label]] += 150
    return pixels


@dataclasses.dataclass
class ToyImages:
    """A dataset in memory, image i being of class `classes[i]`."""

    classes: list[int]
    class_names: tuple[str, ...] | None = ("normal", "abnormal")
    name: str = "toy"
    resolution: int = 32
    num_channels: int = 1
    seed: int = 0
    studies: list[int] | None = None
    notice: str | None = None

    @property
    def groups(self) -> np.ndarray | None:
        return None if self.studies is None else np.array(self.studies)

    @property
    def image_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}{index}.png" for index in range(len(self)))

    def fingerprint(self) -> str:
        return f"{self.classes} {self.class_names} {self.resolution} {self.num_channels} {self.seed}"

    @property
    def num_classes(self) -> int:
        return len(self.class_names) if self.class_names else max(self.classes) + 1

    @property
    def labels(self) -> np.ndarray:
        return np.eye(self.num_classes, dtype=np.float32)[self.classes]

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = toy_pixels(self.classes[index], np.random.default_rng([self.seed, index]))
        return np.repeat(pixels[None], self.num_channels, axis=0), self.labels[index]


def write_toy_zip(
    path: Path,
    classes: list[int],
    names: list[str] | None = None,
    seed: int = 0,
    notice: str | None = None,
    studies: list[int] | None = None,
) -> Path:
    rng = np.random.default_rng(seed)
    metadata = {} if notice is None else {"notice": notice}
    with DatasetWriter(path, names or ["normal", "abnormal"], metadata) as writer:
        for index, label in enumerate(classes):
            writer.add(toy_pixels(label, rng), label, None if studies is None else studies[index])
    return path

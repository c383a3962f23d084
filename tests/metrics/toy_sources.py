"""Image sources in memory, detectors that are plain functions, and small TorchScript files in the official forms."""

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from metrics.sources import CHUNK_SIZE


class ToySource:
    """Noise whose brightness is told by the class, image i being of class i mod 3 (or of none)."""

    class_names = ("a", "b", "c")

    def __init__(self, num_images: int | None, seed: int = 0, key: str | None = None, channels: int = 1):
        self.name, self.key, self.num_images = f"toy{seed}", key, num_images
        self.seed, self.channels = seed, channels
        self.chunks: list[int] = []  # that were asked for

    def chunk(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.chunks.append(index)
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        first = index * CHUNK_SIZE
        count = CHUNK_SIZE if self.num_images is None else min(CHUNK_SIZE, self.num_images - first)
        classes = torch.arange(first, first + CHUNK_SIZE) % 3
        noise = torch.randint(0, 200, (CHUNK_SIZE, self.channels, 4, 4), generator=generator)
        return (noise + 20 * classes[:, None, None, None]).to(torch.uint8)[:count], classes[:count]

    def all_pixels(self, count: int) -> np.ndarray:
        """(count, 16) of the first channel."""
        chunks = [self.chunk(index)[0] for index in range(-(-count // CHUNK_SIZE))]
        return torch.cat(chunks)[:count, 0].flatten(1).double().numpy()


class ToyPaths(ToySource):
    """Pairs of images whose distance is known: one of the pair is the other and epsilon * (path number + 1)."""

    def path_pairs(self, index, *, space, sampling, epsilon):
        numbers = index * CHUNK_SIZE + torch.arange(CHUNK_SIZE, dtype=torch.float64)
        a = torch.zeros(CHUNK_SIZE, 1, 2, 2, dtype=torch.float64)
        b = a + (epsilon * (numbers + 1)).view(-1, 1, 1, 1)
        return a, b


class PixelDetector:
    """The grey values as features."""

    name, sha256 = "pixels", "0" * 64

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        self.batches.append(len(images))
        return images[:, 0].flatten(1).float()


def in_threads(count: int, work: Callable[[Any], Any]) -> list[Any]:
    """What `work(shards)` gives in each of several processes; threads stand for these here."""
    barrier, slots = threading.Barrier(count), [None] * count
    results: list[Any] = [None] * count

    class Thread:
        def __init__(self, rank: int):
            self.rank, self.world_size = rank, count

        def gather(self, array: np.ndarray) -> list[np.ndarray]:
            slots[self.rank] = array.copy()
            barrier.wait(20)
            found = list(slots)
            barrier.wait(20)
            return found

    def run(rank: int) -> None:
        try:
            results[rank] = work(Thread(rank))
        except BaseException as error:
            results[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, threading.BrokenBarrierError):
            raise result
    return results


class ToyInception(torch.nn.Module):
    """Called as the official Inception is: 8 features, or probabilities of 5 classes."""

    def forward(self, img: torch.Tensor, return_features: bool = False, no_output_bias: bool = False) -> torch.Tensor:
        small = functional.interpolate(img.float(), size=(2, 4), mode="nearest")[:, 0].flatten(1)
        if return_features:
            return small
        logits = small[:, :5] / 50
        return torch.softmax(logits if no_output_bias else logits.sin(), dim=1)


class ToyVgg16(torch.nn.Module):
    """Called as the official VGG16 is; perceptual features of images as large as they come."""

    def forward(
        self, img: torch.Tensor, resize_images: bool = True, return_features: bool = False, return_lpips: bool = False
    ) -> torch.Tensor:
        if return_lpips:
            if resize_images:
                raise RuntimeError("images must not be resized")
            return img.flatten(1) / img.shape[-1]
        if not return_features:
            raise RuntimeError("features are wanted")
        return img.float().mean(dim=3).flatten(1)


def save_script(module: torch.nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return path

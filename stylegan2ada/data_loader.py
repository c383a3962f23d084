"""Endless batches out of a dataset: whole sets in memory where they are small, worker processes otherwise.

A CUDA device never waits for them: small sets lie on the device, of others the next batch is copied meanwhile.
"""

import contextlib
import itertools
import math
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.utils.data

from .dataset import EndlessSampler, ImageDataset
from .errors import UserError

Batch = tuple[torch.Tensor, torch.Tensor]

DEVICE_SHARE = 16  # of a device's memory, the part that a data set may take up


def endless_batches(
    dataset: ImageDataset,
    batch_size: int,
    seed: int,
    start: int = 0,
    num_workers: int = 3,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world_size: int = 1,
    memory_limit_bytes: int = 2 * 10**9,
) -> Iterator[Batch]:
    """Batches of uint8 (batch_size,C,H,W) pixels and float32 (batch_size,K) labels on `device`, without end.

    Their order is that of `EndlessSampler`, whatever the way of reading; the global random state is left alone.
    A set that takes at most `memory_limit_bytes` when decoded is decoded here and now: a broken image then shows
    before training, and no batch is ever waited for. On a CUDA device it lies in the device's memory, where it takes at
    most 1/16 of that. `close()` on the result ends the worker processes.

    Args:
        batch_size: images per batch of this process.
        start: images that all processes together have consumed already.
        num_workers: worker processes (threads, for the decoding of a small set); 0 reads in this process.
    """
    if batch_size < 1:
        raise UserError(f"a batch of {batch_size} images is impossible: choose 1 or more")
    if num_workers < 0:
        raise UserError(f"{num_workers} data loading workers are impossible: choose 0 or more")
    device = torch.device(device)
    sampler = EndlessSampler(len(dataset), seed, rank=rank, world_size=world_size, start=start)
    if decoded_bytes(dataset) > memory_limit_bytes:
        return _copied_ahead(_batches_from_workers(dataset, sampler, batch_size, num_workers), device)
    pixels, labels = _decode_all(dataset, num_workers)
    if decoded_bytes(dataset) > _device_limit_bytes(device):
        return _copied_ahead(_batches_in_memory(pixels, labels, sampler, batch_size), device)
    return _batches_in_memory(pixels.to(device), labels.to(device), sampler, batch_size)


def decoded_bytes(dataset: ImageDataset) -> int:
    """Memory that all pixels of a dataset take."""
    return len(dataset) * dataset.num_channels * dataset.resolution**2


def _decode_all(dataset: ImageDataset, num_threads: int) -> Batch:
    """Every image, in order. Pillow decodes outside the interpreter lock, so threads do help."""
    shape = (len(dataset), dataset.num_channels, dataset.resolution, dataset.resolution)
    pixels = np.empty(shape, dtype=np.uint8)

    def decode(index: int) -> None:
        pixels[index], _ = dataset[index]

    with ThreadPoolExecutor(max(num_threads, 1)) as pool:
        for _ in pool.map(decode, range(len(dataset))):
            pass  # the results are in place; the loop raises the first error
    return torch.from_numpy(pixels), torch.from_numpy(dataset.labels)


def _device_limit_bytes(device: torch.device) -> float:
    if device.type != "cuda":
        return math.inf
    return torch.cuda.get_device_properties(device).total_memory / DEVICE_SHARE


def _batches_in_memory(
    pixels: torch.Tensor, labels: torch.Tensor, sampler: EndlessSampler, batch_size: int
) -> Iterator[Batch]:
    """Batches out of all pixels and labels, on the device where these are."""
    for indices in _IndexBatches(sampler, batch_size):
        chosen = _without_waiting(torch.tensor(indices), pixels.device)
        yield pixels.index_select(0, chosen), labels.index_select(0, chosen)


def _batches_from_workers(
    dataset: ImageDataset, sampler: EndlessSampler, batch_size: int, num_workers: int
) -> Iterator[Batch]:
    loader = torch.utils.data.DataLoader(
        _BatchReader(dataset),
        batch_size=None,  # the sampler yields whole batches of indices
        sampler=_IndexBatches(sampler, batch_size),
        num_workers=num_workers,
        worker_init_fn=_leave_signals_to_parent,
        generator=torch.Generator(),  # the loader draws a number at its start: not out of the global state
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        pixels, labels = batch
        yield pixels, labels


def _copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on `device`. To a CUDA device the next one is copied while the network works on the last."""
    with contextlib.closing(batches):
        if device.type != "cuda":
            yield from batches
            return
        stream = torch.cuda.Stream(device)
        upcoming = _copied_on(stream, next(batches))
        while True:
            torch.cuda.current_stream(device).wait_stream(stream)
            ready, upcoming = upcoming, _copied_on(stream, next(batches))
            yield ready


def _copied_on(stream: torch.cuda.Stream, batch: Batch) -> Batch:
    """A copy made on `stream`, after all work so far: that may still read what the copy's memory held before."""
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    with torch.cuda.stream(stream):
        pixels, labels = batch
        return _without_waiting(pixels, stream.device), _without_waiting(labels, stream.device)


def _without_waiting(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor`, of the CPU, on `device`: by way of pinned memory, from where a copy goes on by itself."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class _IndexBatches(torch.utils.data.Sampler[list[int]]):
    """The stream of a sampler, cut into batches."""

    def __init__(self, sampler: EndlessSampler, batch_size: int) -> None:
        self._sampler = sampler
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self._sampler)
        while True:
            yield list(itertools.islice(indices, self._batch_size))


class _BatchReader(torch.utils.data.Dataset):
    """Reads whole batches. A `UserError` is returned: raised, a worker would bury it in its traceback."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, indices: list[int]) -> Batch | UserError:
        try:
            items = [self._dataset[index] for index in indices]
        except UserError as error:
            return UserError(str(error))
        pixels, labels = zip(*items, strict=True)
        return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels))


def _leave_signals_to_parent(_worker: int) -> None:
    """Ctrl-C, and the SIGTERM of a cluster, reach all processes of a job. The parent ends its workers when it has saved
    the run; without this they would be gone before, which is an error in the parent's next batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

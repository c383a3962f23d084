"""Endless batches: one stream whatever the way of reading; workers end cleanly."""

import itertools
import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stylegan2ada import data_loader
from stylegan2ada.data_loader import decoded_bytes, endless_batches
from stylegan2ada.dataset import EndlessSampler, ImageDataset
from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.errors import UserError

IN_MEMORY = {}
IN_PROCESS = {"memory_limit_bytes": 0, "num_workers": 0}
WORKERS = {"memory_limit_bytes": 0, "num_workers": 2}


@pytest.fixture
def dataset(tmp_path) -> ImageDataset:
    """Ten color 8x8 images, mirrored; image i is i everywhere but for a gradient, so that flips show."""
    with DatasetWriter(tmp_path / "set.zip") as writer:
        for i in range(10):
            pixels = np.full((8, 8, 3), i, dtype=np.uint8)
            pixels[:, :, 2] = np.arange(8)
            writer.add(pixels, i % 2)
    return ImageDataset(tmp_path / "set.zip", use_labels=True, mirror=True)


def take(dataset: ImageDataset, count: int, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `count` batches as one."""
    batches = endless_batches(dataset, **{"batch_size": 3, "seed": 1, **options})
    pixels, labels = zip(*itertools.islice(batches, count), strict=True)
    batches.close()
    return torch.cat(pixels), torch.cat(labels)


@pytest.mark.parametrize("way", [IN_MEMORY, IN_PROCESS, WORKERS], ids=["memory", "process", "workers"])
class TestEveryWayOfReading:
    def test_follows_the_sampler(self, dataset, way):
        pixels, labels = take(dataset, 15, **way)
        assert (pixels.dtype, pixels.shape) == (torch.uint8, (45, 3, 8, 8))
        assert (labels.dtype, labels.shape) == (torch.float32, (45, 2))
        order = itertools.islice(EndlessSampler(20, seed=1), 45)
        for i, (found, label) in zip(order, zip(pixels, labels, strict=True), strict=True):
            np.testing.assert_array_equal(found.numpy(), dataset[i][0])
            np.testing.assert_array_equal(label.numpy(), dataset[i][1])

    def test_start_resumes_exactly(self, dataset, way):
        whole, resumed = take(dataset, 9, **way), take(dataset, 5, start=12, **way)
        assert torch.equal(whole[0][12:], resumed[0])
        assert torch.equal(whole[1][12:], resumed[1])

    def test_ranks_share_a_batch_out(self, dataset, way):
        whole, _ = take(dataset, 4, batch_size=6, **way)
        ranks = [take(dataset, 4, batch_size=3, rank=rank, world_size=2, **way)[0] for rank in range(2)]
        assert torch.equal(torch.stack(ranks, dim=1).flatten(0, 1), whole)

    def test_global_random_state_stays(self, dataset, way):
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        take(dataset, 8, **way)
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])

    def test_batches_do_not_share_memory(self, dataset, way):
        batches = endless_batches(dataset, batch_size=20, seed=1, **way)
        next(batches)[0].zero_()
        assert next(batches)[0].sum() > 0
        batches.close()

    def test_broken_image_is_one_line_that_names_it(self, tmp_path, way):
        path = broken_set(tmp_path)
        with pytest.raises(UserError, match=r"^cannot read 00000/img00000005.png in [^\n]*$"):
            take(ImageDataset(path), 4, **way)


def broken_set(tmp_path: Path) -> Path:
    path = tmp_path / "broken"
    with DatasetWriter(path) as writer:
        for i in range(9):
            writer.add(np.random.RandomState(i).randint(0, 256, (32, 32), dtype=np.uint8))
    victim = path / "00000" / "img00000005.png"
    victim.write_bytes(victim.read_bytes()[:500])
    return path


def test_close_ends_the_workers(dataset):
    batches = endless_batches(dataset, batch_size=3, seed=1, **WORKERS)
    next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    batches.close()
    assert not any(worker.is_alive() for worker in workers)


def test_workers_outlive_the_signals_that_stop_the_run(dataset):
    """A cluster sends SIGTERM to every process of a job; the run still needs its batches until it is saved."""
    batches = endless_batches(dataset, batch_size=2, seed=0, num_workers=2, memory_limit_bytes=0)
    for _ in range(2):  # one of each
        next(batches)
    workers = multiprocessing.active_children()
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    for _ in range(20):
        next(batches)
    assert all(worker.is_alive() for worker in workers)
    batches.close()
    assert not any(worker.is_alive() for worker in workers)


def test_small_set_is_decoded_once(dataset, monkeypatch):
    batches = endless_batches(dataset, batch_size=7, seed=1)
    monkeypatch.setattr(ImageDataset, "__getitem__", None)
    assert sum(len(next(batches)[0]) for _ in range(9)) == 63


def test_decoded_bytes(dataset):
    assert decoded_bytes(dataset) == sum(dataset[i][0].nbytes for i in range(20))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"num_workers": -1}, {"seed": -1}])
def test_impossible_options_raise_at_once(dataset, options):
    with pytest.raises(UserError, match="choose"):
        endless_batches(dataset, **{"batch_size": 3, "seed": 1, **options})


def test_the_next_batch_is_copied_before_it_is_asked_for(monkeypatch):
    """Streams replaced by notes, since they need a GPU: the order stays, and one batch is always under way."""
    copied, stream = [], SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(data_loader, "_copied_on", lambda stream, batch: copied.append(batch) or batch)
    batches = data_loader._copied_ahead((number for number in itertools.count()), torch.device("cuda"))
    for number in range(5):
        assert next(batches) == number
        assert copied == list(range(number + 2))
    batches.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("way", [IN_MEMORY, WORKERS])
def test_cuda_batches_equal_cpu_batches(dataset, way):
    on_gpu, on_cpu = take(dataset, 15, device="cuda", **way), take(dataset, 15, **way)
    assert on_gpu[0].is_cuda
    assert torch.equal(on_gpu[0].cpu(), on_cpu[0])
    assert torch.equal(on_gpu[1].cpu(), on_cpu[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_batches_of_a_set_too_large_for_the_device(dataset, monkeypatch):
    monkeypatch.setattr(data_loader, "_device_limit_bytes", lambda device: 0)
    on_gpu, on_cpu = take(dataset, 15, device="cuda"), take(dataset, 15)
    assert torch.equal(on_gpu[0].cpu(), on_cpu[0])
    assert torch.equal(on_gpu[1].cpu(), on_cpu[1])

"""Training steps on a CUDA device: CUDA graphs, no waiting, steps left out; skipped where there is none."""

import contextlib
import itertools
import json
import warnings
from collections.abc import Iterator

import pytest
import torch

from stylegan2ada import load
from stylegan2ada.config import AugmentConfig, DataConfig, LossConfig, NetworkConfig, TrainingConfig
from stylegan2ada.cuda_graphs import CudaBackend, CudaGraphs, run_eagerly
from stylegan2ada.data_loader import endless_batches
from stylegan2ada.dataset import EndlessSampler, ImageDataset
from stylegan2ada.errors import NonFiniteError
from stylegan2ada.loop import train
from stylegan2ada.optimizer_steps import SkippingSteps
from stylegan2ada.updates import Execution, GeneratorTerm
from tests.stylegan2ada.step_parts import StepParts, differing
from tests.toy_images import write_toy_zip

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DEVICE = torch.device("cuda")
WARM = 13  # R1, every 4 steps in StepParts, is recorded in step 13


@pytest.fixture(autouse=True)
def _exact(monkeypatch) -> None:
    """The same algorithms in every run."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever makes the host wait for the device raises."""
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def graphs(log: list[str]) -> Execution:
    return Execution(CudaGraphs(CudaBackend(DEVICE), log.append), SkippingSteps())


def eager() -> Execution:
    return Execution(run_eagerly, SkippingSteps())


def run(execution: Execution, steps: int, **options) -> tuple[StepParts, list[dict]]:
    parts = StepParts(execution, device=DEVICE.type, **options)
    torch.manual_seed(1)
    return parts, [parts.step() for _ in range(steps)]


class TestGraphs:
    @pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
    def test_without_augmentation_replays_equal_plain_steps(self, precision):
        """The same kernels in the same order on the same random numbers: bit for bit."""
        log = []
        ours, our_reports = run(graphs(log), WARM + 8, pipe=None, precision=precision)
        plain, reports = run(eager(), WARM + 8, pipe=None, precision=precision)
        assert log == []
        for step, (our_report, report) in enumerate(zip(our_reports, reports, strict=True)):
            assert differing(our_report, report) == [], f"step {step}"
        assert differing(ours.state(), plain.state()) == []

    @pytest.mark.parametrize("pipe", ["bgcfnc", "radiograph"])
    def test_with_augmentation_they_agree_closely(self, pipe):
        """Warps add up their gradients in any order (atomics), so two plain runs do not agree to the last bit either;
        a few steps after the recordings nothing has grown yet."""
        log = []
        ours, our_reports = run(graphs(log), WARM + 2, pipe=pipe)
        _, reports = run(eager(), WARM + 2, pipe=pipe)
        assert log == []
        for our_report, report in zip(our_reports, reports, strict=True):
            assert our_report.keys() == report.keys()
            for name in report:
                if "signs" not in name:  # of logits near 0
                    torch.testing.assert_close(our_report[name], report[name], rtol=5e-2, atol=5e-2, msg=name)
        assert all(value.isfinite().all() for value in ours.state().values())

    def test_every_replay_draws_anew(self):
        _, reports = run(graphs([]), WARM + 6, pipe=None)
        scores = torch.stack([report["Loss/scores/fake"] for report in reports])
        assert len(scores.unique(dim=0)) == len(scores)

    def test_batches_of_varying_size(self):
        log = []
        ours, _ = run(graphs(log), 24, pipe=None, sizes=(4, 4, 2))
        plain, _ = run(eager(), 24, pipe=None, sizes=(4, 4, 2))
        assert log == []
        assert differing(ours.state(), plain.state()) == []

    def test_a_term_that_waits_leaves_only_its_phase_without_a_graph(self):
        def waiting(images, labels):
            return images.mean([1, 2, 3]) * (1.0 if images.mean().item() < 1e9 else 0.0)

        log = []
        run(graphs(log), WARM + 2, pipe=None, terms=[GeneratorTerm("waiting", 0.1, waiting)])
        assert log == ["generator loss: runs without a CUDA graph, since it makes the host wait for the device"]

    def test_a_recording_that_fails_loses_nothing(self):
        """Random numbers, memory and results are as if nobody had tried."""

        class Unwatched(CudaBackend):
            def watch(self, function):
                return function(), False

        def waiting(images, labels):
            return images.mean([1, 2, 3]) * (1.0 if images.mean().item() < 1e9 else 0.0)

        log, terms = [], [GeneratorTerm("waiting", 0.1, waiting)]
        execution = Execution(CudaGraphs(Unwatched(DEVICE), log.append), SkippingSteps())
        ours, _ = run(execution, WARM + 4, pipe=None, terms=terms)
        torch.cuda.empty_cache()
        plain, _ = run(eager(), WARM + 4, pipe=None, terms=terms)
        (line,) = log
        assert line.startswith("generator loss: recording its CUDA graph failed (")
        assert differing(ours.state(), plain.state()) == []


class TestNoWaiting:
    @pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
    @pytest.mark.parametrize("make", [eager, lambda: graphs([])], ids=["eager", "graphs"])
    def test_in_a_steady_step(self, make, precision):
        parts, _ = run(make(), WARM, precision=precision)
        with no_waiting():
            for _ in range(4):
                parts.step()

    def test_the_check_would_notice(self):
        x = torch.ones(3, device=DEVICE)
        with pytest.raises(RuntimeError, match="synchronizing"), no_waiting():
            x.sum().item()

    @pytest.mark.parametrize("memory_limit_bytes", [0, 2 * 10**9], ids=["read", "in memory"])
    def test_for_a_batch(self, tmp_path, memory_limit_bytes):
        data = ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0, 1] * 8), use_labels=True)
        batches = endless_batches(data, 4, seed=1, num_workers=0, device=DEVICE, memory_limit_bytes=memory_limit_bytes)
        found = [next(batches) for _ in range(2)]
        with no_waiting():
            found += [next(batches) for _ in range(10)]
        batches.close()
        order = itertools.islice(EndlessSampler(len(data), seed=1), 48)
        expected = torch.stack([torch.from_numpy(data[index][0]) for index in order])
        assert torch.equal(torch.cat([pixels for pixels, _ in found]).cpu(), expected)


class TestSkippedSteps:
    @pytest.mark.parametrize("make", [run_eagerly, None], ids=["eager", "graphs"])
    def test_a_bad_step_changes_no_weight(self, make):
        """The factor is a tensor, so it changes under a recorded graph too."""
        factor = torch.ones([], device=DEVICE)
        skips, log = SkippingSteps(tolerated_skips=2), []
        run_phase = make or CudaGraphs(CudaBackend(DEVICE), log.append)
        term = GeneratorTerm("factor", 1.0, lambda images, labels: images.mean([1, 2, 3]) * factor)
        parts, _ = run(Execution(run_phase, skips), WARM, terms=[term])
        assert skips.check() == dict.fromkeys(skips._skips, 0)
        before = parts.state()
        factor.fill_(float("nan"))
        parts.step()
        factor.fill_(1)
        after = parts.state()
        assert skips.check()["generator loss"] == 1
        moved = [name for name in differing(after, before) if name.startswith("G/")]
        assert moved == ["G/mapping.w_avg"], "step WARM, an odd one, has no path length regularisation"
        assert all(value.isfinite().all() for value in after.values())
        parts.step()
        assert skips.check()["generator loss"] == 0
        assert log == []

    def test_a_poisoned_weight_is_told_at_the_check(self):
        skips = SkippingSteps()
        parts, _ = run(Execution(run_eagerly, skips), 1)
        with torch.no_grad():
            parts.D.b4.out.bias.fill_(float("inf"))
        parts.step()
        with pytest.raises(NonFiniteError, match="the loss or a gradient was not finite"):
            skips.check()


class TestRuns:
    def config(self, data: ImageDataset, precision: str, **changes) -> TrainingConfig:
        high = {"num_fp16_res": 4, "conv_clamp": 256.0} if precision == "fp16" else {}
        return TrainingConfig(
            DataConfig(str(data.path), 32, 1, len(data), 2, data.class_names),
            NetworkConfig(512, 16, 16, 16, 2, **high),
            LossConfig(r1_interval=4, pl_interval=2),
            augment=AugmentConfig("ada", "bgc", 0.1),
            total_kimg=0.24, batch_size=8, kimg_per_tick=0.08, num_workers=0, precision=precision, **changes,
        )  # fmt: skip

    @pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
    def test_a_short_run(self, tmp_path, precision):
        data = ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0, 1] * 8), use_labels=True)
        (tmp_path / "run").mkdir()
        snapshot = load(train(self.config(data, precision), data, tmp_path / "run", DEVICE))
        assert all(value.isfinite().all() for value in snapshot.generator.state_dict().values())
        lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
        assert [line["Progress/tick"] for line in lines] == [1, 2, 3]
        assert "CUDA graph" not in (tmp_path / "run" / "log.txt").read_text(), "none was refused, none failed"

    def test_a_nan_stops_it_at_the_tick(self, tmp_path):
        data = ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0, 1] * 8), use_labels=True)
        (tmp_path / "run").mkdir()
        term = GeneratorTerm("bad", 1.0, lambda images, labels: images.mean([1, 2, 3]) * float("nan"))
        with pytest.raises(NonFiniteError, match=r"training stopped at step 9 .*: generator loss: .* in 10 steps"):
            train(self.config(data, "fp32"), data, tmp_path / "run", DEVICE, terms=[term])
        assert not list((tmp_path / "run").glob("network-snapshot*"))

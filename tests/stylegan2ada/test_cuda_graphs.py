"""The control flow of graphed phases, on a backend that records a function and replays it by calling it again."""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylegan2ada import losses
from stylegan2ada.augment import color, filtering, geometry, warp
from stylegan2ada.cuda_graphs import WARM_UP_CALLS, CudaGraphs
from stylegan2ada.ops import kernels
from stylegan2ada.optimizer_steps import SkippingSteps
from stylegan2ada.updates import Execution

from .step_parts import StepParts, differing


class FakeBackend:
    """Like a graph: recording does nothing, replaying reads the inputs and leaves results in the same tensors."""

    def __init__(self, waits: tuple[int, ...] = (), fails: int | None = None):
        """waits: which phases, in the order in which they are watched, wait for the device; fails: which recording."""
        self.waits, self.fails = waits, fails
        self.watched = self.recorded = self.replayed = self.recovered = 0
        self.on_side_stream = False

    @contextlib.contextmanager
    def side_stream(self):
        self.on_side_stream = True
        yield
        self.on_side_stream = False

    def watch(self, function):
        assert self.on_side_stream
        self.watched += 1
        return function(), self.watched - 1 in self.waits

    def record(self, function):
        self.recorded += 1
        if self.fails == self.recorded - 1:
            try:
                raise RuntimeError("operation not permitted when stream is capturing\nmore")
            finally:
                raise RuntimeError("capture was invalidated")
        outputs = {}

        def replay():
            self.replayed += 1
            for name, value in function().items():
                outputs.setdefault(name, torch.empty_like(value)).copy_(value)

        return replay, outputs

    def recover(self):
        self.recovered += 1


class Phase:
    """x, y -> {"sum": x + y}; notes the tensors it was called with."""

    def __init__(self):
        self.seen = []

    def __call__(self, x, y):
        self.seen.append((x, y))
        return {"sum": x + y}


@pytest.fixture
def log() -> list[str]:
    return []


class TestOnePhase:
    def run(self, graphs, phase, calls, size=2):
        for call in range(calls):
            x = torch.full([size], float(call))
            yield graphs("add", phase, x, torch.ones(size))["sum"]

    def test_warm_up_then_one_recording_then_replays(self, log):
        backend, phase = FakeBackend(), Phase()
        graphs = CudaGraphs(backend, log.append)
        sums = [total[0].item() for total in self.run(graphs, phase, 8)]
        assert sums == [1, 2, 3, 4, 5, 6, 7, 8], "every call is one step, none is lost or done twice"
        assert (backend.watched, backend.recorded, backend.replayed) == (1, 1, 8 - WARM_UP_CALLS)
        assert log == []

    def test_a_graph_reads_the_same_tensors_every_time(self, log):
        phase = Phase()
        list(self.run(CudaGraphs(FakeBackend(), log.append), phase, 8))
        warm_up, replays = phase.seen[:WARM_UP_CALLS], phase.seen[WARM_UP_CALLS:]
        assert len({x.data_ptr() for x, _ in replays}) == 1
        assert not {x.data_ptr() for x, _ in replays} & {x.data_ptr() for x, _ in warm_up}

    def test_results_outlive_the_next_replay(self, log):
        results = list(self.run(CudaGraphs(FakeBackend(), log.append), Phase(), 8))
        assert [result[0].item() for result in results] == [1, 2, 3, 4, 5, 6, 7, 8]

    def test_other_shapes_run_as_they_are(self, log):
        backend, phase = FakeBackend(), Phase()
        graphs = CudaGraphs(backend, log.append)
        list(self.run(graphs, phase, 5))
        assert graphs("add", phase, torch.ones(3), torch.ones(3))["sum"].tolist() == [2, 2, 2]
        assert graphs("add", phase, torch.ones(2), torch.ones(2))["sum"].tolist() == [2, 2]
        assert backend.recorded == 1

    def test_an_error_of_the_phase_is_not_swallowed(self, log):
        def bad(x, y):
            raise ValueError("shapes")

        with pytest.raises(ValueError, match="shapes"):
            list(self.run(CudaGraphs(FakeBackend(), log.append), bad, 1))

    def test_an_error_that_comes_with_the_recording_is_not_swallowed(self, log):
        phase, calls = Phase(), []

        def later(x, y):
            calls.append(1)
            if len(calls) > WARM_UP_CALLS:
                raise ValueError("later")
            return phase(x, y)

        backend = FakeBackend()
        backend.record = lambda function: (None, function())  # a real recording runs the Python code
        with pytest.raises(ValueError, match="later"):
            list(self.run(CudaGraphs(backend, log.append), later, WARM_UP_CALLS + 1))


class TestWholeSteps:
    STEPS = 15  # R1, every 4 steps, is recorded in the 13th

    def run(self, execution: Execution, **options) -> tuple[StepParts, list[dict]]:
        parts = StepParts(execution, pipe="bgc", **options)
        torch.manual_seed(1)
        return parts, [parts.step() for _ in range(self.STEPS)]

    def assert_same(self, execution: Execution, **options) -> None:
        (ours, our_reports), (plain, reports) = self.run(execution, **options), self.run(Execution(), **options)
        assert differing(ours.state(), plain.state()) == []
        for our_report, report in zip(our_reports, reports, strict=True):
            assert differing(our_report, report) == []

    def test_replays_equal_plain_steps_bit_for_bit(self, log):
        backend = FakeBackend()
        self.assert_same(Execution(CudaGraphs(backend, log.append), SkippingSteps()))
        assert backend.recorded == 4
        assert log == []

    def test_batches_of_varying_size(self, log):
        backend = FakeBackend()
        self.assert_same(Execution(CudaGraphs(backend, log.append)), sizes=(4, 4, 2))
        assert backend.replayed > 0

    def test_a_phase_that_waits_runs_as_it_is_beside_the_others(self, log):
        backend = FakeBackend(waits=(1,))
        self.assert_same(Execution(CudaGraphs(backend, log.append)))
        assert backend.recorded == 3
        assert log == ["discriminator loss: runs without a CUDA graph, since it makes the host wait for the device"]

    @pytest.mark.parametrize("fails", [1, 3])
    def test_a_recording_that_fails_loses_nothing(self, log, fails):
        backend = FakeBackend(fails=fails)
        self.assert_same(Execution(CudaGraphs(backend, log.append)))
        assert (backend.recorded, backend.recovered) == (fails + 1, 1)
        (line,) = log
        reason = "operation not permitted when stream is capturing"  # the first cause, not what it led to
        assert line.endswith(f": recording its CUDA graph failed ({reason}); going on without CUDA graphs")


class Recorder(TorchDispatchMode):
    """Notes every operation on tensors with the tensors themselves, below autograd."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation is not torch.ops.aten._local_scalar_dense.default, "a number was read back"
        results = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, results))
        return results

    def repeat(self) -> None:
        """Does it all again: the same operations on the same memory, with the same Python numbers."""
        for operation, args, kwargs, results in self.operations:
            given = {storage(tensor) for tensor in tensors_of((args, kwargs))}
            if not operation._schema.is_mutable and any(storage(tensor) in given for tensor in tensors_of(results)):
                continue  # a view
            again = operation(*args, **kwargs)
            if not operation._schema.is_mutable:
                for old, new in zip(tensors_of(results), tensors_of(again), strict=True):
                    old.copy_(new)


def tensors_of(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


class RecordingBackend(FakeBackend):
    """As CUDA graphs do it, replaying runs no Python of the phase. But recording here works too, so that the replay
    that follows at once has nothing to do."""

    def record(self, function):
        self.recorded += 1
        recorder, fresh = Recorder(), [True]
        with recorder:
            outputs = function()

        def replay():
            self.replayed += 1
            if not fresh:
                with torch.no_grad():
                    recorder.repeat()
            fresh.clear()

        return replay, outputs


@pytest.fixture
def ways_of_cuda(monkeypatch) -> None:
    """On the CPU, what is done elsewhere so that nothing depends on a number that was drawn."""

    def select(changed, transform, images, *parameters):
        return torch.where(changed[:, None, None, None], transform(images, *parameters), images)

    for group in (geometry, color, filtering):
        monkeypatch.setattr(group, "where_changed", select)
    monkeypatch.setattr(warp, "padding_px", lambda inverse, height, width, extra: (width - 1,) * 2 + (height - 1,) * 2)
    monkeypatch.setattr(losses, "_mix_if_drawn", losses._mix_by_mask)
    monkeypatch.setattr(kernels, "find", lambda *choice: None)  # the fused ones of a CPU are not torch's operations


@pytest.mark.usefixtures("ways_of_cuda")
@pytest.mark.parametrize(("precision", "pipe"), [("fp32", "bgcfnc"), ("bf16", None)])
def test_phases_leave_all_that_changes_to_tensors(log, precision, pipe):
    """Replayed operation by operation, without their Python, the phases still equal plain steps bit for bit."""
    backend, states, reports = RecordingBackend(), [], []
    for execution in (Execution(CudaGraphs(backend, log.append), SkippingSteps()), Execution()):
        parts = StepParts(execution, pipe=pipe, precision=precision)
        torch.manual_seed(1)
        reports.append([parts.step() for _ in range(20)])
        states.append(parts.state())
    assert (backend.recorded, log) == (4, [])
    for ours, plain in zip(*reports, strict=True):
        assert differing(ours, plain) == []
    assert differing(*states) == []

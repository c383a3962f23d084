"""The phases of a training step as CUDA graphs: one launch each instead of some thousand.

What a phase does must be the same every time, but for the numbers in its tensors: a graph repeats the work on the
device that its recording saw, and none of the Python around it.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch

Tensors = dict[str, torch.Tensor]
Phase = Callable[..., Tensors]

WARM_UP_CALLS = 3
SYNC_WARNING = "called a synchronizing CUDA operation"


class RunPhase(Protocol):
    """Calls function(*inputs), tensors in and a dict of tensors without graph out; the same function for a name."""

    def __call__(self, name: str, function: Phase, *inputs: torch.Tensor) -> Tensors: ...


def run_eagerly(name: str, function: Phase, *inputs: torch.Tensor) -> Tensors:
    """Just calls the function."""
    return function(*inputs)


class CudaGraphs:
    """Records each phase after WARM_UP_CALLS ordinary calls and replays it from then on.

    The ordinary calls are steps like any other; in them cuDNN chooses its algorithms and Adam makes its state. The last
    of them is watched: a phase that makes the host wait for the device cannot be recorded and stays as it is. A call
    with inputs of other shapes is an ordinary one. Should a recording fail, nothing of the step is lost: one line
    in the log, and all phases run without graphs from then on.

    Random numbers come out of the device's default generator, which goes on from replay to replay. The phases share
    one memory pool, so what a replay leaves is gone with the next one: results are copies; all that lasts (weights,
    Adam's state, buffers) was made before the recording and is changed in place.
    """

    def __init__(self, backend: "GraphBackend", log: Callable[[str], None]):
        self._backend, self._log = backend, log
        self._recordings: dict[str, _Recording] = {}
        self._failed = False

    def __call__(self, name: str, function: Phase, *inputs: torch.Tensor) -> Tensors:
        shapes = [(tensor.shape, tensor.dtype) for tensor in inputs]
        recording = self._recordings.setdefault(name, _Recording(shapes))
        if self._failed or recording.impossible or shapes != recording.shapes:
            return function(*inputs)
        if recording.calls < WARM_UP_CALLS:
            recording.calls += 1
            return self._warm_up(name, recording, function, inputs)
        if recording.replay is None and not self._record(name, recording, function, inputs):
            return function(*inputs)
        for static, tensor in zip(recording.inputs, inputs, strict=True):
            static.copy_(tensor)
        recording.replay()
        return {key: value.clone() for key, value in recording.outputs.items()}

    def _warm_up(self, name: str, recording: "_Recording", function: Phase, inputs: tuple) -> Tensors:
        with self._backend.side_stream():
            if recording.calls < WARM_UP_CALLS:
                return function(*inputs)
            outputs, waits = self._backend.watch(lambda: function(*inputs))
        if waits:
            recording.impossible = True
            self._log(f"{name}: runs without a CUDA graph, since it makes the host wait for the device")
        return outputs

    def _record(self, name: str, recording: "_Recording", function: Phase, inputs: tuple) -> bool:
        """Recording does nothing but record. False: it failed."""
        recording.inputs = [tensor.clone() for tensor in inputs]
        try:
            recording.replay, recording.outputs = self._backend.record(lambda: function(*recording.inputs))
        except Exception as error:
            self._failed = True
            self._recordings.clear()
            self._backend.recover()
            first = error.__context__ or error  # ending a broken recording raises once more
            lines = str(first).splitlines() or [type(first).__name__]
            self._log(f"{name}: recording its CUDA graph failed ({lines[0]}); going on without CUDA graphs")
        return not self._failed


@dataclass
class _Recording:
    """One phase: how far it is, and once recorded its graph with the tensors that the graph reads and writes."""

    shapes: list
    calls: int = 0
    impossible: bool = False
    replay: Callable[[], None] | None = None
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: Tensors = field(default_factory=dict)


class GraphBackend(Protocol):
    """What CudaGraphs needs of CUDA."""

    def side_stream(self) -> contextlib.AbstractContextManager[None]:
        """Inside, work goes to the stream of the recordings, in order with what is before and after."""
        ...

    def watch(self, function: Callable[[], Tensors]) -> tuple[Tensors, bool]:
        """The function's result, and whether it made the host wait for the device."""
        ...

    def record(self, function: Callable[[], Tensors]) -> tuple[Callable[[], None], Tensors]:
        """What replays the function, and the tensors in which each replay leaves its result."""
        ...

    def recover(self) -> None:
        """After a recording that failed: makes ordinary work possible again."""
        ...


class CudaBackend:
    """torch's CUDA graphs on one device."""

    def __init__(self, device: torch.device):
        self._device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self._stream = torch.cuda.Stream(self._device)
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: list[torch.cuda.CUDAGraph] = []  # also one that failed: the allocator may still refer to it

    @contextlib.contextmanager
    def side_stream(self) -> Iterator[None]:
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    def watch(self, function: Callable[[], Tensors]) -> tuple[Tensors, bool]:
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                outputs = function()
            finally:
                torch.cuda.set_sync_debug_mode(before)
        waits = [warning for warning in caught if SYNC_WARNING in str(warning.message)]
        for warning in caught:
            if warning not in waits and "Synchronization debug mode" not in str(warning.message):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return outputs, bool(waits)

    def record(self, function: Callable[[], Tensors]) -> tuple[Callable[[], None], Tensors]:
        graph = torch.cuda.CUDAGraph()
        self._graphs.append(graph)
        with (
            self.side_stream(),  # entered here too: a failing capture does not leave its stream
            # thread_local: a thread that writes a snapshot may use CUDA meanwhile
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            outputs = function()
        return graph.replay, outputs

    def recover(self) -> None:
        """Where the end of a capture fails, torch leaves the default generator and the allocator in capture mode."""
        del self._graphs[:-1]
        generator = torch.cuda.default_generators[self._device.index]
        generator.graphsafe_set_state(generator.clone_state())  # the same numbers, not in capture mode
        with contextlib.suppress(RuntimeError):  # raised where the allocator did end it
            torch._C._cuda_endAllocateToPool(self._device.index, self._pool)

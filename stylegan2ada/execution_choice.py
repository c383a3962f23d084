"""Which way the phases of a training step run on a device."""

from collections.abc import Callable, Sequence

import torch

from .config import TrainingConfig
from .cuda_graphs import CudaBackend, CudaGraphs, run_eagerly
from .division import WHOLE, Division
from .execution import EAGER, Execution
from .optimizer_steps import SkippingSteps
from .updates import GeneratorTerm

TOLERATED_SKIPS = {"fp16": 9}  # steps of a phase in a row, by precision


def choose_execution(
    config: TrainingConfig,
    device: torch.device,
    terms: Sequence[GeneratorTerm],
    log: Callable[[str], None],
    division: Division = WHOLE,
) -> tuple[Execution, Execution, SkippingSteps | None]:
    """The one place that decides how the phases of G and of D run, and who counts the steps that were left out.

    On a CPU: one operation after the other, looking for a NaN before every step. On CUDA the host never waits: the
    device leaves such steps out and counts them, and each phase is a CUDA graph, unless the settings say otherwise. Not
    so a generator with a term that does not say (`cuda_graph_safe = True` on its function) that it does the same work
    at every call; nor a batch that is divided: what processes exchange, and a random state that is put back, are no
    work of the device alone.
    """
    if device.type != "cuda":
        plain = EAGER._replace(division=division)
        return plain, plain, None
    skips = SkippingSteps(TOLERATED_SKIPS.get(config.precision, 0))
    if not config.cuda_graphs or division.parts > 1:
        plain = Execution(run_eagerly, skips, division)
        return plain, plain, skips
    graphed = Execution(CudaGraphs(CudaBackend(device), log), skips)
    unsafe = [term.name for term in terms if term.weight and not getattr(term.function, "cuda_graph_safe", False)]
    if unsafe:
        log(f"the generator runs without CUDA graphs: the term {', '.join(unsafe)} is not marked cuda_graph_safe")
    return graphed._replace(run_phase=run_eagerly) if unsafe else graphed, graphed, skips

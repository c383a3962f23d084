"""What the step benchmark prints: one row per worker, and below the table what the figures cannot say."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .step_setup import AUGMENT_P, CLASSES, PHASES, StepSetup, step_seconds
from .step_worker import Measured, Ready


@dataclass(frozen=True)
class Result:
    """One worker's turns, in the order of the rounds. `remarks`: what it printed of its kernels."""

    name: str
    setup: StepSetup
    ready: Ready
    rounds: list[Measured]
    remarks: list[str]

    @property
    def step_sec(self) -> list[float]:
        return [step_seconds(measured.seconds) for measured in self.rounds]

    @property
    def images_per_sec(self) -> float:
        return self.setup.batch / statistics.median(self.step_sec)

    def phase_ms(self, phase: str) -> float:
        return statistics.median(measured.seconds[phase] for measured in self.rounds) * 1000

    @property
    def memory_mb(self) -> str:
        first, *others = [f"{size / 1e6:.0f}" for size in self.rounds[-1].memory_bytes]
        return f"{first} ({others[0]} reserved)" if others else first


def describe_step(aug: str, rounds: int, repeats: int) -> list[str]:
    mixture = " + ".join(f"{phase} x {share:g}" for phase, share in PHASES.items())
    augmentation = "no augmentation" if aug == "noaug" else f"{aug} at p = {AUGMENT_P}"
    return [
        f"step: {mixture}; grey images, {len(CLASSES)} classes, {augmentation}",
        f"rounds: {rounds}, of {repeats} repeats of each phase; medians over the rounds, in brackets the least and the "
        "most of a round",
    ]


def table_head(references: Sequence[str]) -> str:
    """`references`: names of the workers that all are compared with."""
    columns = ["px", "batch", "who", "img/s", *(f"{phase} ms" for phase in PHASES), "step ms", "peak memory MB"]
    columns += [f"times the {name}" for name in references]
    return _row(columns) + "\n" + _row(["---"] * len(columns))


def table_rows(results: Sequence[Result], references: Sequence[str]) -> list[str]:
    compared = [result for name in references for result in results if result.name == name]
    return [_row([*_cells(result), *(_ratio(result, reference) for reference in compared)]) for result in results]


def footnotes(results: Sequence[Result]) -> list[str]:
    """Sizes of the networks, and what the workers printed of kernels and graphs."""
    first, found = results[0], []
    found.append(f"parameters at {first.setup.resolution_px} px: {_sizes(first)}")
    for result in results:
        if result.ready.num_parameters != first.ready.num_parameters:
            found.append(f"WARNING: the networks of {result.name} differ, no fair comparison: {_sizes(result)}")
        found += [f"{result.name} printed: {line}" for line in result.remarks]
    if any(result.setup.peer for result in results):
        if first.setup.device == "cpu":
            found.append("on a CPU the peer has its reference operators, no others")
        elif not any(result.remarks for result in results if result.setup.peer):
            found.append("the peer printed nothing of its CUDA kernels: whether they ran is not known")
    return found


def _cells(result: Result) -> list[str]:
    return [
        str(result.setup.resolution_px),
        str(result.setup.batch),
        ", ".join([result.name, *result.ready.facts]),
        f"{result.images_per_sec:#.3g}",
        *(_ms(result.phase_ms(phase)) for phase in PHASES),
        _ms(statistics.median(result.step_sec) * 1000),
        result.memory_mb,
    ]


def _ms(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _ratio(result: Result, reference: Result) -> str:
    """How many times as fast as the reference: of the medians, and the least and the most of a round."""
    if result is reference:
        return "1"
    middle = result.images_per_sec / reference.images_per_sec
    each = [theirs / ours for ours, theirs in zip(result.step_sec, reference.step_sec, strict=True)]
    return f"{middle:.2f} ({min(each):.2f} to {max(each):.2f})"


def _sizes(result: Result) -> str:
    return "G {:,}, D {:,}".format(*result.ready.num_parameters)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"

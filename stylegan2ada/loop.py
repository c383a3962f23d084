"""The training loop, read top to bottom: set up, then fetch, step, average, adapt, report, save."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from .ada import AdaController
from .augment import AugmentPipe, make_augment_pipe
from .checkpoint import PARTS, SnapshotWriter, make_discriminator, make_generator, read_snapshot
from .compute import set_kernels, set_precision
from .config import TrainingConfig
from .cuda_graphs import CudaBackend, CudaGraphs, run_eagerly
from .data_loader import endless_batches
from .dataset import ImageDataset
from .discriminator import Discriminator
from .ema import ema_decay, update_ema
from .errors import NonFiniteError
from .generator import Generator
from .grids import FakeGrid, save_real_grid
from .images import to_model_range
from .ops import kernels
from .optimizer_steps import SkippingSteps
from .progress import ProgressLine
from .run_folder import RunLog, write_options
from .stats import RunningMeans, StatsWriter, TickClock, tick_text
from .transfer import copy_matching
from .updates import (
    EAGER,
    AugmentFn,
    DiscriminatorUpdate,
    Execution,
    FakeSampler,
    GeneratorTerm,
    GeneratorUpdate,
    PlainDiscriminatorUpdate,
    Report,
)

TOLERATED_SKIPS = {"fp16": 9}  # steps of a phase in a row, by precision
RealBatches = Iterator[tuple[torch.Tensor, torch.Tensor]]


class SnapshotEvent(NamedTuple):
    """What an on_snapshot callable gets: the moving-average generator (eval mode) and where the run stands."""

    generator: Generator
    kimg: float
    path: Path
    run_dir: Path
    log: Callable[[str], None]


MakeDiscriminatorUpdate = Callable[[Discriminator, AugmentFn, RealBatches, TrainingConfig], DiscriminatorUpdate]


def plain_update(
    D: Discriminator,
    augment: AugmentFn,
    real_batches: RealBatches,
    config: TrainingConfig,
    execution: Execution = EAGER,
) -> DiscriminatorUpdate:
    """The discriminator update of StyleGAN2-ADA."""
    return PlainDiscriminatorUpdate(D, augment, real_batches, config.loss, config.optimizer, execution)


@dataclass
class _Networks:
    G: Generator
    D: Discriminator
    G_ema: Generator
    augment_pipe: AugmentPipe


def train(
    config: TrainingConfig,
    dataset: ImageDataset,
    run_dir: Path,
    device: torch.device,
    terms: Sequence[GeneratorTerm] = (),
    make_update: MakeDiscriminatorUpdate = plain_update,
    on_snapshot: Sequence[Callable[[SnapshotEvent], None]] = (),
) -> Path:
    """Trains until config.total_kimg and returns the path of the last snapshot.

    `terms`, `make_update` and `on_snapshot` are the three extension points; without terms and with the plain update
    this is StyleGAN2-ADA.

    Raises:
        NonFiniteError: a loss or gradient became NaN or Inf; names the step and the phase. On the CPU at once, and the
            parameter too; on CUDA at the end of the tick. Neither weights nor snapshots have it.
    """
    torch.manual_seed(config.seed)
    _set_backend_flags(config, device)
    log = RunLog(run_dir)
    write_options(run_dir, config)
    log(f"computing in {config.precision} on {device}, {kernels.describe(config.kernels, device)}")

    networks = _make_networks(config, device, log)
    augment = networks.augment_pipe if config.augment.mode != "noaug" else _no_augmentation
    fakes = FakeSampler(networks.G, torch.from_numpy(dataset.labels), config.loss.style_mixing_prob, device)
    real_batches = _real_batches(config, dataset, device)
    for_G, for_D, skips = _choose_execution(config, device, terms, log)
    update_generator = GeneratorUpdate(
        networks.G, networks.D, augment, fakes, config.batch_size, config.loss, config.optimizer, terms, for_G
    )
    if make_update is plain_update:  # one of another kind owns its step, and runs as it is
        make_update = functools.partial(plain_update, execution=for_D)
    update_discriminator = make_update(networks.D, augment, real_batches, config)
    ada = AdaController(networks.augment_pipe.p, config.augment) if config.augment.mode == "ada" else None

    save_real_grid(run_dir / "reals.png", dataset, config.seed)
    progress = ProgressLine("training", "img")
    total_images = round(config.total_kimg * 1000)
    images_seen = steps = 0
    next_tick = config.kimg_per_tick * 1000

    recorder = _Recorder(config, networks, skips, run_dir, on_snapshot, log)
    with recorder, contextlib.closing(real_batches):
        while True:
            try:
                recorder.add(update_generator.step())
                result = update_discriminator.step(fakes.draw_images)
                recorder.add(result.report)
                decay = ema_decay(result.num_images, images_seen, config.ema_kimg, config.ema_rampup)
                update_ema(networks.G_ema, networks.G, decay)
                images_seen += result.num_images
                if ada is not None:
                    ada.observe(result.real_logits)

                done = images_seen >= total_images
                progress(min(images_seen, total_images), total_images)
                if done or images_seen >= next_tick:
                    next_tick += config.kimg_per_tick * 1000
                    recorder.tick(images_seen / 1000)
            except NonFiniteError as error:
                where = f"step {steps} ({images_seen / 1000:.1f} kimg)"
                raise NonFiniteError(f"training stopped at {where}: {error}") from error
            steps += 1
            if done:
                return recorder.snapshot(images_seen / 1000)
            if recorder.snapshot_is_due:
                recorder.snapshot(images_seen / 1000)


def _choose_execution(
    config: TrainingConfig, device: torch.device, terms: Sequence[GeneratorTerm], log: Callable[[str], None]
) -> tuple[Execution, Execution, SkippingSteps | None]:
    """The one place that decides how the phases of G and of D run, and who counts the steps that were left out.

    On a CPU: one operation after the other, looking for a NaN before every step. On CUDA the host never waits: the
    device leaves such steps out and counts them, and each phase is a CUDA graph, unless the settings say otherwise. Not
    so a generator with a term that does not say (`cuda_graph_safe = True` on its function) that it does the same work
    at every call.
    """
    if device.type != "cuda":
        return EAGER, EAGER, None
    skips = SkippingSteps(TOLERATED_SKIPS.get(config.precision, 0))
    if not config.cuda_graphs:
        plain = Execution(run_eagerly, skips)
        return plain, plain, skips
    graphed = Execution(CudaGraphs(CudaBackend(device), log), skips)
    unsafe = [term.name for term in terms if term.weight and not getattr(term.function, "cuda_graph_safe", False)]
    if unsafe:
        log(f"the generator runs without CUDA graphs: the term {', '.join(unsafe)} is not marked cuda_graph_safe")
    return graphed._replace(run_phase=run_eagerly) if unsafe else graphed, graphed, skips


class _Recorder:
    """What a run leaves in its folder: statistics at every tick; grid, networks and callbacks at a snapshot."""

    def __init__(
        self,
        config: TrainingConfig,
        networks: _Networks,
        skips: SkippingSteps | None,
        run_dir: Path,
        on_snapshot: Sequence[Callable[[SnapshotEvent], None]],
        log: Callable[[str], None],
    ):
        self._config, self._networks, self._skips, self._run_dir = config, networks, skips, run_dir
        self._on_snapshot, self._log = on_snapshot, log
        self._grid = FakeGrid(networks.G, config.seed, config.batch_size)
        self._grid.save(run_dir / "fakes_init.png", networks.G_ema)
        self._stats, self._means, self._snapshots = StatsWriter(run_dir), RunningMeans(), SnapshotWriter()
        self._clock = TickClock()
        self._ticks = self._ticks_at_snapshot = 0

    def __enter__(self) -> "_Recorder":
        return self

    def __exit__(self, *error: object) -> None:
        self._stats.close()
        self._snapshots.close()

    def add(self, report: Report) -> None:
        self._means.add(report)

    def tick(self, kimg: float) -> None:
        self._ticks += 1
        self._snapshots.check()
        skipped = self._skips.check() if self._skips is not None else {}
        p = self._networks.augment_pipe.p.item()
        line = self._clock.tick(self._means.pop(), self._ticks, kimg, p)
        line |= {f"Skipped/{phase.replace(' ', '_')}": count for phase, count in skipped.items()}
        self._stats.write(line, kimg, tolerate_non_finite=any(skipped.values()))
        self._log(tick_text(line))
        if self._config.augment.mode == "ada" and p >= 1:
            self._log("  warning: the augmentation probability is 1 or more: D overfits; more data or --gamma helps")

    @property
    def snapshot_is_due(self) -> bool:
        return self._ticks - self._ticks_at_snapshot >= self._config.snapshot_ticks

    def snapshot(self, kimg: float) -> Path:
        self._ticks_at_snapshot = self._ticks
        networks, name = self._networks, f"{round(kimg):06d}"
        path = self._run_dir / f"network-snapshot-{name}.safetensors"
        self._snapshots.save(path, {part: getattr(networks, part) for part in PARTS}, self._config, kimg)
        self._grid.save(self._run_dir / f"fakes{name}.png", networks.G_ema)
        if self._on_snapshot:
            self._snapshots.wait()  # a callback may read the file
        for callback in self._on_snapshot:
            callback(SnapshotEvent(networks.G_ema, kimg, path, self._run_dir, self._log))
        self._clock.skip()
        return path


def _make_networks(config: TrainingConfig, device: torch.device, log: Callable[[str], None]) -> _Networks:
    G = make_generator(config).to(device)
    D = make_discriminator(config).to(device)
    pipe = make_augment_pipe(config.augment.pipe).to(device)
    pipe.p.fill_(config.augment.p)
    G_ema = copy.deepcopy(G).eval().requires_grad_(False)
    for network in (G, D, G_ema, pipe):
        set_kernels(network, config.kernels)
    for network in (G, D):  # the average, which is shown and measured, computes in float32 as whoever loads it will
        set_precision(network, config.precision)
    if config.resume is not None:
        _, kimg, tensors = read_snapshot(config.resume)
        log(f"starting from {config.resume} ({kimg:.1f} kimg)")
        for part, module in {"G": G, "D": D, "G_ema": G_ema}.items():
            own = {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}
            log(f"  {part}: {copy_matching(module, own).summary()}")
    return _Networks(G, D, G_ema, pipe)


def _real_batches(config: TrainingConfig, dataset: ImageDataset, device: torch.device) -> RealBatches:
    """Reads a small data set at once, so that a broken image shows before the first step."""
    batches = endless_batches(dataset, config.batch_size, config.seed, num_workers=config.num_workers, device=device)
    return ((to_model_range(pixels), labels) for pixels, labels in batches)


def _no_augmentation(images: torch.Tensor) -> torch.Tensor:
    return images


def _set_backend_flags(config: TrainingConfig, device: torch.device) -> None:
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = config.cudnn_benchmark
        torch.backends.cuda.matmul.allow_tf32 = config.allow_tf32
        torch.backends.cudnn.allow_tf32 = config.allow_tf32

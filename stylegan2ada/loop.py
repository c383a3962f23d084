"""The training loop, read top to bottom: set up, then fetch, step, average, adapt, report, save."""

import contextlib
import functools
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .ada import AdaController
from .compute import set_dealer
from .config import TrainingConfig
from .dataset import ImageDataset
from .discriminator import Discriminator
from .division import Division, divide
from .ema import ema_decay, update_ema
from .errors import NonFiniteError, UserError
from .execution_choice import choose_execution
from .follower import Follower
from .networks import make_networks, take_over
from .ops import kernels
from .processes import ALONE, Processes
from .progress import ProgressLine
from .real_batches import RealBatches
from .recorder import OnSnapshot, Recorder, SnapshotEvent
from .run_folder import RunLog, snapshot_path
from .run_parts import RunParts
from .stop_request import StopRequest, TrainingStopped
from .training_state import TrainingState, latest_state
from .updates import (
    EAGER,
    AugmentFn,
    DiscriminatorUpdate,
    Execution,
    FakeSampler,
    GeneratorTerm,
    GeneratorUpdate,
    PlainDiscriminatorUpdate,
)

__all__ = ["SnapshotEvent", "TrainingStopped", "plain_update", "train"]

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


def train(
    config: TrainingConfig,
    dataset: ImageDataset,
    run_dir: Path,
    device: torch.device,
    terms: Sequence[GeneratorTerm] = (),
    make_update: MakeDiscriminatorUpdate = plain_update,
    on_snapshot: Sequence[OnSnapshot] = (),
    continues: bool = False,
    processes: Processes = ALONE,
) -> Path:
    """Trains until config.total_kimg and returns the path of the last snapshot.

    `terms`, `make_update` and `on_snapshot` are the three extension points; without terms and with the plain update
    this is StyleGAN2-ADA.

    Args:
        continues: go on from the newest training state in run_dir (from the beginning, if it has none yet). The result
            is that of a run which was never stopped; on a CPU to the last bit, with the same machine and threads.
        processes: all that train together; each of them calls this, with the same arguments but for the device. Their
            number does not change the run (docs/distributed.md). Only the main one writes and calls `on_snapshot`.
    Raises:
        NonFiniteError: a loss or gradient became NaN or Inf; names the step and the phase. On the CPU at once, and the
            parameter too; on CUDA at the end of the tick. Neither weights nor snapshots have it.
        TrainingStopped: SIGINT or SIGTERM came; the run has saved its state.
        UserError: with `continues`, the data are others than before, or no training state is whole; or the processes
            cannot share the batch, or differ in data or settings.
        ProcessLostError: another process is gone.
    """
    division = divide(config, processes)
    log = RunLog(run_dir) if processes.is_main else _say_nothing
    saved = latest_state(run_dir, log) if continues else None
    fingerprint = dataset.fingerprint()
    _check_same_data(dataset, fingerprint, saved, run_dir)
    _check_not_past(config, saved, run_dir)
    _check_same_run(config, fingerprint, saved, processes)
    torch.manual_seed(config.seed)
    _set_backend_flags(config, device)
    log(f"computing in {config.precision} on {device}, {kernels.describe(config.kernels, device)}")
    if processes.world_size > 1:
        log(f"{processes.world_size} processes with {config.batch_size // processes.world_size} images of each batch")
    run = _make_run(config, dataset, fingerprint, device, terms, make_update, log, saved, division)
    if saved is not None:
        log(f"continuing from {saved.path.name} ({saved.tree['images_seen'] / 1000:.1f} kimg)")
        run.restore(saved)
    state = None if saved is None else saved.tree["recorder"]
    if processes.is_main:
        recorder = Recorder(config, run.networks, dataset, run.skips, run_dir, on_snapshot, log, state, processes)
    else:
        recorder = Follower(config, run.skips, run_dir, processes, state)
    with recorder, contextlib.closing(run.reals), StopRequest() as stop:
        if saved is not None and saved.tree["at_snapshot"]:
            recorder.repair_snapshot(run.kimg)
            recorder.report_snapshot(run.kimg)
        try:
            _train(run, recorder, config, stop, processes)
        except NonFiniteError as error:
            raise NonFiniteError(f"training stopped at step {run.steps} ({run.kimg:.1f} kimg): {error}") from error
    return snapshot_path(run_dir, run.kimg)


def _train(
    run: RunParts, recorder: Recorder | Follower, config: TrainingConfig, stop: StopRequest, processes: Processes
) -> None:
    progress = ProgressLine("training", "img") if processes.is_main else _say_nothing
    total_images = round(config.total_kimg * 1000)
    while run.images_seen < total_images:
        _step(run, recorder, config)
        done = run.images_seen >= total_images
        progress(min(run.images_seen, total_images), total_images)
        if at_tick := done or run.images_seen >= run.next_tick:
            run.next_tick += config.kimg_per_tick * 1000
            recorder.tick(run.kimg, is_last=done)
        run.steps += 1
        stopped_by = _agreed(stop, processes)
        if at_snapshot := done or recorder.snapshot_is_due:
            recorder.snapshot(run.kimg, lambda: run.state_dict(recorder, at_snapshot=True))
        elif stopped_by is not None or (at_tick and processes.any(recorder.is_state_due)):
            recorder.save_state(run.kimg, lambda: run.state_dict(recorder, at_snapshot=False))
        if at_snapshot and stopped_by is None:
            recorder.report_snapshot(run.kimg)
            stopped_by = _agreed(stop, processes)
        if stopped_by is not None:
            recorder.wait()
            raise TrainingStopped(stopped_by, run.kimg, recorder.run_dir)


def _agreed(stop: StopRequest, processes: Processes) -> int | None:
    """The signal that asks this process, or any other, to stop: all do at the same step."""
    own = stop.signal_number
    return (own or signal.SIGTERM) if processes.any(own is not None) else None


def _step(run: RunParts, recorder: Recorder | Follower, config: TrainingConfig) -> None:
    """One step of each network, of the average and of the augmentation."""
    recorder.add(run.update_generator.step())
    result = run.update_discriminator.step(run.fakes.draw_images)
    recorder.add(result.report)
    run.fakes.share_average()
    decay = ema_decay(result.num_images, run.images_seen, config.ema_kimg, config.ema_rampup)
    update_ema(run.networks.G_ema, run.networks.G, decay)
    run.images_seen += result.num_images
    if run.ada is not None:
        run.ada.observe(result.real_logits)


def _make_run(
    config: TrainingConfig,
    dataset: ImageDataset,
    fingerprint: str,
    device: torch.device,
    terms: Sequence[GeneratorTerm],
    make_update: MakeDiscriminatorUpdate,
    log: Callable[[str], None],
    saved: TrainingState | None,
    division: Division,
) -> RunParts:
    processes = division.processes
    networks = make_networks(config, device)
    for part in (networks.G, networks.augment_pipe):
        set_dealer(part, division.dealer)
    if config.resume is not None and saved is None:
        take_over(networks, config.resume, log)
    augment = networks.augment_pipe if config.augment.mode != "noaug" else _no_augmentation
    fakes = FakeSampler(networks.G, torch.from_numpy(dataset.labels), config.loss.style_mixing_prob, device, division)
    reals = RealBatches(config, dataset, device, 0 if saved is None else saved.tree["reals"], processes)
    for_G, for_D, skips = choose_execution(config, device, terms, log, division)
    update_generator = GeneratorUpdate(
        networks.G, networks.D, augment, fakes, config.batch_size, config.loss, config.optimizer, terms, for_G
    )
    if make_update is plain_update:  # one of another kind owns its step, and runs as it is
        make_update = functools.partial(plain_update, execution=for_D)
    elif division.parts > 1:
        raise UserError("this discriminator update knows only whole batches: leave --gpus and --batch-gpu out")
    update_discriminator = make_update(networks.D, augment, reals, config)
    ada = None
    if config.augment.mode == "ada":
        ada = AdaController(networks.augment_pipe.p, config.augment, processes)
    return RunParts(
        networks, reals, fakes, update_generator, update_discriminator, ada, skips, device, fingerprint,
        next_tick=config.kimg_per_tick * 1000,
    )  # fmt: skip


def _check_same_data(dataset: ImageDataset, fingerprint: str, saved: TrainingState | None, run_dir: Path) -> None:
    if saved is not None and saved.tree.get("fingerprint") != fingerprint:
        raise UserError(
            f"--resume={run_dir}: {dataset.path} holds other images or labels than this run was trained on; give "
            "--data with the same data, or start a new run with --resume and one of its network-snapshot-*.safetensors"
        )


def _check_not_past(config: TrainingConfig, saved: TrainingState | None, run_dir: Path) -> None:
    """A run that stopped beyond its new end, and not at a snapshot, would have no last one."""
    if saved is not None and not saved.tree["at_snapshot"] and saved.tree["images_seen"] >= config.total_kimg * 1000:
        kimg = saved.tree["images_seen"] / 1000
        raise UserError(f"--kimg {config.total_kimg:g}: the run in {run_dir} is at {kimg:g} kimg already; give more")


def _check_same_run(
    config: TrainingConfig, fingerprint: str, saved: TrainingState | None, processes: Processes
) -> None:
    """Raises UserError where the processes would train different runs, each without knowing."""
    if processes.world_size == 1:
        return
    position = 0 if saved is None else saved.tree["images_seen"]
    if not processes.agree([fingerprint, position, config.to_dict()]):
        raise UserError(
            "the processes of this run differ in images, settings, or the training state they go on from: start all "
            "with the same command line, and give them the same --data and --outdir"
        )


def _say_nothing(*anything: object) -> None:
    """The log and the progress of all processes but the main one."""


def _no_augmentation(images: torch.Tensor) -> torch.Tensor:
    return images


def _set_backend_flags(config: TrainingConfig, device: torch.device) -> None:
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = config.cudnn_benchmark
        torch.backends.cuda.matmul.allow_tf32 = config.allow_tf32
        torch.backends.cudnn.allow_tf32 = config.allow_tf32

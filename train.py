"""Trains a GAN: StyleGAN2-ADA, or SpineGAN with its clinical term. Without --data, on the built-in phantom."""

import dataclasses
import functools
import json
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import torch

from metrics.choosing import AUTO, CLASSIFIER, choose_detectors
from metrics.detectors import Detectors
from metrics.errors import MetricError
from metrics.feature_cache import FeatureCache
from metrics.frechet import frechet_distance
from metrics.measure import measure
from metrics.names import parse_metrics, parse_names, real_limit
from metrics.records import jsonl_record
from spine_ext.continuation import choose_plan
from spine_ext.measuring.compared_images import reals_of
from spine_ext.measuring.detector_files import fetch_detector, open_classifier
from spine_ext.measuring.snapshot_metrics import PLACES
from spine_ext.presets import PAPER_RUNS, PRIVATE_RUN
from spine_ext.run_plan import RunPlan
from spine_ext.run_request import RunRequest, Workplace
from spine_ext.training_run import MakeMeasure, execute_run
from stylegan2ada.augment import AUGMENT_PIPES
from stylegan2ada.cli import Command
from stylegan2ada.config import AUGMENT_MODES, KERNEL_CHOICES, PRECISIONS
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.division import divide
from stylegan2ada.errors import NonFiniteError, ProcessLostError, UserError
from stylegan2ada.files import default_cache_dir
from stylegan2ada.generated_images import GeneratedImages
from stylegan2ada.generator import Generator
from stylegan2ada.launch import is_launched, launch
from stylegan2ada.options import RunOptions
from stylegan2ada.presets import PRESET_NAMES
from stylegan2ada.processes import LOST_STATUS, join_processes
from stylegan2ada.progress import ProgressLine
from stylegan2ada.stop_request import TrainingStopped

CONFIGURATIONS = (*PAPER_RUNS, PRIVATE_RUN, *PRESET_NAMES)
OFFICIAL_METRICS = "fid50k_full"


@click.command(cls=Command, context_settings={"show_default": False, "max_content_width": 110})
# General
@click.option("--outdir", type=click.Path(path_type=Path), default="training-runs",
              help="Where the run folder goes.  [training-runs]")
@click.option("--gpus", type=click.IntRange(min=1), help="Processes on this machine, one for each GPU.  [1]")
@click.option("--snap", type=int, help="Ticks between snapshots.  [50; phantom 20]")
@click.option("--keep", type=int, metavar="N", help="Keep only the newest N network snapshots.  [all]")
@click.option("--tick", type=float, metavar="KIMG", help="Thousands of images per tick.  [4; phantom 0.5]")
@click.option("--metrics", metavar="LIST", help="Metrics at each snapshot, or none; calc_metrics.py has their names. "
              "The first one decides which network is kept as the best.  [fid50k_full; phantom, CPU none]")
@click.option("--detector", metavar="WHICH", help="Of their features, as for calc_metrics.py; classifier: the run's "
              "own.  [auto: the official ones]")
@click.option("--metrics-process", type=click.Choice(PLACES), help="Measure while training goes on, or in between.  "
              "[auto: background where the GPU has the memory]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of all that is drawn.  [0]")
@click.option("-n", "--dry-run", is_flag=True, help="Print the settings and stop.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto",
              help="[auto: CUDA where there is one]")
# Data
@click.option("--data", metavar="ZIP|DIR", help="Training dataset, as dataset_tool_dicom.py writes it.  [the phantom]")
@click.option("--test", "test_data", metavar="ZIP|DIR", help="Held-out dataset for the closing numbers.")
@click.option("--cond", type=bool, metavar="BOOL", help="Train by class.  [false; the paper's configurations: true]")
@click.option("--subset", type=int, metavar="N", help="Train on N images, drawn with the seed.  [all]")
@click.option("--mirror", type=bool, metavar="BOOL", help="Add left-right mirrored images.  [false]")
@click.option("--phantom-train", type=click.IntRange(min=2), metavar="N",
              help="Training phantoms.  [1500]")
@click.option("--phantom-test", type=click.IntRange(min=2), metavar="N", help="Test phantoms.  [500]")
@click.option("--cache-dir", type=click.Path(path_type=Path),
              help="Where phantoms are kept.  [$SPINEGAN_CACHE, ~/.cache/spinegan]")
# Configuration
@click.option("--cfg", type=click.Choice(CONFIGURATIONS), help="Base configuration.  [auto]")
@click.option("--gamma", type=float, help="Weight of R1 regularisation.  [by configuration]")
@click.option("--kimg", type=float, help="Thousands of images to train for.  [by configuration]")
@click.option("--batch", type=int, help="Images per step, of all processes together.  [by configuration]")
@click.option("--batch-gpu", type=int, metavar="N", help="Images that a process computes at a time.  [all of its own]")
@click.option("--channel-base", type=int, help="Feature maps times resolution.  [by configuration]")
@click.option("--channel-max", type=int, help="Most feature maps of a layer.  [512; phantom 64]")
@click.option("--latent", type=int, help="Size of z and w.  [512; phantom 128]")
@click.option("--ema-kimg", type=float, help="Half-life of the moving average.  [by configuration]")
@click.option("--lr", type=float, help="Learning rate of both networks.  [by configuration]")
@click.option("--pl-weight", type=float, help="Weight of path length regularisation.  [2; cifar, phantom 0]")
@click.option("--style-mixing", type=float, help="Probability of style mixing.  [0.9; cifar, phantom 0]")
# Clinical term
@click.option("--gamma-clinical", type=float, help="Weight of the clinical term.  [0; spinegan 0.01]")
@click.option("--clinical-reduction", type=click.Choice(["mean", "sum"]),
              help="Over the batch.  [mean]")
@click.option("--classifier", metavar="FILE", help="SpineClassifier of classify.py.  [trained on the data, if needed]")
@click.option("--classifier-epochs", type=click.IntRange(min=1), help="When it is trained here.  [19; phantom 12]")
# Discriminator augmentation
@click.option("--aug", type=click.Choice(AUGMENT_MODES),
              help="Adaptive, fixed probability, or none.  [ada; phantom noaug]")
@click.option("--p", type=float, help="Augmentation probability for --aug=fixed.")
@click.option("--target", type=float, help="Target of the adaptive probability.  [0.6]")
@click.option("--augpipe", type=click.Choice(list(AUGMENT_PIPES)), help="Augmentations.  [bgc; the paper's: bgcfnc]")
# Going on, and transfer learning
@click.option("--resume", metavar="DIR|auto|FILE",
              help="Go on with the run of a folder; auto: with the newest of these options in --outdir, if there is "
                   "one; FILE: a new run from the networks of a snapshot.")
@click.option("--freezed", type=int, help="Layers of D next to the image that stay as they are.  [0]")
# Performance
@click.option("--precision", type=click.Choice(["auto", *PRECISIONS]),
              help="Of the activations.  [auto: bf16 where the machine is fast in it]")
@click.option("--kernels", type=click.Choice(KERNEL_CHOICES),
              help="Fused kernels where there are any, those or an error, torch's operators.  [auto]")
@click.option("--cuda-graphs", type=bool, metavar="BOOL", help="Record the steps on CUDA and replay them.  [true]")
@click.option("--fp32", type=bool, metavar="BOOL", help="The official way to say --precision fp32.  [false]")
@click.option("--nhwc", type=bool, metavar="BOOL", help="Accepted; images are always channels-last.")
@click.option("--nobench", type=bool, metavar="BOOL", help="No cuDNN benchmarking.  [false]")
@click.option("--allow-tf32", type=bool, metavar="BOOL", help="TF32 in matrix products and convolutions.  [false]")
@click.option("--workers", type=int, help="Processes that load images.  [3; phantom 0]")
def main(
    outdir: Path,
    gpus: int | None,
    snap: int | None,
    keep: int | None,
    tick: float | None,
    metrics: str | None,
    detector: str | None,
    metrics_process: str | None,
    seed: int | None,
    dry_run: bool,
    device: str,
    data: str | None,
    test_data: str | None,
    cond: bool | None,
    subset: int | None,
    mirror: bool | None,
    phantom_train: int | None,
    phantom_test: int | None,
    cache_dir: Path | None,
    cfg: str | None,
    gamma: float | None,
    kimg: float | None,
    batch: int | None,
    batch_gpu: int | None,
    channel_base: int | None,
    channel_max: int | None,
    latent: int | None,
    ema_kimg: float | None,
    lr: float | None,
    pl_weight: float | None,
    style_mixing: float | None,
    gamma_clinical: float | None,
    clinical_reduction: str | None,
    classifier: str | None,
    classifier_epochs: int | None,
    aug: str | None,
    p: float | None,
    target: float | None,
    augpipe: str | None,
    resume: str | None,
    freezed: int | None,
    precision: str | None,
    kernels: str | None,
    cuda_graphs: bool | None,
    fp32: bool | None,
    nhwc: bool | None,
    nobench: bool | None,
    allow_tf32: bool | None,
    workers: int | None,
) -> None:
    """Train a generator of radiographs.

    \b
    Examples:
      python train.py --cfg=spinegan --gamma-clinical=0.01                  on the built-in phantom
      python train.py --cfg=spinegan --data spine-256.zip --test test-256.zip
      python train.py --cfg=auto --data images.zip --cond=1 --mirror=1      plain StyleGAN2-ADA
      python train.py --resume=training-runs/00000-phantom-cond-auto        go on with a stopped run
    """
    names_of_metrics(metrics)  # a mistake is told now, before anything is opened
    request = RunRequest(
        options=RunOptions(
            cfg=cfg, gpus=gpus, snap=snap, keep=keep, tick=tick, seed=seed, gamma=gamma, kimg=kimg, batch=batch,
            batch_gpu=batch_gpu, aug=aug, p=p, target=target, augpipe=augpipe, resume=resume, freezed=freezed,
            fp32=fp32, precision=precision, kernels=kernels, cuda_graphs=cuda_graphs, nobench=nobench,
            allow_tf32=allow_tf32, workers=workers, channel_base=channel_base, channel_max=channel_max,
            latent=latent, ema_kimg=ema_kimg, lr=lr, pl_weight=pl_weight, style_mixing=style_mixing,
        ),
        data=data, test_data=test_data, cond=cond, subset=subset, mirror=mirror, gamma_clinical=gamma_clinical,
        clinical_reduction=clinical_reduction, classifier=classifier, classifier_epochs=classifier_epochs,
        phantom_train=phantom_train, phantom_test=phantom_test, metrics=metrics, detector=detector,
        metrics_process=metrics_process,
    )  # fmt: skip
    if gpus is not None and gpus > 1 and not (dry_run or is_launched()):
        sys.exit(launch(gpus))
    try:
        with join_processes(device) as processes:
            request = request.for_processes(processes.world_size)
            place = Workplace(outdir, cache_dir or default_cache_dir(), processes.device)
            plan = choose_plan(request, place, processes)
            divide(plan.config, processes)  # refused now, before any work
            if dry_run:
                click.echo(json.dumps(plan.describe(), indent=2))
                return
            make_measure = choose_metrics(plan, click.echo) if processes.is_main else None
            execute_run(plan, frechet_distance, click.echo, processes, make_measure)
    except NonFiniteError as error:
        _stop(f"Error: {error}. Snapshots written before are good; a smaller --lr or --precision=fp32 may help", 1)
    except TrainingStopped as stopped:
        _stop(f"{stopped}; saved. To go on: python train.py --resume={stopped.run_dir}", 128 + stopped.signal_number)
    except ProcessLostError as error:
        _stop(f"Error: {error}. --resume goes on from the last state", LOST_STATUS)
    except OSError as error:  # such as a full disk
        _stop(f"Error: {error}. Files that were written before are whole; --resume goes on from the last state", 1)
    except KeyboardInterrupt:
        _stop(f"Stopped. Snapshots written before are in {outdir}", 130)


@dataclasses.dataclass
class SnapshotMeasure:
    """The metrics of a run's networks against its training images. Detectors are opened by the process that uses them:
    a TorchScript network cannot be sent to another."""

    names: tuple[str, ...]
    detector: str
    device: torch.device
    cache_dir: Path
    seed: int
    dataset: ImageDataset
    classifier: Path | None

    def __post_init__(self) -> None:
        if self.detector == CLASSIFIER and self.classifier is None:
            raise UserError("--detector classifier: this run has no classifier; give --detector classifier:FILE")

    def __call__(self, names: Sequence[str], generator: Generator) -> list[dict]:
        fake = GeneratedImages(generator, self.seed, self.dataset.labels, self.dataset.class_names)
        cache = FeatureCache(self.cache_dir / "features", functools.partial(click.echo, err=True))
        progress = ProgressLine if multiprocessing.parent_process() is None else None  # training has a line of its own
        real = reals_of(self.dataset, real_limit(parse_names(self.names)), self.seed)
        found = measure(
            names, real, fake, self._detectors, seed=self.seed, cache=cache, progress=progress,
            device=self.device if self.device.type == "cuda" else "cpu",
        )  # fmt: skip
        return [jsonl_record(one, snapshot=None, num_gpus=1) for one in found]

    @functools.cached_property
    def _detectors(self) -> Detectors:
        return open_detectors(self.names, self.detector, self.device, self.classifier)

    def __getstate__(self) -> dict:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def choose_metrics(plan: RunPlan, log: Callable[[str], None]) -> MakeMeasure | None:
    """What snapshots are measured by, None: by nothing. Detectors are looked for now: after hours it would be too late.

    Raises:
        UserError: metrics that were asked for cannot be had. The default is left out then, with a line in the log.
    """
    text, detector, device = plan.request.metrics, plan.request.detector or AUTO, plan.place.device
    is_for_official = text is None and plan.phantom is None
    if is_for_official and device.type == "cpu":
        log("metrics are off: a CPU takes hours for the official ones; such as --metrics=fid1k_full turns them on")
    names = names_of_metrics(OFFICIAL_METRICS if is_for_official and device.type != "cpu" else text)
    if not names:
        return None
    try:
        if detector != CLASSIFIER:  # that of the run may still have to be trained
            open_detectors(names, detector, device, None)
    except (UserError, MetricError) as error:
        if text is not None:
            raise UserError(str(error)) from error
        log(f"metrics are off: {error}")
        return None
    return functools.partial(SnapshotMeasure, names, detector, device, plan.place.cache_dir, plan.config.seed)


def names_of_metrics(text: str | None) -> tuple[str, ...]:
    """Of --metrics; () for none."""
    try:
        return () if text in (None, "none") else tuple(request.name for request in parse_metrics(text))
    except MetricError as error:
        raise UserError(f"--metrics={text}: {error}") from error


def open_detectors(names: Sequence[str], text: str, device: torch.device, own: Path | None) -> Detectors:
    """own: the file of the run's classifier, None where there is none."""
    return choose_detectors(
        parse_names(names), text, device, fetch_detector, lambda path: open_classifier(path or own, device)
    )


def _stop(message: str, status: int) -> None:
    click.echo(message, err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()

"""From what the user asked for to the plan of a run: presets, labels, scale, settings. Checks all, writes nothing."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from stylegan2ada.checkpoint import read_snapshot
from stylegan2ada.config import DataConfig, TrainingConfig
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.errors import UserError
from stylegan2ada.files import check_writable
from stylegan2ada.ops import kernels
from stylegan2ada.options import RunOptions, resolve_config

from .default_run import NOTICE, PHANTOM_SCALE, PhantomSize, phantom_paths
from .presets import PAPER_RUNS, PRIVATE_RUN, PaperRun
from .run_request import RunRequest, Workplace


@dataclass(frozen=True)
class RunPlan:
    """The request with every choice made. `run_dir`: the folder of a run to go on with; None: a new one."""

    request: RunRequest
    place: Workplace
    config: TrainingConfig
    gamma_clinical: float
    conditional: bool
    phantom: PhantomSize | None
    run_dir: Path | None = None

    @property
    def clinical_reduction(self) -> str:
        return self.request.clinical_reduction or "mean"

    def describe(self) -> dict:
        """Everything that decides the run, for --dry-run."""
        return {
            "data": NOTICE if self.phantom else self.request.data,
            "clinical_term": {"gamma": self.gamma_clinical, "reduction": self.clinical_reduction},
            "metrics": self.request.metrics,
            "training": self.config.to_dict(),
        }


def plan_run(request: RunRequest, place: Workplace, reads_source: bool = True) -> RunPlan:
    """Resolves presets and options against the data set's facts. Raises UserError for whatever cannot work.

    reads_source: the file of --resume is opened, to refuse it now; a run that goes on needs it no more.
    """
    check_writable(place.outdir, "--outdir")
    if request.options.cfg == PRIVATE_RUN:
        raise UserError("--cfg=dp: the private variant is not part of this version; use spinegan or stylegan2-ada")
    paper = PAPER_RUNS.get(request.options.cfg or "")
    conditional = paper is not None if request.cond is None else request.cond
    gamma = _gamma_clinical(request, paper, conditional)
    _check_use_of_labels(request, conditional)
    phantom = phantom_of(request)
    if phantom is not None:
        check_writable(place.cache_dir, "--cache-dir")
        data = phantom.data_config(phantom_paths(place.cache_dir, phantom).train_zip)
        data = data if conditional else dataclasses.replace(data, num_classes=0, class_names=())
        data = dataclasses.replace(data, subset=request.subset, mirror=bool(request.mirror))
    else:
        data = data_config(open_training_set(request, request.data, conditional), request)
    config = resolve_config(_options(request, paper, phantom), data, place.device)
    kernels.find(config.kernels, place.device, torch.float32)  # raises where --kernels=fused cannot be had
    if request.options.augpipe is not None and config.augment.mode == "noaug":
        raise UserError(f"--augpipe={config.augment.pipe} has no effect without augmentation: add --aug=ada")
    if config.resume is not None and reads_source:
        read_snapshot(config.resume)  # refused now, before anything is written
    if phantom is not None:
        config = dataclasses.replace(config, notes=(NOTICE,))
    plan = RunPlan(request, place, config, gamma, conditional, phantom)
    if gamma > 0:
        name = None if request.classifier is None else Path(request.classifier).name
        term = {"gamma": gamma, "reduction": plan.clinical_reduction, "classifier": name}
        plan = dataclasses.replace(plan, config=dataclasses.replace(config, extensions={"clinical_term": term}))
    return plan


def open_training_set(request: RunRequest, path: str, conditional: bool) -> ImageDataset:
    """The training images with the request's subset and mirroring."""
    seed = request.options.seed or 0
    return ImageDataset(path, use_labels=conditional, max_size=request.subset, mirror=bool(request.mirror), seed=seed)


def data_config(dataset: ImageDataset, request: RunRequest) -> DataConfig:
    """The facts of an open training set."""
    return DataConfig(
        path=str(dataset.path),
        resolution_px=dataset.resolution,
        num_channels=dataset.num_channels,
        num_images=len(dataset),
        num_classes=dataset.label_dim,
        class_names=dataset.class_names or (),
        subset=request.subset,
        mirror=bool(request.mirror),
    )


def _gamma_clinical(request: RunRequest, paper: PaperRun | None, conditional: bool) -> float:
    gamma = request.gamma_clinical
    if gamma is None:
        gamma = paper.gamma_clinical if paper is not None and conditional else 0.0
    if not 0 <= gamma < math.inf:
        raise UserError(f"--gamma-clinical must be 0 or more, got {gamma}")
    if gamma > 0 and not conditional:
        raise UserError(f"--gamma-clinical={gamma} needs labels: add --cond=1, with a dataset that has labels")
    return gamma


def _check_use_of_labels(request: RunRequest, conditional: bool) -> None:
    """What would be ignored without a word in an unconditional run is refused."""
    for option, value in {"--test": request.test_data, "--classifier": request.classifier}.items():
        if value is not None and not conditional:
            raise UserError(f"{option} {value} needs labels: add --cond=1, with a dataset that has labels")


def phantom_of(request: RunRequest) -> PhantomSize | None:
    """The built-in data set that is asked for; None: there is --data."""
    if request.data is not None:
        return None
    paper = PAPER_RUNS.get(request.options.cfg or "")
    given = {"train": request.phantom_train, "test": request.phantom_test}
    given |= {"labels": None if paper is None else paper.labels}
    return PhantomSize(**{name: value for name, value in given.items() if value is not None})


def _options(request: RunRequest, paper: PaperRun | None, phantom: PhantomSize | None) -> RunOptions:
    """What was given, over the phantom's scale, over the paper's settings."""
    given, defaults = request.options, RunOptions()
    if paper is not None:
        given, defaults = dataclasses.replace(given, cfg=None), paper.options
    if phantom is not None:
        defaults = PHANTOM_SCALE.over(defaults)
    return given.over(defaults)

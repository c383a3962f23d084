"""From the options of a command line to the settings of a run, with the official meanings.

An option that is None was not given; presets fill it in. `RunOptions` overlay each other: `given.over(defaults)`.
"""

import dataclasses
from dataclasses import dataclass

import torch

from .config import AugmentConfig, DataConfig, LossConfig, NetworkConfig, OptimizerConfig, TrainingConfig
from .devices import resolve_precision
from .errors import UserError
from .presets import Preset, preset

CPU = torch.device("cpu")


@dataclass(frozen=True)
class RunOptions:
    """The options that decide a run; names as on the command line."""

    cfg: str | None = None
    gpus: int | None = None
    snap: int | None = None
    keep: int | None = None
    seed: int | None = None
    gamma: float | None = None
    kimg: float | None = None
    batch: int | None = None
    batch_gpu: int | None = None
    aug: str | None = None
    p: float | None = None
    target: float | None = None
    augpipe: str | None = None
    resume: str | None = None
    freezed: int | None = None
    fp32: bool | None = None
    precision: str | None = None
    kernels: str | None = None
    cuda_graphs: bool | None = None
    nobench: bool | None = None
    allow_tf32: bool | None = None
    workers: int | None = None
    tick: float | None = None
    channel_base: int | None = None
    channel_max: int | None = None
    latent: int | None = None
    ema_kimg: float | None = None
    lr: float | None = None
    pl_weight: float | None = None
    style_mixing: float | None = None

    def over(self, defaults: "RunOptions") -> "RunOptions":
        """These options, and those of `defaults` where these say nothing."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return dataclasses.replace(defaults, **given)


OFFICIAL_DEFAULTS = RunOptions(
    cfg="auto", gpus=1, snap=50, seed=0, aug="ada", freezed=0, fp32=False, precision="auto", kernels="auto",
    cuda_graphs=True, nobench=False, allow_tf32=False, workers=3, tick=4.0, latent=512, channel_max=512,
)  # fmt: skip


def resolve_config(given: RunOptions, data: DataConfig, device: torch.device = CPU) -> TrainingConfig:
    """The settings of a run on `data` and `device`; raises UserError where options are impossible or contradict each
    other."""
    options = _with_fp32_as_precision(given).over(OFFICIAL_DEFAULTS)
    if options.gpus < 1:
        raise UserError(f"--gpus {options.gpus}: at least one process is needed")
    base = preset(options.cfg, data.resolution_px, options.gpus)
    transfer = options.resume is not None
    return TrainingConfig(
        data=data,
        network=_network(options, base),
        loss=_loss(options, base),
        optimizer=OptimizerConfig(learning_rate=_or(options.lr, base.learning_rate)),
        augment=_augment(options, transfer),
        total_kimg=_or(options.kimg, base.kimg),
        batch_size=_or(options.batch, base.batch),
        micro_batch_size=options.batch_gpu,
        ema_kimg=_or(options.ema_kimg, base.ema_kimg),
        ema_rampup=None if transfer else base.ema_rampup,
        kimg_per_tick=options.tick,
        snapshot_ticks=options.snap,
        keep_snapshots=options.keep,
        seed=options.seed,
        num_workers=options.workers,
        resume=options.resume,
        cudnn_benchmark=not options.nobench,
        allow_tf32=options.allow_tf32,
        precision=resolve_precision(options.precision, device),
        kernels=options.kernels,
        cuda_graphs=options.cuda_graphs,
    )


def _with_fp32_as_precision(given: RunOptions) -> RunOptions:
    """The official --fp32=1 is --precision fp32, --fp32=0 leaves the choice."""
    if given.fp32 and given.precision not in (None, "fp32"):
        raise UserError(f"--fp32=1 and --precision={given.precision} contradict each other: leave one out")
    return dataclasses.replace(given, precision="fp32") if given.fp32 else given


def _network(options: RunOptions, base: Preset) -> NetworkConfig:
    is_fp32_asked_for = options.precision == "fp32"  # not what "auto" finds: the network must not depend on the machine
    return NetworkConfig(
        channel_base=_or(options.channel_base, round(base.fmaps * 32768)),
        channel_max=options.channel_max,
        z_dim=options.latent,
        w_dim=options.latent,
        mapping_layers=base.mapping_layers,
        d_architecture="orig" if options.cfg == "cifar" else "resnet",
        mbstd_group_size=base.mbstd,
        num_fp16_res=0 if is_fp32_asked_for else 4,
        conv_clamp=None if is_fp32_asked_for else 256,
        freeze_layers=options.freezed,
    )


def _loss(options: RunOptions, base: Preset) -> LossConfig:
    is_cifar = options.cfg == "cifar"  # the paper's CIFAR-10 setting: neither path lengths nor style mixing
    pl_weight = _or(options.pl_weight, 0.0 if is_cifar else 2.0)
    return LossConfig(
        r1_gamma=_or(options.gamma, base.r1_gamma),
        pl_weight=pl_weight,
        # Official cifar keeps Adam's correction for path lengths (rate times 4/5) though it never computes them.
        pl_interval=4 if pl_weight or is_cifar else 0,
        style_mixing_prob=_or(options.style_mixing, 0.0 if is_cifar else 0.9),
    )


def _augment(options: RunOptions, transfer: bool) -> AugmentConfig:
    if options.p is not None and options.aug != "fixed":
        raise UserError(f"--p {options.p} needs --aug=fixed; --aug={options.aug} chooses p itself or has none")
    if options.target is not None and options.aug != "ada":
        raise UserError(f"--target {options.target} needs --aug=ada; with --aug={options.aug} it has no effect")
    if options.aug == "fixed" and options.p is None:
        raise UserError("--aug=fixed needs --p, the augmentation probability between 0 and 1")
    return AugmentConfig(
        mode=options.aug,
        pipe=_or(options.augpipe, "bgc"),
        p=_or(options.p, 0.0),
        target=_or(options.target, 0.6),
        ada_kimg=100 if transfer else 500,
    )


def _or(value, default):
    return default if value is None else value

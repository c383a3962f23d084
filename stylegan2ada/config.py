"""All settings of a run: frozen dataclasses, checked on construction, written as JSON in the run folder."""

import dataclasses
import math
import types
import typing
import unicodedata
from dataclasses import dataclass, field

from .errors import UserError

AUGMENT_MODES = ("noaug", "ada", "fixed")
ARCHITECTURES = ("orig", "skip", "resnet")
PRECISIONS = ("fp32", "bf16", "fp16")
KERNEL_CHOICES = ("auto", "fused", "reference")
MAX_NAME_LENGTH = 256


@dataclass(frozen=True)
class DataConfig:
    """Facts of the training set. `num_classes` 0: the GAN is unconditional."""

    path: str
    resolution_px: int
    num_channels: int
    num_images: int
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    subset: int | None = None
    mirror: bool = False

    def __post_init__(self) -> None:
        _require(
            self.num_channels in (1, 3), f"images have {self.num_channels} channels; known are 1 (grey) and 3 (RGB)"
        )
        _require(self.num_images > 0, f"{self.path} holds no images")
        _require(self.num_classes >= 0, f"{self.path} has {self.num_classes} classes; 0 or more are possible")
        count = len(self.class_names)
        _require(count in (0, self.num_classes), f"{self.path} has {count} class names for {self.num_classes} classes")
        _require(
            all(is_one_line(name) and len(name) <= MAX_NAME_LENGTH for name in self.class_names),
            f"{self.path} has class names with control characters, or of more than {MAX_NAME_LENGTH} characters",
        )
        side = self.resolution_px
        _require(side >= 4 and not side & (side - 1), f"images have {side} pixels a side; a power of two is needed")


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of both networks. Feature maps at resolution r: min(channel_base // r, channel_max)."""

    channel_base: int = 32768
    channel_max: int = 512
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    g_architecture: str = "skip"
    d_architecture: str = "resnet"
    mbstd_group_size: int = 4
    num_fp16_res: int = 0
    conv_clamp: float | None = None
    freeze_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("channel_base", "channel_max", "z_dim", "w_dim", "mapping_layers", "mbstd_group_size"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        for architecture in (self.g_architecture, self.d_architecture):
            _require(
                architecture in ARCHITECTURES,
                f"an architecture is one of {', '.join(ARCHITECTURES)}, got {architecture}",
            )
        _require(self.freeze_layers >= 0, f"--freezed must be 0 or more, got {self.freeze_layers}")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses, and how often (in steps) the lazy regularisers run; an interval of 0 switches one off."""

    r1_gamma: float = 10.0
    r1_interval: int = 16
    pl_weight: float = 2.0
    pl_interval: int = 4
    pl_decay: float = 0.01
    pl_batch_shrink: int = 2
    style_mixing_prob: float = 0.9

    def __post_init__(self) -> None:
        _require(0 <= self.r1_gamma < math.inf, f"--gamma must be 0 or more, got {self.r1_gamma}")
        _require(0 <= self.pl_weight < math.inf, f"--pl-weight must be 0 or more, got {self.pl_weight}")
        for name in ("r1_interval", "pl_interval"):
            _require(getattr(self, name) >= 0, f"{name} must be 0 or more, got {getattr(self, name)}")
        _require(self.pl_batch_shrink >= 1, f"pl_batch_shrink must be at least 1, got {self.pl_batch_shrink}")
        _require(0 <= self.style_mixing_prob <= 1, f"--style-mixing must be 0 to 1, got {self.style_mixing_prob}")


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, the same for both networks."""

    learning_rate: float = 0.0025
    beta1: float = 0.0
    beta2: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _require(0 < self.learning_rate < math.inf, f"--lr must be above 0, got {self.learning_rate}")


@dataclass(frozen=True)
class AugmentConfig:
    """`mode` noaug: none. fixed: probability p. ada: starts at p, follows the sign of D's real logits to `target`."""

    mode: str = "ada"
    pipe: str = "bgc"
    p: float = 0.0
    target: float = 0.6
    ada_kimg: float = 500.0
    interval: int = 4

    def __post_init__(self) -> None:
        _require(self.mode in AUGMENT_MODES, f"--aug is one of {', '.join(AUGMENT_MODES)}, got {self.mode}")
        _require(0 <= self.p <= 1, f"--p must be between 0 and 1, got {self.p}")
        _require(0 <= self.target <= 1, f"--target must be between 0 and 1, got {self.target}")


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. kimg: thousands of real images shown to the discriminator. batch_size: of a step, whatever the
    number of processes; each of them computes it in pieces of micro_batch_size (None: in one).

    notes: what whoever sees the results should know. extensions: settings of generator terms and the like, by name, for
    the record (the networks do not need them).
    """

    data: DataConfig
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    total_kimg: float = 25000
    batch_size: int = 32
    micro_batch_size: int | None = None
    ema_kimg: float = 10.0
    ema_rampup: float | None = None
    kimg_per_tick: float = 4.0
    snapshot_ticks: int = 50
    keep_snapshots: int | None = None
    seed: int = 0
    num_workers: int = 3
    resume: str | None = None
    cudnn_benchmark: bool = True
    allow_tf32: bool = False
    precision: str = "fp32"
    kernels: str = "auto"
    cuda_graphs: bool = True
    notes: tuple[str, ...] = ()
    extensions: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(all(is_one_line(note) for note in self.notes), "a note on the run has control characters in it")
        _require(self.batch_size >= 1, f"--batch must be at least 1, got {self.batch_size}")
        _require(
            self.micro_batch_size is None or self.micro_batch_size >= 1,
            f"--batch-gpu must be at least 1, got {self.micro_batch_size}",
        )
        _require(0 < self.total_kimg < math.inf, f"--kimg must be above 0, got {self.total_kimg}")
        _require(0 < self.kimg_per_tick < math.inf, f"--tick must be above 0, got {self.kimg_per_tick}")
        _require(0 <= self.ema_kimg < math.inf, f"--ema-kimg must be 0 or more, got {self.ema_kimg}")
        _require(
            self.precision in PRECISIONS, f"--precision is one of {', '.join(PRECISIONS)}, got {self.precision}"
        )
        _require(
            self.kernels in KERNEL_CHOICES, f"--kernels is one of {', '.join(KERNEL_CHOICES)}, got {self.kernels}"
        )
        _require(self.num_workers >= 0, f"--workers must be 0 or more, got {self.num_workers}")
        _require(
            self.network.channel_base >= self.data.resolution_px,
            f"--channel-base {self.network.channel_base} leaves no feature map at {self.data.resolution_px} px: "
            f"give at least {self.data.resolution_px}",
        )
        _require(self.snapshot_ticks >= 1, f"--snap must be at least 1, got {self.snapshot_ticks}")
        _require(
            self.keep_snapshots is None or self.keep_snapshots >= 1,
            f"--keep must be at least 1, got {self.keep_snapshots}",
        )
        group = min(self.network.mbstd_group_size, self.batch_size)
        _require(
            self.batch_size % group == 0,
            f"--batch {self.batch_size} is not a multiple of the minibatch-std group size {group}: choose a multiple",
        )
        half = self.batch_size // self.loss.pl_batch_shrink
        _require(
            not self.loss.pl_interval or half >= 1,
            f"--batch {self.batch_size} is too small for path length regularisation: use at least 2",
        )

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


def config_from_dict(values: dict) -> TrainingConfig:
    """The config that `TrainingConfig.to_dict` described. Keys that an older version did not have take their defaults;
    others that are missing, and unknown ones, raise UserError."""
    parts = {
        "data": DataConfig,
        "network": NetworkConfig,
        "loss": LossConfig,
        "optimizer": OptimizerConfig,
        "augment": AugmentConfig,
    }
    try:
        values = {
            name: checked_dataclass(parts[name], value) if name in parts else value for name, value in values.items()
        }
        return checked_dataclass(TrainingConfig, values)
    except (AttributeError, TypeError) as error:  # other keys, or values of other types
        raise UserError(f"the stored training options do not fit this version: {error}") from error


def checked_dataclass(kind: type, values: dict) -> object:
    """An instance of the dataclass `kind`; raises TypeError for unknown names and for values of other types."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    expected = {entry.name: entry.type for entry in dataclasses.fields(kind)}
    for name, value in values.items():
        if name in expected and not _is_a(value, expected[name]):
            raise TypeError(f"{name} is {str(value)[:40]!r}")
    return kind(**values)


def _is_a(value: object, expected: type) -> bool:
    """Stricter than isinstance: True is no number. An integer will do for a float."""
    if isinstance(expected, types.UnionType):
        return any(_is_a(value, option) for option in expected.__args__)
    if typing.get_origin(expected) is tuple:
        return type(value) is tuple and all(type(item) is expected.__args__[0] for item in value)
    return type(value) is expected or (expected is float and type(value) is int)


def is_one_line(text: str) -> bool:
    """Whether `text`, maybe a stranger's, can be printed: no line breaks, terminal codes, halves of surrogate pairs."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)

"""The six official base configurations as one table (StyleGAN2-ADA paper, appendix C)."""

from typing import NamedTuple

from .errors import UserError


class Preset(NamedTuple):
    """`gpus` is the number the batch size is meant for. ema_rampup None: no ramp. fmaps: channel_base / 32768."""

    gpus: int
    kimg: int
    batch: int
    mbstd: int
    fmaps: float
    learning_rate: float
    r1_gamma: float
    ema_kimg: float
    ema_rampup: float | None
    mapping_layers: int


PRESETS = {
    #                     gpus    kimg batch mbstd fmaps     lr  gamma ema_kimg  ramp  mapping
    "stylegan2": Preset(     8,  25000,   32,    4,  1.0, 0.002,  10.0,    10.0, None,    8),
    "paper256": Preset(      8,  25000,   64,    8,  0.5, 0.0025,  1.0,    20.0, None,    8),
    "paper512": Preset(      8,  25000,   64,    8,  1.0, 0.0025,  0.5,    20.0, None,    8),
    "paper1024": Preset(     8,  25000,   32,    4,  1.0, 0.002,   2.0,    10.0, None,    8),
    "cifar": Preset(         2, 100000,   64,   32,  1.0, 0.0025, 0.01,   500.0, 0.05,    2),
}  # fmt: skip
PRESET_NAMES = ("auto", *PRESETS)


def preset(name: str, resolution_px: int, gpus: int) -> Preset:
    """The named row; `auto` derives one from the resolution and the number of GPUs."""
    if name == "auto":
        return auto_preset(resolution_px, gpus)
    if name not in PRESETS:
        raise UserError(f"--cfg {name} is unknown: choose one of {', '.join(PRESET_NAMES)}")
    return PRESETS[name]


def auto_preset(resolution_px: int, gpus: int) -> Preset:
    """Keeps the batch between memory and speed, and R1's gamma in proportion to pixels per batch."""
    per_gpu = min(4096 // resolution_px, 32)
    batch = max(min(gpus * per_gpu, 64), gpus)
    return Preset(
        gpus=gpus,
        kimg=25000,
        batch=batch,
        mbstd=max(min(batch // gpus, 4), 1),
        fmaps=1.0 if resolution_px >= 512 else 0.5,
        learning_rate=0.002 if resolution_px >= 1024 else 0.0025,
        r1_gamma=0.0002 * resolution_px**2 / batch,
        ema_kimg=batch * 10 / 32,
        ema_rampup=0.05,
        mapping_layers=2,
    )

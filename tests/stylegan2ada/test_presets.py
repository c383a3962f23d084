"""The table of base configurations against the published numbers, and the automatic one."""

import pytest

from stylegan2ada.errors import UserError
from stylegan2ada.presets import PRESET_NAMES, auto_preset, preset

# name: GPUs, kimg, batch, mbstd, fmaps, lr, R1 gamma, EMA kimg, ramp, mapping layers
PUBLISHED = {
    "stylegan2": (8, 25000, 32, 4, 1, 0.002, 10, 10, None, 8),
    "paper256": (8, 25000, 64, 8, 0.5, 0.0025, 1, 20, None, 8),
    "paper512": (8, 25000, 64, 8, 1, 0.0025, 0.5, 20, None, 8),
    "paper1024": (8, 25000, 32, 4, 1, 0.002, 2, 10, None, 8),
    "cifar": (2, 100000, 64, 32, 1, 0.0025, 0.01, 500, 0.05, 2),
}


def test_names():
    assert set(PRESET_NAMES) == {"auto", *PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name):
    assert tuple(preset(name, 256, 1)) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("resolution", "gpus", "batch", "mbstd", "fmaps", "lr"),
    [
        (32, 1, 32, 4, 0.5, 0.0025),
        (64, 1, 32, 4, 0.5, 0.0025),
        (256, 1, 16, 4, 0.5, 0.0025),
        (512, 1, 8, 4, 1, 0.0025),
        (1024, 1, 4, 4, 1, 0.002),
        (2048, 1, 2, 2, 1, 0.002),
        (256, 8, 64, 4, 0.5, 0.0025),
        (1024, 8, 32, 4, 1, 0.002),
    ],
)
def test_auto(resolution, gpus, batch, mbstd, fmaps, lr):
    row = auto_preset(resolution, gpus)
    assert (row.gpus, row.kimg, row.batch, row.mbstd, row.fmaps) == (gpus, 25000, batch, mbstd, fmaps)
    assert row.learning_rate == lr
    assert row.r1_gamma == pytest.approx(0.0002 * resolution**2 / batch)
    assert row.ema_kimg == pytest.approx(batch * 10 / 32)
    assert (row.ema_rampup, row.mapping_layers) == (0.05, 2)


def test_the_papers_gamma():
    """One GPU at 256 px: 0.0002 * 256^2 / 16 = 0.8192."""
    assert preset("auto", 256, 1).r1_gamma == pytest.approx(0.8192)


def test_an_unknown_name_raises():
    with pytest.raises(UserError, match="--cfg paper128 is unknown: choose one of auto, stylegan2"):
        preset("paper128", 128, 1)

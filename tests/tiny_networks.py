"""Untrained networks of a few thousand weights in snapshot files, and what every script does with a mistake."""

from pathlib import Path

from click.testing import Result

from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.checkpoint import make_discriminator, make_generator, save_snapshot
from stylegan2ada.config import DataConfig, NetworkConfig, TrainingConfig

CLASSES = ("No finding", "Osteophytes", "Vertebral collapse")


def save_network(
    path: Path,
    num_channels: int = 1,
    class_names: tuple[str, ...] = (),
    broken: bool = False,
    resolution_px: int = 16,
    notes: tuple[str, ...] = (),
) -> Path:
    config = TrainingConfig(
        DataConfig("set.zip", resolution_px, num_channels, 100, len(class_names), class_names),
        NetworkConfig(channel_base=16 * resolution_px, channel_max=16, z_dim=8, w_dim=16, mapping_layers=2),
        notes=notes,
    )
    ema = make_generator(config)
    ema.mapping.w_avg.normal_()
    if broken:
        ema.synthesis.get_submodule(f"b{resolution_px}").torgb.bias.data.fill_(float("nan"))
    modules = {
        "G": make_generator(config),
        "D": make_discriminator(config),
        "G_ema": ema,
        "augment_pipe": make_augment_pipe(config.augment.pipe),
    }
    save_snapshot(path, modules, config, kimg=1.0)
    return path


def assert_one_line(result: Result, *parts: str) -> None:
    """Exit code 2 and one line that names what is wrong."""
    assert result.exit_code == 2, result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    for part in parts:
        assert part in result.output

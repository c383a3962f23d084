"""Transfer learning from an official file: train.py --resume=network.pkl."""

import dataclasses
from pathlib import Path

import pytest
import torch

from stylegan2ada.config import DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.legacy.writer import save_official
from stylegan2ada.networks import make_networks, take_over

from .files import TINY, UNCOND, snapshot

GREY = TrainingConfig(DataConfig("other.zip", 16, 1, 50, 2), NetworkConfig(**TINY, d_architecture="orig"))


@pytest.fixture
def rgb(tmp_path) -> Path:
    """As the official names: RGB, without classes."""
    save_official(tmp_path / "rgb.pkl", snapshot(UNCOND))
    return tmp_path / "rgb.pkl"


def test_a_grey_network_of_two_classes_from_an_rgb_one_without(rgb):
    log: list[str] = []
    networks = make_networks(GREY, torch.device("cpu"))
    take_over(networks, str(rgb), log.append)
    theirs = snapshot(UNCOND)
    assert torch.equal(networks.G_ema.synthesis.b16.conv1.weight, theirs.generator.synthesis.b16.conv1.weight)
    assert torch.equal(networks.G.synthesis.b16.conv1.weight, theirs.generator_raw.synthesis.b16.conv1.weight)
    assert torch.equal(networks.D.b16.conv0.weight, theirs.discriminator.b16.conv0.weight)
    ws = torch.randn(2, theirs.generator.num_ws, 4)
    grey, rgb_image = (network.synthesis(ws, noise_mode="const") for network in (networks.G_ema, theirs.generator))
    torch.testing.assert_close(grey, rgb_image.mean(dim=1, keepdim=True), rtol=1e-5, atol=1e-5)
    text = "\n".join(log)
    assert f"starting from {rgb}" in text
    assert "adapted, grey is the mean of RGB: synthesis.b4 (2), synthesis.b8 (2), synthesis.b16 (2)" in text
    assert "adapted, grey is seen as RGB: b16 (1)" in text
    assert "left, not in the source: mapping.embed (2)" in text


def test_a_file_of_the_generator_alone(tmp_path, rgb):
    original = dataclasses.replace(snapshot(UNCOND), generator_raw=None, discriminator=None, augment_pipe=None)
    save_official(tmp_path / "alone.pkl", original)
    log: list[str] = []
    take_over(make_networks(UNCOND, torch.device("cpu")), str(tmp_path / "alone.pkl"), log.append)
    missing = [line.strip() for line in log if "the source does not have this network" in line]
    assert [line.split(":")[0] for line in missing] == ["G", "D"]
    assert "0 left at their initial values" in log[-1]

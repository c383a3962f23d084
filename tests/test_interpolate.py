"""interpolate.py as a user types it, on tiny untrained networks."""

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest
from click.testing import CliRunner, Result

import interpolate
from stylegan2ada.checkpoint import load
from stylegan2ada.sampling import images_of_seeds
from tests.tiny_networks import CLASSES, assert_one_line, save_network


@pytest.fixture
def conditional(tmp_path) -> Path:
    return save_network(tmp_path / "conditional.safetensors", class_names=CLASSES)


def run(network: Path, output: Path, *options: object, seeds: str = "3,5") -> Result:
    arguments = ["--network", network, "--seeds", seeds, "--output", output, "--device", "cpu", "--frames", 4, *options]
    return CliRunner().invoke(interpolate.main, [str(argument) for argument in arguments])


def frames_of(path: Path) -> list[np.ndarray]:
    with PIL.Image.open(path) as picture:
        return [np.array(frame.convert("L")).astype(int) for frame in PIL.ImageSequence.Iterator(picture)]


@pytest.mark.parametrize("space", ["w", "z"])
def test_passes_seeds_and_classes(conditional, tmp_path, space):
    classes = ["--class", 2, "--class", "No finding"]
    result = run(conditional, tmp_path / "a.gif", *classes, "--space", space, "--trunc", 0.8)
    assert result.exit_code == 0, result.output
    frames = frames_of(tmp_path / "a.gif")
    assert len(frames) == 16
    stations = images_of_seeds(load(conditional).generator, [3, 3, 5, 5], [2, 0, 0, 2], truncation_psi=0.8)
    for frame, image in zip(frames[::4], stations, strict=True):
        assert np.abs(frame - image.pixels[0]).max() <= 1
    assert "16 frames, 0.5 s, through 4 stations" in result.output and "rendering 16/16" in result.stderr


def test_without_class_it_says_which(conditional, tmp_path):
    result = run(conditional, tmp_path / "a.gif")
    assert "No --class given: the walk stays in class 0 (No finding)" in result.output


def test_unconditional_color(tmp_path):
    network = save_network(tmp_path / "n.safetensors", num_channels=3)
    result = run(network, tmp_path / "new" / "a.gif", seeds="0-2")
    assert result.exit_code == 0, result.output
    assert len(frames_of(tmp_path / "new" / "a.gif")) == 12


def test_mp4(conditional, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    assert run(conditional, tmp_path / "a.mp4", "--fps", 60).exit_code == 0
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("output", "options", "parts"),
    [
        ("a.avi", [], ["--output", "a.avi", ".gif or .mp4"]),
        ("a.gif", ["--fps", "60"], ["--fps 60", "at most 50"]),
        ("a.gif", ["--fps", "nan"], ["--fps nan"]),
        ("a.gif", ["--fps", "0"], ["--fps 0"]),
        ("a.gif", ["--frames", "0"], ["--frames", "0"]),
        ("a.gif", ["--frames", "20000"], ["--frames 20000", "40,000: at most 20,000"]),
        ("a.gif", ["--seeds", "3"], ["--seeds 3", "no walk", "--class all"]),
        ("a.gif", ["--seeds", ""], ["--seeds", "neither"]),
        ("a.gif", ["--class", "9"], ["--class 9", "Vertebral collapse"]),
        ("a.gif", ["--trunc", "inf"], ["--trunc inf"]),
        ("a.gif", ["--network", "none.safetensors"], ["none.safetensors"]),
        ("conditional.safetensors/a.gif", [], ["--output", "cannot be written"]),
    ],
)
def test_mistakes(conditional, tmp_path, output, options, parts):
    assert_one_line(run(conditional, tmp_path / output, *options), *parts)
    assert list(tmp_path.iterdir()) == [conditional]


def test_broken_network_leaves_nothing(tmp_path):
    network = save_network(tmp_path / "nan.safetensors", broken=True)
    assert_one_line(run(network, tmp_path / "a.gif"), "nan.safetensors", "NaN")
    assert list(tmp_path.iterdir()) == [network]

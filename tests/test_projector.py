"""projector.py as a user types it, on tiny untrained networks."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner, Result

import generate
import projector
from spine_ext.classifier import SpineClassifier, save_classifier
from spine_ext.dicom_export import SyntheticSeries, dicom_bytes
from stylegan2ada.checkpoint import load
from stylegan2ada.images import png_bytes
from stylegan2ada.sampling import images_of_seeds
from tests.tiny_networks import CLASSES, assert_one_line, save_network

OUTPUTS = {"projected_w.npz", "proj.png", "target.png", "strip.png", "projection.json"}


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return save_network(tmp_path_factory.mktemp("network") / "n.safetensors", class_names=CLASSES)


@pytest.fixture
def target(network, tmp_path) -> Path:
    """What the network makes of a seed."""
    (tmp_path / "target.png").write_bytes(png_bytes(pixels_of(network)))
    return tmp_path / "target.png"


def pixels_of(network: Path) -> np.ndarray:
    return next(images_of_seeds(load(network).generator, [3], [1])).pixels


def run(network: Path, target: Path, outdir: Path, *options: object, steps: int = 8) -> Result:
    arguments = ["--network", network, "--target", target, "--outdir", outdir, "--num-steps", steps, "--device", "cpu"]
    return CliRunner().invoke(projector.main, [str(argument) for argument in (*arguments, *options)])


def read(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.array(image).astype(int)


def report_of(outdir: Path) -> dict:
    return json.loads((outdir / "projection.json").read_text())


def test_finds_the_image_and_generate_makes_it_again(network, target, tmp_path):
    result = run(network, target, tmp_path / "out", "--class", "Osteophytes", steps=120)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS
    report = report_of(tmp_path / "out")
    assert report["distance"] < report["start_distance"] / 20
    assert report["class_index"] == 1 and report["class_distances"] == []
    found, wanted = read(tmp_path / "out" / "proj.png"), read(tmp_path / "out" / "target.png")
    np.testing.assert_array_equal(wanted, pixels_of(network)[0])
    assert report["rms_difference"] == pytest.approx(np.sqrt(np.mean((found - wanted) ** 2)))
    assert report["rms_difference"] < 0.2 * wanted.std()

    latents = tmp_path / "out" / "projected_w.npz"
    arguments = ["--network", network, "--projected-w", latents, "--outdir", tmp_path / "again"]
    assert CliRunner().invoke(generate.main, [str(argument) for argument in arguments]).exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "again" / "proj00.png"), found)


def test_nearest_class_is_chosen_and_said(network, target, tmp_path):
    result = run(network, target, tmp_path / "out")
    assert "Nearest mean image: " in result.output and "(distances: No finding " in result.output
    assert "compared by their pixels at several scales (no --classifier given)" in result.output
    report = report_of(tmp_path / "out")
    assert report["class_index"] == int(np.argmin(report["class_distances"]))
    assert report["start_distance"] == pytest.approx(min(report["class_distances"]))


def test_official_layout_of_latents(network, target, tmp_path):
    for space in ("w", "w+"):
        assert run(network, target, tmp_path / space, "--space", space).exit_code == 0
    with np.load(tmp_path / "w" / "projected_w.npz") as w, np.load(tmp_path / "w+" / "projected_w.npz") as w_plus:
        assert w["w"].shape == w_plus["w"].shape == (1, 6, 16)
        assert (w["w"] == w["w"][:, :1]).all() and (w_plus["w"] != w_plus["w"][:, :1]).any()


def test_same_command_same_result(network, target, tmp_path):
    for name in ("a", "b"):
        assert run(network, target, tmp_path / name, "--fit-noise").exit_code == 0
    assert report_of(tmp_path / "a") == report_of(tmp_path / "b")
    np.testing.assert_array_equal(read(tmp_path / "a" / "proj.png"), read(tmp_path / "b" / "proj.png"))


def test_classifier_and_video(network, target, tmp_path):
    save_classifier(SpineClassifier(CLASSES, 32), tmp_path / "c.safetensors")
    options = ["--classifier", tmp_path / "c.safetensors", "--save-video", "true", "--class", 0]
    result = run(network, target, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert "the features of a SpineClassifier" in report_of(tmp_path / "out")["compared_by"]
    (video,) = {path.name for path in (tmp_path / "out").iterdir()} - OUTPUTS
    assert video in ("proj.gif", "proj.mp4")


def test_dicom_of_another_size(network, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 24, 40)).astype(np.uint8)
    (tmp_path / "a.dcm").write_bytes(dicom_bytes(SyntheticSeries("A test."), pixels, 1, ""))
    result = run(network, tmp_path / "a.dcm", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "40x24 pixels: the centre square of 24 is used" in result.output
    assert "resized from 24 to the network's 16 pixels" in result.output


def test_unconditional_color(tmp_path):
    network = save_network(tmp_path / "n.safetensors", num_channels=3)
    PIL.Image.effect_noise((16, 16), 60).save(tmp_path / "t.png")
    result = run(network, tmp_path / "t.png", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert report_of(tmp_path / "out")["class_index"] is None and "Nearest" not in result.output
    assert read(tmp_path / "out" / "proj.png").shape == (16, 16, 3)


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            (["--class", "Fracture"], ["--class Fracture", "Vertebral collapse"]),
            (["--class", "all"], ["--class all", "one class"]),
            (["--num-steps", "0"], ["--num-steps", "0"]),
            (["--space", "z"], ["--space", "'z'"]),
            (["--classifier", "none.safetensors"], ["cannot read the classifier none.safetensors"]),
            (["--vgg", "none.pt"], ["--vgg none.pt", "no such file", "fetch https://"]),
            (["--vgg", "a.pt", "--classifier", "b"], ["either --classifier or --vgg"]),
            (["--target", "none.png"], ["--target none.png", "no such file"]),
            (["--network", "none.safetensors"], ["none.safetensors"]),
        ],
    )
    def test_one_line(self, network, target, tmp_path, options, parts):
        result = run(network, target, tmp_path / "out", *options)
        said = [line for line in result.output.splitlines() if not line.startswith("Images are compared")]
        assert result.exit_code == 2 and len(said) == 1 and said[0].startswith("Error: ")
        assert all(part in said[0] for part in parts)
        assert not (tmp_path / "out").exists()

    def test_outdir_is_a_file(self, network, target, tmp_path):
        (tmp_path / "out").write_text("")
        assert_one_line(run(network, target, tmp_path / "out"), "--outdir", "cannot be written")

    def test_broken_network(self, target, tmp_path):
        network = save_network(tmp_path / "nan.safetensors", broken=True)
        result = run(network, target, tmp_path / "out")
        assert result.exit_code == 2 and "nan.safetensors: the distance is nan" in result.output
        assert not (tmp_path / "out").exists()


def test_from_the_shell(network, target, tmp_path, repository_dir):
    command = [sys.executable, str(repository_dir / "projector.py"), "--network", str(network), "--target", str(target)]
    command += ["--outdir", "out", "--num-steps=3"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "projecting 3/3" in finished.stderr and "distance" in finished.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS

"""generate.py as a user types it, on tiny untrained networks."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

import generate
from stylegan2ada.augment import make_augment_pipe
from stylegan2ada.checkpoint import load, make_discriminator, make_generator, save_snapshot
from stylegan2ada.config import DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.errors import UserError
from stylegan2ada.sampling import images_of_seeds

CLASSES = ("No finding", "Osteophytes", "Vertebral collapse")


def save_network(path: Path, num_channels: int = 1, class_names: tuple[str, ...] = (), broken: bool = False) -> Path:
    config = TrainingConfig(
        DataConfig("set.zip", 16, num_channels, 100, len(class_names), class_names),
        NetworkConfig(channel_base=256, channel_max=16, z_dim=8, w_dim=16, mapping_layers=2),
    )
    ema = make_generator(config)
    ema.mapping.w_avg.normal_()
    if broken:
        ema.synthesis.b16.torgb.bias.data.fill_(float("nan"))
    modules = {
        "G": make_generator(config),
        "D": make_discriminator(config),
        "G_ema": ema,
        "augment_pipe": make_augment_pipe(config.augment.pipe),
    }
    save_snapshot(path, modules, config, kimg=1.0)
    return path


@pytest.fixture
def unconditional(tmp_path) -> Path:
    return save_network(tmp_path / "unconditional.safetensors")


@pytest.fixture
def conditional(tmp_path) -> Path:
    return save_network(tmp_path / "conditional.safetensors", class_names=CLASSES)


def run(network: Path, outdir: Path, *options: object, seeds: str = "0-4") -> Result:
    arguments = ["--network", network, "--seeds", seeds, "--outdir", outdir, "--device", "cpu", *options]
    return CliRunner().invoke(generate.main, [str(argument) for argument in arguments])


def read_png(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        assert image.mode in ("L", "RGB")
        return np.array(image)


def assert_one_line(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    for part in parts:
        assert part in result.output


class TestFolder:
    def test_official_names_and_grey_pixels(self, unconditional, tmp_path):
        result = run(unconditional, tmp_path / "out", seeds="0,12,7-8,12345")
        assert result.exit_code == 0, result.output
        names = ["seed0000.png", "seed0007.png", "seed0008.png", "seed0012.png", "seed12345.png"]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
        images = [read_png(tmp_path / "out" / name) for name in names]
        assert {image.shape for image in images} == {(16, 16)}
        expected = next(images_of_seeds(load(unconditional).generator, [12])).pixels[0]
        np.testing.assert_array_equal(images[3], expected)

    def test_color(self, tmp_path):
        network = save_network(tmp_path / "color.safetensors", num_channels=3)
        assert run(network, tmp_path / "out", seeds="3").exit_code == 0
        expected = next(images_of_seeds(load(network).generator, [3])).pixels
        np.testing.assert_array_equal(read_png(tmp_path / "out" / "seed0003.png"), expected.transpose(1, 2, 0))

    def test_a_second_run_adds_to_the_folder(self, unconditional, tmp_path):
        run(unconditional, tmp_path / "out", seeds="0-1")
        assert run(unconditional, tmp_path / "out", seeds="1-2").exit_code == 0
        assert len(list((tmp_path / "out").iterdir())) == 3


class TestZip:
    def test_one_class_by_name_or_number(self, conditional, tmp_path):
        for outdir, wanted in (("a.zip", "Osteophytes"), ("b.zip", 1)):
            result = run(conditional, tmp_path / outdir, "--class", wanted)
            assert result.exit_code == 0, result.output
            dataset = ImageDataset(tmp_path / outdir, use_labels=True)
            assert (len(dataset), dataset.num_channels, dataset.class_names) == (5, 1, CLASSES)
            np.testing.assert_array_equal(dataset.labels, np.eye(3)[[1] * 5])
            expected = images_of_seeds(load(conditional).generator, range(5), [1] * 5)
            for (pixels, _), image in zip(dataset, expected, strict=True):
                np.testing.assert_array_equal(pixels, image.pixels)

    def test_without_class_the_classes_take_turns_and_it_says_so(self, conditional, tmp_path):
        result = run(conditional, tmp_path / "out.zip", seeds="5,0-3")
        assert "classes take turns" in result.output
        labels = ImageDataset(tmp_path / "out.zip", use_labels=True).labels
        np.testing.assert_array_equal(labels.argmax(axis=1), [2, 0, 1, 2, 0])

    def test_unconditional_zip_has_no_labels(self, unconditional, tmp_path):
        assert run(unconditional, tmp_path / "out.zip").exit_code == 0
        with zipfile.ZipFile(tmp_path / "out.zip") as archive:
            index = json.loads(archive.read("dataset.json"))
        assert index["labels"] is None
        assert "classes" not in index

    def test_says_what_made_it(self, conditional, tmp_path):
        run(conditional, tmp_path / "out.zip", "--trunc", 0.7, "--noise-mode", "none")
        with zipfile.ZipFile(tmp_path / "out.zip") as archive:
            origin = json.loads(archive.read("dataset.json"))["synthetic"]
        assert origin == {"network": "conditional.safetensors", "seeds": "0-4", "trunc": 0.7, "noise_mode": "none"}

    def test_same_command_same_bytes(self, conditional, tmp_path):
        for name in ("a.zip", "b.zip"):
            run(conditional, tmp_path / name, "--noise-mode", "random")
        assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()

    def test_existing_zip_is_kept_unless_told(self, conditional, tmp_path):
        run(conditional, tmp_path / "out.zip", seeds="0-1")
        assert_one_line(run(conditional, tmp_path / "out.zip"), "out.zip already exists")
        assert len(ImageDataset(tmp_path / "out.zip")) == 2
        assert run(conditional, tmp_path / "out.zip", "--overwrite").exit_code == 0
        assert len(ImageDataset(tmp_path / "out.zip")) == 5


def test_truncation_to_zero_is_the_mean_image(conditional, tmp_path):
    assert run(conditional, tmp_path / "out.zip", "--trunc", 0).exit_code == 0
    images = [pixels for pixels, _ in ImageDataset(tmp_path / "out.zip")]
    assert all(np.abs(image.astype(int) - images[0].astype(int)).max() <= 1 for image in images)


class TestMistakes:
    @pytest.mark.parametrize(
        ("seeds", "part"),
        [
            ("abc", "'abc' is neither a number nor a range"),
            ("", "'' is neither"),
            ("1,,2", "'' is neither"),
            ("-3", "'-3' is neither"),
            ("9-5", "write 5-9"),
            ("4294967296", "too large"),
            ("0-4294967295", "more than 10,000,000 images"),
        ],
    )
    def test_seeds(self, unconditional, tmp_path, seeds, part):
        assert_one_line(run(unconditional, tmp_path / "out", seeds=seeds), f"--seeds {seeds}", part)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("wanted", ["3", "-1", "1.5", "Fracture", ""])
    def test_unknown_class(self, conditional, tmp_path, wanted):
        result = run(conditional, tmp_path / "out.zip", "--class", wanted)
        assert_one_line(result, f"--class {wanted}", "from 0 to 2", "Vertebral collapse")
        assert not (tmp_path / "out.zip").exists()

    def test_class_of_an_unconditional_network(self, unconditional, tmp_path):
        assert_one_line(run(unconditional, tmp_path / "out", "--class", 1), "--class 1", "unconditional", "leave")
        assert not (tmp_path / "out").exists()

    def test_missing_network(self, tmp_path):
        assert_one_line(run(tmp_path / "missing.safetensors", tmp_path / "out"), "missing.safetensors")
        assert not (tmp_path / "out").exists()

    def test_damaged_network(self, tmp_path):
        (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04rubbish" * 100)
        assert_one_line(run(tmp_path / "bad.safetensors", tmp_path / "out"), "bad.safetensors")

    @pytest.mark.parametrize("outdir", ["out", "out.zip"])
    def test_network_that_makes_nan_leaves_nothing(self, tmp_path, outdir):
        network = save_network(tmp_path / "nan.safetensors", broken=True)
        assert_one_line(run(network, tmp_path / outdir), "nan.safetensors", "seed 0", "NaN")
        assert list(tmp_path.iterdir()) == [network]

    @pytest.mark.parametrize("trunc", ["nan", "inf", "x"])
    def test_truncation(self, unconditional, tmp_path, trunc):
        assert_one_line(run(unconditional, tmp_path / "out", "--trunc", trunc), "--trunc", trunc)

    def test_outdir_is_a_file(self, unconditional, tmp_path):
        (tmp_path / "out").write_text("")
        assert_one_line(run(unconditional, tmp_path / "out"), "is a file")

    def test_outdir_below_a_file(self, unconditional, tmp_path):
        (tmp_path / "file").write_text("")
        assert_one_line(run(unconditional, tmp_path / "file" / "out"), "cannot write")


class TestParseSeeds:
    def test_order_is_kept_and_repeats_are_dropped(self):
        assert generate.parse_seeds("7, 0-2,1,4294967295") == [7, 0, 1, 2, 4294967295]

    def test_raises(self):
        with pytest.raises(UserError):
            generate.parse_seeds("1e3")


def test_from_the_shell(conditional, tmp_path, repository_dir):
    command = [sys.executable, "generate.py", "--network", str(conditional), "--seeds=0-19"]
    command += ["--class=2", "--trunc=1", "--outdir", str(tmp_path / "out.zip")]
    finished = subprocess.run(command, cwd=repository_dir, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "20 grey images of 16x16 pixels" in finished.stdout
    assert "generating 20/20" in finished.stderr
    assert len(ImageDataset(tmp_path / "out.zip")) == 20

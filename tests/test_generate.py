"""generate.py as a user types it, on tiny untrained networks."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
import torch
from click.testing import CliRunner, Result

import generate
from spine_ext.convert import convert
from spine_ext.dicom_pixels import read_radiograph
from stylegan2ada.checkpoint import load
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.projected_w import save_projected_w
from stylegan2ada.sampling import images_of_seeds, ws_of_seeds
from tests.tiny_networks import CLASSES, assert_one_line, save_network


@pytest.fixture
def unconditional(tmp_path) -> Path:
    return save_network(tmp_path / "unconditional.safetensors")


@pytest.fixture
def conditional(tmp_path) -> Path:
    return save_network(tmp_path / "conditional.safetensors", class_names=CLASSES)


def run(network: Path, outdir: Path | None, *options: object, seeds: str | None = "0-4") -> Result:
    arguments = ["--network", network, "--device", "cpu"]
    arguments += [] if outdir is None else ["--outdir", outdir]
    arguments += [*([] if seeds is None else ["--seeds", seeds]), *options]
    return CliRunner().invoke(generate.main, [str(argument) for argument in arguments])


def read_png(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        assert image.mode in ("L", "RGB")
        return np.array(image)


def cells_in(picture: np.ndarray, network: Path, seeds: Sequence[int], classes: list, psi: float = 1.0) -> int:
    """How many images of all seeds in all classes stand somewhere in the picture."""
    G = load(network).generator
    windows = np.lib.stride_tricks.sliding_window_view(picture, (16, 16))
    found = 0
    for one in classes:
        for image in images_of_seeds(G, list(seeds), None if one is None else [one] * len(seeds), psi):
            differences = np.abs(windows.astype(np.int16) - image.pixels[0]).max(axis=(2, 3))
            found += differences.min() <= 1  # batches differ in rounding
    return found


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


class TestClasses:
    def test_every_seed_in_every_class(self, conditional, tmp_path):
        result = run(conditional, tmp_path / "out", "--class", "Osteophytes", "--class", 0, "--class", 1, seeds="4,2")
        assert result.exit_code == 0, result.output
        names = [f"seed000{seed}-class{one}.png" for seed in (2, 4) for one in (0, 1)]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
        expected = next(images_of_seeds(load(conditional).generator, [4], [1])).pixels[0]
        np.testing.assert_array_equal(read_png(tmp_path / "out" / "seed0004-class1.png"), expected)

    def test_all(self, conditional, tmp_path):
        assert run(conditional, tmp_path / "out.zip", "--class", "all", seeds="0-1").exit_code == 0
        labels = ImageDataset(tmp_path / "out.zip", use_labels=True).labels
        np.testing.assert_array_equal(labels.argmax(axis=1), [0, 0, 1, 1, 2, 2])


class TestGrid:
    def test_a_row_for_each_class(self, conditional, tmp_path):
        result = run(conditional, tmp_path / "out", "--class", "all", "--grid", tmp_path / "g.png", seeds="0-3")
        assert result.exit_code == 0, result.output
        assert len(list((tmp_path / "out").iterdir())) == 12
        assert cells_in(read_png(tmp_path / "g.png"), conditional, [0, 1, 2, 3], [0, 1, 2]) == 12

    def test_alone_and_in_several_rows(self, unconditional, tmp_path):
        result = run(unconditional, None, "--grid", tmp_path / "g.png", seeds="0-19")
        assert result.exit_code == 0, result.output
        assert cells_in(read_png(tmp_path / "g.png"), unconditional, range(20), [None]) == 20
        assert read_png(tmp_path / "g.png").shape == (2 * 16 + 2, 16 * 16 + 15 * 2)

    def test_truncation_sweep(self, conditional, tmp_path):
        result = run(conditional, None, "--class", 2, "--grid", tmp_path / "g.png", "--trunc-sweep", "0,0.5,1")
        assert result.exit_code == 0, result.output
        picture = read_png(tmp_path / "g.png")
        for psi in (0, 0.5, 1):
            assert cells_in(picture, conditional, range(5), [2], psi) == 5

    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            ([], ["nothing to write", "--grid"]),
            (["--grid", "g.jpg"], ["g.jpg", "ends in .png"]),
            (["--grid", "unconditional.safetensors/g.png"], ["--grid", "cannot be written"]),
            (["--trunc-sweep", "0,1"], ["nothing to write"]),
            (["--trunc-sweep", "0,x", "--grid", "g.png"], ["--trunc-sweep 0,x", "'x' is no number"]),
            (["--trunc-sweep", "0,nan", "--grid", "g.png"], ["--trunc-sweep", "nan is not a finite number"]),
            (["--trunc-sweep", "0,1e300", "--grid", "g.png"], ["--trunc-sweep 1e+300", "around 0 to 1"]),
            (["--trunc-sweep", "0,1", "--grid", "g.png", "--trunc", "0.5"], ["--trunc-sweep", "neither"]),
            (["--grid", "missing/../g.png", "--seeds", "0-999999"], ["1,000,000 images of 16 px are too many"]),
        ],
    )
    def test_mistakes(self, unconditional, tmp_path, monkeypatch, options, parts):
        monkeypatch.chdir(tmp_path)
        assert_one_line(run(unconditional, None, *options), *parts)
        assert [path.name for path in tmp_path.iterdir()] == [unconditional.name]


class TestDicom:
    def test_our_reader_gives_the_pixels_back(self, conditional, tmp_path):
        assert run(conditional, tmp_path / "out", "--format", "dicom", seeds="5,3").exit_code == 0
        for seed in (3, 5):
            expected = next(images_of_seeds(load(conditional).generator, [seed], [seed % 3])).pixels[0]
            np.testing.assert_array_equal(read_radiograph(tmp_path / "out" / f"seed000{seed}.dcm"), expected)

    def test_one_series_that_says_what_it_is(self, tmp_path):
        network = save_network(tmp_path / "n.safetensors", class_names=CLASSES, notes=("drawn shapes",))
        assert run(network, tmp_path / "out", "--format", "dicom", "--class", "all", seeds="7-8").exit_code == 0
        files = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
        assert len({file.SeriesInstanceUID for file in files}) == len({file.PatientID for file in files}) == 1
        assert len({file.SOPInstanceUID for file in files}) == 6
        assert sorted(file.InstanceNumber for file in files) == [1, 2, 3, 4, 5, 6]
        comment = pydicom.dcmread(tmp_path / "out" / "seed0008-class1.dcm").ImageComments
        assert all(part in comment for part in ("SYNTHETIC", "Class 1 (Osteophytes)", "Seed 8", "drawn shapes"))

    def test_burned_in_word(self, tmp_path):
        network = save_network(tmp_path / "n.safetensors", resolution_px=64)
        assert run(network, tmp_path / "a", "--format", "dicom", seeds="1").exit_code == 0
        assert run(network, tmp_path / "b", "--format", "dicom", "--burn-in", seeds="1").exit_code == 0
        plain, marked = (read_radiograph(tmp_path / name / "seed0001.dcm") for name in "ab")
        np.testing.assert_array_equal(plain[:48], marked[:48])
        word = marked[-8:, :48]
        assert word.min() == 0 and word.max() > 200 and np.abs(word.astype(int) - plain[-8:, :48]).mean() > 30

    def test_the_dicom_tool_converts_the_folder(self, tmp_path):
        network = save_network(tmp_path / "n.safetensors", resolution_px=64)
        assert run(network, tmp_path / "out", "--format", "dicom").exit_code == 0
        rows = "".join(f"seed000{seed},{'No finding' if seed % 2 else 'Osteophytes'}\n" for seed in range(5))
        (tmp_path / "a.csv").write_text(f"image_id,lesion_type\n{rows}")
        report = convert(tmp_path / "out", tmp_path / "a.csv", tmp_path / "d.zip", resolution=64, min_side_px=64)
        assert (report.converted, len(report.rejects)) == (5, 0)
        expected = next(images_of_seeds(load(network).generator, [2])).pixels
        np.testing.assert_array_equal(ImageDataset(tmp_path / "d.zip")[2][0], expected)

    @pytest.mark.parametrize(
        ("outdir", "options", "parts"),
        [
            ("out.zip", ["--format", "dicom"], ["--format dicom", "--outdir that is a folder"]),
            (None, ["--format", "dicom", "--grid", "g.png"], ["--format dicom", "folder"]),
            ("out", ["--burn-in"], ["--burn-in", "--format dicom"]),
            ("out", ["--format", "dicom", "--burn-in"], ["--burn-in", "16x16 pixels"]),
        ],
    )
    def test_mistakes(self, unconditional, tmp_path, outdir, options, parts):
        assert_one_line(run(unconditional, outdir and tmp_path / outdir, *options), *parts)


class TestProjectedW:
    def test_makes_the_image_of_the_latent(self, conditional, tmp_path):
        G = load(conditional).generator
        save_projected_w(tmp_path / "w.npz", ws_of_seeds(G, [5, 6], [1, 2]), {})
        result = run(conditional, tmp_path / "out", "--projected-w", tmp_path / "w.npz", seeds=None)
        assert result.exit_code == 0, result.output
        expected = [image.pixels[0] for image in images_of_seeds(G, [5, 6], [1, 2])]
        for index in range(2):
            np.testing.assert_array_equal(read_png(tmp_path / "out" / f"proj0{index}.png"), expected[index])

    def test_zip_has_no_labels(self, conditional, tmp_path):
        save_projected_w(tmp_path / "w.npz", ws_of_seeds(load(conditional).generator, [5], [1]), {})
        arguments = ["--projected-w", tmp_path / "w.npz"]
        assert run(conditional, tmp_path / "out.zip", *arguments, seeds=None).exit_code == 0
        assert len(ImageDataset(tmp_path / "out.zip")) == 1

    @pytest.mark.parametrize(
        ("seeds", "options", "parts"),
        [
            ("0-4", [], ["either --seeds", "or --projected-w"]),
            (None, ["--class", "1"], ["leave out --class"]),
            (None, ["--trunc", "0.5"], ["--trunc"]),
            (None, [], ["w.npz", "no such file"]),
        ],
    )
    def test_mistakes(self, unconditional, tmp_path, seeds, options, parts):
        arguments = ["--projected-w", tmp_path / "w.npz", *options]
        assert_one_line(run(unconditional, tmp_path / "out", *arguments, seeds=seeds), *parts)


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

    @pytest.mark.parametrize("trunc", ["nan", "inf", "x", "1e+300", "-1e+06"])
    def test_truncation(self, unconditional, tmp_path, trunc):
        assert_one_line(run(unconditional, tmp_path / "out", "--trunc", trunc), "--trunc", trunc)

    @pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is such a device")
    def test_device_that_is_not_there(self, unconditional, tmp_path):
        result = run(unconditional, tmp_path / "out", "--device", "mps")
        assert_one_line(result, "--device mps", "no Apple GPU", "--device cpu")

    def test_outdir_is_a_file(self, unconditional, tmp_path):
        (tmp_path / "out").write_text("")
        assert_one_line(run(unconditional, tmp_path / "out"), "is a file")

    def test_grid_is_a_folder(self, unconditional, tmp_path):
        (tmp_path / "g.png").mkdir()
        assert_one_line(run(unconditional, None, "--grid", tmp_path / "g.png"), "--grid", "g.png is a folder")

    def test_outdir_below_a_file(self, unconditional, tmp_path):
        (tmp_path / "file").write_text("")
        assert_one_line(run(unconditional, tmp_path / "file" / "out"), "cannot write")


def test_from_the_shell(conditional, tmp_path, repository_dir):
    command = [sys.executable, "generate.py", "--network", str(conditional), "--seeds=0-19"]
    command += ["--class=2", "--trunc=1", "--outdir", str(tmp_path / "out.zip")]
    finished = subprocess.run(command, cwd=repository_dir, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "20 grey images of 16x16 pixels" in finished.stdout
    assert "generating 20/20" in finished.stderr
    assert len(ImageDataset(tmp_path / "out.zip")) == 20

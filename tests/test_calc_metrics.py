"""calc_metrics.py as a user types it, on toy images and tiny networks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import calc_metrics
from calc_metrics import main
from spine_ext.classifier import SpineClassifier, save_classifier
from spine_ext.measuring import watched_run
from stylegan2ada import checkpoint
from stylegan2ada.checkpoint import Snapshot
from stylegan2ada.processes import Processes
from tests.metrics.toy_sources import ToyInception, ToyVgg16, save_script
from tests.tiny_networks import assert_one_line, save_network
from tests.toy_images import write_toy_zip

NAMES = ("normal", "abnormal")
NOTICE = "synthetic shapes, not clinical data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Made once; tests write into folders of their own."""
    folder = tmp_path_factory.mktemp("calc-metrics")
    write_toy_zip(folder / "real.zip", [0, 1] * 40, seed=1, notice=NOTICE)
    write_toy_zip(folder / "fakes.zip", [0, 1] * 36, seed=2)
    write_toy_zip(folder / "three.zip", [0, 1, 2] * 4, names=["a", "b", "c"], seed=3)
    save_network(folder / "network-snapshot-000001.safetensors", class_names=NAMES, resolution_px=32)
    save_network(folder / "unconditional.safetensors", resolution_px=32)
    save_network(folder / "small.safetensors", class_names=NAMES)
    save_network(folder / "rgb.safetensors", num_channels=3, class_names=NAMES, resolution_px=32)
    save_network(folder / "broken.safetensors", class_names=NAMES, resolution_px=32, broken=True)
    save_script(ToyInception(), folder / "toy-inception.pt")
    save_script(ToyVgg16(), folder / "toy-vgg16.pt")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SPINEGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """Runs with the toy detectors, and with {} in arguments replaced by the folder of toys."""
    monkeypatch.chdir(tmp_path)
    detectors = f"inception={folder}/toy-inception.pt,vgg16={folder}/toy-vgg16.pt"

    def call(*arguments: str, detector: str | None = detectors) -> Result:
        options = [] if detector is None else ["--detector", detector]
        texts = [argument.replace("{}", str(folder)) for argument in arguments]
        return CliRunner().invoke(main, [*texts, *options, "--device=cpu"], catch_exceptions=False)

    return call


def lines_of(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


NETWORK = ("--network", "{}/network-snapshot-000001.safetensors", "--data", "{}/real.zip")
IMAGES = ("--images", "{}/fakes.zip", "--data", "{}/real.zip")


class TestNetwork:
    def test_all_metrics_of_a_network(self, run, tmp_path):
        metrics = "fid70_full,kid70_full,pr703_full,dc705,is70,ppl2_wend_64"
        result = run(*NETWORK, "--metrics", metrics, "--outdir", "out", "--seed=3")
        lines = lines_of(result)
        assert [line["metric"] for line in lines] == metrics.split(",")
        values = {key: value for line in lines for key, value in line["results"].items()}
        assert list(values) == [
            "fid70_full", "kid70_full", "pr703_full_precision", "pr703_full_recall", "dc705_density", "dc705_coverage",
            "is70_mean", "is70_std", "ppl2_wend_64",
        ]  # fmt: skip
        assert values["fid70_full"] > 0
        assert values["ppl2_wend_64"] > 0
        assert 1 <= values["is70_mean"] <= 5
        first = lines[0]
        assert (first["num_real"], first["num_fake"], first["seed"], first["kimg"]) == (80, 70, 3, 1.0)
        assert first["snapshot_pkl"] == "network-snapshot-000001.safetensors"
        assert list(first["detectors"]) == ["inception"]
        assert len(first["detectors"]["inception"]) == len(first["data_key"]) == 64
        assert first["notes"] == [NOTICE]
        assert NOTICE in result.stderr
        for line in lines:
            kept = (tmp_path / "out" / f"metric-{line['metric']}.jsonl").read_text().splitlines()
            assert [json.loads(one) for one in kept] == [line]
        assert "fid70_full" in result.stderr

    def test_values_neither_depend_on_the_batch_nor_on_kept_features(self, run, cache):
        found = [
            lines_of(run(*NETWORK, "--metrics=pr703_full,fid70_full", "--outdir=out", *more))
            for more in ((), (), ("--batch=64",), ("--no-cache",))
        ]
        assert len(list((cache / "features").iterdir())) == 2
        for lines in found[1:]:
            for line, first in zip(lines, found[0], strict=True):
                assert line["results"] == pytest.approx(first["results"], rel=1e-3)
        other = lines_of(run(*NETWORK, "--metrics=fid70_full", "--seed=1", "--outdir=out"))[0]["results"]["fid70_full"]
        assert other != pytest.approx(found[0][1]["results"]["fid70_full"], rel=1e-6)

    def test_lines_go_to_the_folder_of_the_network(self, run, folder):
        lines_of(run(*NETWORK, "--metrics=fid66_full"))
        assert (folder / "metric-fid66_full.jsonl").is_file()

    def test_classes(self, run):
        per_class = lines_of(run(*NETWORK, "--metrics=fid128_full", "--per-class", "--outdir=o"))[0]["per_class"]
        assert list(per_class) == list(NAMES)
        assert sum(one["num_fake"] for one in per_class.values()) == 128
        assert [one["num_real"] for one in per_class.values()] == [40, 40]
        one = lines_of(run(*NETWORK, "--metrics=fid64_full", "--classes=abnormal", "--per-class", "--outdir=o"))[0]
        assert (one["num_real"], one["classes"]) == (40, ["abnormal"])
        assert one["per_class"]["abnormal"]["num_fake"] == 64

    def test_mirrored_reals_are_twice_as_many(self, run):
        assert lines_of(run(*NETWORK, "--metrics=fid64_full", "--mirror", "--outdir=o"))[0]["num_real"] == 160

    def test_unconditional_networks_and_metrics_without_real_images(self, run):
        network = "{}/unconditional.safetensors"
        lines_of(run("--network", network, "--data", "{}/real.zip", "--metrics=fid64_full", "--outdir=o"))
        line = lines_of(run("--network", network, "--metrics=is64", "--outdir=o"))[0]
        assert (line["num_real"], line["data"]) == (None, None)


class TestImages:
    def test_a_generated_dataset(self, run, tmp_path):
        line = lines_of(run(*IMAGES, "--metrics=fid72_full", "--per-class"))[0]
        assert (line["snapshot_pkl"], line["images"], line["num_real"], line["num_fake"]) == (None, "fakes", 80, 72)
        assert line["per_class"]["normal"]["num_fake"] == 36
        assert list(tmp_path.glob("*.jsonl")) == []

    def test_a_set_with_itself_has_no_distance(self, run):
        line = lines_of(run("--images", "{}/real.zip", "--data", "{}/real.zip", "--metrics=fid80_full"))[0]
        assert abs(line["results"]["fid80_full"]) < 1e-3

    def test_real_baselines(self, run):
        half = lines_of(run("--real-baseline", "--data", "{}/real.zip", "--metrics=fid40_full"))[0]
        assert (half["num_real"], half["num_fake"]) == (40, 40)
        assert (half["data"], half["images"]) == ("real (half 1)", "real (half 2)")
        other = ("--real-baseline", "--data", "{}/real.zip", "--baseline-data", "{}/fakes.zip")
        line = lines_of(run(*other, "--metrics=fid72_full"))[0]
        assert line["results"] == lines_of(run(*IMAGES, "--metrics=fid72_full"))[0]["results"]

    def test_a_classifier_needs_no_other_file(self, run, tmp_path):
        save_classifier(SpineClassifier(NAMES, 32), tmp_path / "c.safetensors")
        path_lengths = run(*NETWORK, "--metrics=ppl2_wend_64", "--outdir=out", detector="classifier:c.safetensors")
        assert lines_of(path_lengths)[0]["results"]["ppl2_wend_64"] > 0
        lines = lines_of(run(*IMAGES, "--metrics=fid72_full,is72", detector="classifier:c.safetensors"))
        assert list(lines[0]["detectors"]) == ["spine-classifier"]
        assert 1 <= lines[1]["results"]["is72_mean"] <= 2


class TestCache:
    def test_a_corrupt_one_is_rebuilt_and_told(self, run, cache):
        first = run(*IMAGES, "--metrics=fid72_full")
        (path,) = (cache / "features").iterdir()
        path.write_bytes(path.read_bytes()[:-7])
        second = run(*IMAGES, "--metrics=fid72_full")
        assert "are unusable" in second.stderr
        assert lines_of(second)[0]["results"] == lines_of(first)[0]["results"]
        assert "are unusable" not in run(*IMAGES, "--metrics=fid72_full").stderr


class TestWatch:
    def test_snapshots_are_measured_as_they_appear(self, run, tmp_path, monkeypatch):
        folder = tmp_path / "run"
        folder.mkdir()
        save_network(folder / "network-snapshot-000000.safetensors", class_names=NAMES, resolution_px=32)
        waits = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                raise KeyboardInterrupt
            save_network(folder / "network-snapshot-000004.safetensors", class_names=NAMES, resolution_px=32)

        monkeypatch.setattr(watched_run.time, "sleep", sleep)
        result = run("--watch", "run", "--data", "{}/real.zip", "--metrics=fid64_full")
        assert result.exit_code == 130
        lines = [json.loads(line) for line in (folder / "metric-fid64_full.jsonl").read_text().splitlines()]
        assert [line["snapshot_pkl"] for line in lines] == sorted(path.name for path in folder.glob("*.safetensors"))
        waits.clear()
        run("--watch", "run", "--data", "{}/real.zip", "--metrics=fid64_full")  # nothing is new
        assert len((folder / "metric-fid64_full.jsonl").read_text().splitlines()) == 2

    def test_one_that_is_pruned_or_holds_nan_is_passed_over(self, run, tmp_path, monkeypatch):
        folder = tmp_path / "run"
        folder.mkdir()
        for number, broken in enumerate([False, True, False]):
            path = folder / f"network-snapshot-00000{number}.safetensors"
            save_network(path, class_names=NAMES, resolution_px=32, broken=broken)

        def load(path: Path, device: object) -> Snapshot:
            if path.name == "network-snapshot-000000.safetensors":
                path.unlink()
            return checkpoint.load(path, device)

        def sleep(seconds: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(calc_metrics, "load", load)
        monkeypatch.setattr(watched_run.time, "sleep", sleep)
        result = run("--watch", "run", "--data", "{}/real.zip", "--metrics=fid64_full")
        assert result.exit_code == 130
        assert "network-snapshot-000000.safetensors is not measured: " in result.stderr
        assert "network-snapshot-000001.safetensors is not measured: the image of" in result.stderr
        (line,) = (folder / "metric-fid64_full.jsonl").read_text().splitlines()
        assert json.loads(line)["snapshot_pkl"] == "network-snapshot-000002.safetensors"

    def test_what_one_process_cannot_read_no_process_measures(self):
        class Group(Processes):
            def any(self, flag: bool) -> bool:
                return True

        said = []
        assert watched_run.attempt(lambda: 1, (OSError,), "a", Group(), said.append) is None
        assert said == ["a is not measured: another process cannot read it"]


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            ((), ("nothing to measure: give one of --network, --images",)),
            (("--network=a", "--images=b"), ("--network and --images exclude each other",)),
            (("--network", "{}/gone.safetensors", "--data", "{}/real.zip"), ("gone.safetensors",)),
            (("--network", "{}/network-snapshot-000001.safetensors"), ("fid50k_full compares", "--data ZIP")),
            (("--real-baseline", "--metrics=is50"), ("--real-baseline compares", "--data ZIP")),
            (("--images=x", "--baseline-data=y", "--data=z"), ("--baseline-data is for --real-baseline",)),
            ((*NETWORK, "--metrics=fid5k_half"), ("no metric 'fid5k_half'", "ppl2_wend")),
            ((*NETWORK, "--batch=3"), ("--batch 3 does not divide 64",)),
            ((*NETWORK, "--trunc=nan"), ("--trunc nan",)),
            (IMAGES, ("fakes has 72 images, fewer than the 50000 of fid50k_full: ask for fid72_full",)),
            (("--real-baseline", "--data", "{}/real.zip"), ("(half 2) has 40 images", "ask for fid40_full")),
            ((*IMAGES, "--metrics=ppl2_wend"), ("ppl2_wend needs a generator",)),
            (
                (*NETWORK, "--classes=osteoma"),
                ("--classes osteoma:", "no such class; choose a number from 0 to 1 or a name: normal, abnormal"),
            ),
            (("--images", "{}/fakes.zip", "--data", "{}/three.zip", "--per-class"), ("a, b, c", "normal, abnormal")),
            (("--network", "{}/small.safetensors", "--data", "{}/real.zip"), ("16 pixels a side", "real has 32")),
            (("--network", "{}/rgb.safetensors", "--data", "{}/real.zip"), ("3 channels", "real has 1")),
            (
                ("--network", "{}/network-snapshot-000001.safetensors", "--data", "{}/three.zip"),
                ("2 classes, three has 3",),
            ),
            (
                ("--network", "{}/unconditional.safetensors", "--data", "{}/real.zip", "--per-class"),
                ("--per-class: unconditional.safetensors is unconditional",),
            ),
            (
                ("--network", "{}/broken.safetensors", "--data", "{}/real.zip", "--metrics=fid64_full"),
                ("broken.safetensors", "take another snapshot"),
            ),
            (("--watch=nowhere", "--data=x"), ("--watch nowhere: there is no such folder",)),
        ],
    )
    def test_one_line(self, run, arguments, parts):
        assert_one_line(without_progress(run(*arguments)), *parts)

    @pytest.mark.parametrize(
        ("detector", "parts"),
        [
            ("classifier:gone.safetensors", ("gone.safetensors",)),
            ("classifier", ("--detector classifier: name its file",)),
            ("dino", ("--detector dino: choose auto, inception, classifier:FILE",)),
            ("inception=gone.pt", ("there is no file gone.pt",)),
            ("{}/real.zip.pt", ("cannot be read",)),
            ("inception={}/real.zip", ("real.zip is damaged or no TorchScript file",)),
            ("inception={}/toy-vgg16.pt", ("toy-vgg16.pt is no such detector",)),
        ],
    )
    def test_detectors(self, run, folder, detector, parts):
        result = run(*IMAGES, "--metrics=fid72_full", detector=detector.replace("{}", str(folder)))
        assert_one_line(result, *parts)

    def test_without_a_network_the_error_says_what_to_fetch_and_what_works_without(self, run, cache, monkeypatch):
        def offline(*_, **__):
            raise OSError("Network is unreachable")

        monkeypatch.setattr("urllib.request.OpenerDirector.open", offline)
        result = run(*IMAGES, "--metrics=fid72_full", detector=None)
        last = result.output.splitlines()[-1]
        assert result.exit_code == 2
        assert "metrics/inception-2015-12-05.pt" in last
        assert f"put that file at {cache / 'detectors' / 'inception-2015-12-05.pt'}" in last
        assert "--detector classifier:FILE works without" in last

    def test_a_class_without_images(self, run, tmp_path):
        write_toy_zip(tmp_path / "normal.zip", [0] * 20)
        result = run("--images", "normal.zip", "--data", "{}/real.zip", "--classes=abnormal", "--metrics=fid20")
        assert_one_line(result, "--classes abnormal: normal.zip has no image of that class")


def without_progress(result: Result) -> Result:
    """The lines of progress that came before the error are fine."""
    shown = [line for line in result.output.splitlines(keepends=True) if "image/s" not in line]
    result.output_bytes = "".join(shown).encode()
    return result


def test_two_processes_give_the_numbers_of_one(folder, tmp_path, cache, repository_dir):
    def numbers(*more: str) -> list[dict]:
        command = [
            sys.executable, repository_dir / "calc_metrics.py",
            "--network", folder / "network-snapshot-000001.safetensors", "--data", folder / "real.zip",
            "--metrics=fid150_full,pr1503_full,kid150,ppl2_wend_64", "--device=cpu",
            "--detector", f"inception={folder}/toy-inception.pt,vgg16={folder}/toy-vgg16.pt", "--per-class",
            "--outdir", tmp_path / "out", "--no-cache", *more,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    for one, two in zip(numbers(), numbers("--gpus=2"), strict=True):
        assert two["num_gpus"] == 2
        assert two["results"] == pytest.approx(one["results"], rel=1e-6)
        for name, found in (one["per_class"] or {}).items() if "per_class" in one else ():
            assert two["per_class"][name]["results"] == pytest.approx(found["results"], rel=1e-6)

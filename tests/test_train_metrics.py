"""train.py --metrics as a user types it: lines, the best network, resuming, and what cannot be had."""

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import train
from metrics import names
from spine_ext.classifier import SpineClassifier, save_classifier
from spine_ext.measuring.compared_images import shuffled
from spine_ext.run_plan import plan_run
from spine_ext.run_request import RunRequest, Workplace
from stylegan2ada import load
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.options import RunOptions
from tests.toy_images import write_toy_zip

TINY = (
    "--cfg=stylegan2-ada --channel-base=64 --channel-max=4 --latent=4 --tick=0.016 --snap=1 --batch=4 --workers=0 "
    "--precision=fp32 --seed=5 --kimg=0.048"
).split()
MEASURED = ["--metrics=fid70_full,is20", "--detector=classifier"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_toy_zip(folder / "toy.zip", [0, 1] * 10)
    torch.manual_seed(0)
    save_classifier(SpineClassifier(["normal", "abnormal"], 32), folder / "classifier.safetensors")
    return folder


def run(files: Path, *arguments: object, outdir: Path) -> Result:
    places = ["--outdir", outdir, "--cache-dir", files / "cache", "--device", "cpu", "--data", files / "toy.zip"]
    command = [*places, *TINY, "--classifier", files / "classifier.safetensors", *arguments]
    return CliRunner().invoke(train.main, [str(argument) for argument in command])


def only_run(outdir: Path) -> Path:
    (folder,) = outdir.glob("0*-*")
    return folder


def lines_of(folder: Path, metric: str) -> list[dict]:
    """Without what differs from day to day."""
    lines = [json.loads(line) for line in (folder / f"metric-{metric}.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if "time" not in name} for line in lines]


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory) -> Path:
    outdir = tmp_path_factory.mktemp("finished")
    result = run(files, *MEASURED, outdir=outdir)
    assert result.exit_code == 0, result.output
    return only_run(outdir)


class TestRuns:
    def test_lines_are_official_and_say_what_they_rest_on(self, finished):
        lines = lines_of(finished, "fid70_full")
        assert [line["kimg"] for line in lines] == [0.016, 0.032, 0.048]
        for line in lines:
            assert line["results"].keys() == {"fid70_full"}
            assert (line["num_real"], line["num_fake"], line["seed"]) == (20, 70, 5)
            assert line["snapshot_pkl"] == "network-snapshot-000000.safetensors"
            assert [len(sha256) for sha256 in line["detectors"].values()] == [64]
        assert lines_of(finished, "is20")[0]["results"].keys() == {"is20_mean", "is20_std"}

    def test_the_best_network_is_kept(self, finished):
        best = json.loads((finished / "best.json").read_text())
        values = {line["kimg"]: line["results"]["fid70_full"] for line in lines_of(finished, "fid70_full")}
        assert best["value"] == min(values.values())
        assert load(finished / "best-network.safetensors").kimg == best["kimg"]

    def test_a_run_in_parts_has_the_same_lines(self, files, finished, tmp_path, monkeypatch):
        """Killed while it measures the second snapshot; the options are those of the folder."""
        measure, calls = train.measure, []

        def killed(*arguments, **options):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return measure(*arguments, **options)

        monkeypatch.setattr(train, "measure", killed)
        assert run(files, *MEASURED, outdir=tmp_path).exit_code == 130
        monkeypatch.undo()
        folder = only_run(tmp_path)
        result = CliRunner().invoke(train.main, ["--resume", str(folder), "--device", "cpu"])
        assert result.exit_code == 0, result.output
        for metric in ("fid70_full", "is20"):
            assert lines_of(folder, metric) == lines_of(finished, metric)
        assert (folder / "best.json").read_text() == (finished / "best.json").read_text()

    def test_a_run_may_be_measured_by_something_else_when_it_goes_on(self, files, tmp_path):
        assert run(files, "--metrics=none", "--kimg=0.016", outdir=tmp_path).exit_code == 0
        result = run(files, *MEASURED, "--kimg=0.032", "--resume=auto", outdir=tmp_path)
        assert result.exit_code == 0, result.output
        assert [line["kimg"] for line in lines_of(only_run(tmp_path), "fid70_full")] == [0.016, 0.032]

    def test_metrics_do_not_change_the_run(self, files, finished, tmp_path):
        assert run(files, "--metrics=none", outdir=tmp_path).exit_code == 0
        ours, theirs = (
            load(folder / "network-snapshot-000000.safetensors") for folder in (only_run(tmp_path), finished)
        )
        state = theirs.generator_raw.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in ours.generator_raw.state_dict().items())
        assert not list(only_run(tmp_path).glob("metric-*"))

    @pytest.mark.slow
    def test_in_the_background_the_lines_are_the_same(self, files, finished, tmp_path):
        result = run(files, *MEASURED, "--metrics-process=background", outdir=tmp_path)
        assert result.exit_code == 0, result.output
        for metric in ("fid70_full", "is20"):
            ours, theirs = lines_of(only_run(tmp_path), metric), lines_of(finished, metric)
            assert [line["kimg"] for line in ours] == [line["kimg"] for line in theirs]
            for line, other in zip(ours, theirs, strict=True):
                assert line["results"] == pytest.approx(other["results"], rel=1e-3)

    def test_where_a_metric_takes_a_part_of_the_real_images_the_seed_draws_them(self, files, finished, monkeypatch):
        monkeypatch.setattr(names, "LEGACY_MAX_REAL", 5)
        taken, images = [], ImageDataset(files / "toy.zip", use_labels=True)
        monkeypatch.setattr(train, "measure", lambda names, real, *_, **__: taken.append(real.key) or [])
        generator, classifier = load(finished / "best-network.safetensors").generator, files / "classifier.safetensors"
        for metric in ("fid70", "fid70_full"):
            train.SnapshotMeasure(
                (metric,), "classifier", torch.device("cpu"), files / "cache", 3, images, classifier
            )([metric], generator)  # fmt: skip
        assert taken == [shuffled(images, 3).fingerprint(), images.fingerprint()]

    def test_a_failing_metric_does_not_stop_the_run(self, files, tmp_path, monkeypatch):
        def broken(*arguments, **options):
            raise RuntimeError("out of memory\nmore of it")

        monkeypatch.setattr(train, "measure", broken)
        result = run(files, *MEASURED, "--kimg=0.016", outdir=tmp_path)
        assert result.exit_code == 0, result.output
        assert "is20 failed: out of memory" in result.output
        (line,) = lines_of(only_run(tmp_path), "fid70_full")
        assert line["error"] == "out of memory"
        assert not (only_run(tmp_path) / "best.json").exists()

    def test_a_failing_judgement_does_not_stop_the_run(self, files, tmp_path, monkeypatch):
        def broken(*arguments):
            raise RuntimeError("no memory left")

        monkeypatch.setattr("spine_ext.measuring.snapshot_evaluation.SnapshotEvaluation.measure", broken)
        result = run(files, "--test", files / "toy.zip", "--kimg=0.016", outdir=tmp_path)
        assert result.exit_code == 0, result.output
        assert "the judgement by the classifier failed: no memory left" in result.output
        assert "no closing numbers" in result.output


class TestWhatCannotBeHad:
    @pytest.fixture(autouse=True)
    def offline(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("SPINEGAN_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("stylegan2ada.download._download", self.refuse)

    @staticmethod
    def refuse(*arguments):
        raise OSError("no route to host")

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["--metrics=fid50k_full"], ["inception-2015-12-05.pt", "put that file at", "--detector"]),
            (["--metrics=pr50k3_full,fid1k_full"], ["inception-2015-12-05.pt|vgg16.pt"]),
            (["--metrics=fid1k_full", "--detector=gone.pt"], ["gone.pt"]),
            (["--metrics=fid1k_full", "--detector=magic"], ["magic"]),
            (["--metrics=fid1k_full", "--detector=classifier:gone.safetensors"], ["gone.safetensors"]),
            (["--metrics=fid1k_full", "--detector={files}/toy.zip"], ["toy.zip"]),
        ],
    )
    def test_is_an_error_before_the_training(self, files, tmp_path, arguments, parts):
        result = run(files, *[argument.format(files=files) for argument in arguments], outdir=tmp_path / "runs")
        assert result.exit_code == 2, result.output
        last = result.output.splitlines()[-1]
        assert last.startswith("Error: ")
        for part in parts:
            assert re.search(part, last)
        assert not (tmp_path / "runs").exists()

    def test_a_run_without_a_classifier(self, files, tmp_path):
        command = [
            "--data",
            files / "toy.zip",
            *TINY,
            *MEASURED,
            "--cfg=auto",
            "--outdir",
            tmp_path / "runs",
            "--device=cpu",
        ]
        result = CliRunner().invoke(train.main, [str(argument) for argument in command])
        assert result.exit_code == 2, result.output
        assert "this run has no classifier; give --detector classifier:FILE" in result.output
        assert not list((tmp_path / "runs").iterdir())

    def test_the_default_on_a_gpu_is_left_out_with_a_line(self, files, tmp_path):
        plan = self.plan(files, tmp_path, "cuda")
        said = []
        assert train.choose_metrics(plan, said.append) is None
        assert len(said) == 1
        assert said[0].startswith("metrics are off: cannot fetch")
        assert "inception-2015-12-05.pt" in said[0]

    def test_the_default_on_a_cpu_is_none(self, files, tmp_path):
        said = []
        assert train.choose_metrics(self.plan(files, tmp_path, "cpu"), said.append) is None
        assert said == [
            "metrics are off: a CPU takes hours for the official ones; such as --metrics=fid1k_full turns them on"
        ]

    def test_none_is_none_without_a_word(self, files, tmp_path):
        said = []
        assert train.choose_metrics(self.plan(files, tmp_path, "cuda", metrics="none"), said.append) is None
        assert said == []

    @staticmethod
    def plan(files: Path, folder: Path, device: str, metrics: str | None = None):
        request = RunRequest(RunOptions(precision="fp32", kernels="reference"), str(files / "toy.zip"), metrics=metrics)
        return plan_run(request, Workplace(folder, folder, torch.device(device)))

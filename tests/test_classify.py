"""classify.py as a user types it."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click.testing
import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import sklearn.metrics

import classify
from spine_ext.classifier import load_classifier
from spine_ext.default_run import NOTICE
from spine_ext.downstream.predictions import read_predictions
from spine_ext.evaluation import area_under_roc, predict
from spine_ext.statistics.delong import compare_aucs
from spine_ext.statistics.grouped_bootstrap import draw_resamples
from spine_ext.statistics.seeded_auc import difference, estimate, seeded_auc
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.dataset_writer import DatasetWriter
from tests.toy_images import write_toy_zip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    write_toy_zip(folder / "train.zip", [0, 1] * 8, seed=1)
    write_toy_zip(folder / "fakes.zip", [0, 1] * 6, seed=2)
    write_toy_zip(folder / "test.zip", [0, 1, 1] * 4, seed=3)
    write_toy_zip(folder / "lesions.zip", [0, 1, 2] * 4, ["none", "spur", "slip"])
    write_toy_zip(folder / "half.zip", [0, 0, 0])
    write_toy_zip(folder / "single.zip", [0, 0, 1])
    shutil.copy(folder / "train.zip", folder / "copy.zip")
    with DatasetWriter(folder / "large.zip", ["normal", "abnormal"]) as writer:
        for label in (0, 0, 1, 1):
            writer.add(np.zeros((64, 64), dtype=np.uint8), label)
    (folder / "text.zip").write_text("not a zip")
    return folder


def run(folder: Path, arguments: str) -> click.testing.Result:
    """Runs `classify.py arguments`, names of files being in `folder`."""
    words = [str(folder / word) if word.endswith(".zip") else word for word in arguments.split()]
    return click.testing.CliRunner().invoke(classify.main, words)


def test_a_classifier_of_phantoms_says_so(tmp_path: Path) -> None:
    for seed, name in enumerate(["train.zip", "test.zip"]):
        write_toy_zip(tmp_path / name, [0, 1] * 4, seed=seed, notice=NOTICE)
    arguments = f"--train train.zip --test test.zip --outdir {tmp_path}/run --epochs 1 --batch 4 --weights random"
    result = run(tmp_path, arguments)
    assert result.exit_code == 0, result.output
    assert NOTICE in result.output
    assert load_classifier(tmp_path / "run" / "classifier.safetensors").provenance.phantom
    assert json.loads((tmp_path / "run" / "results.json").read_text())["notes"] == [NOTICE]


def test_trains_tests_and_writes_everything(folder: Path, tmp_path: Path) -> None:
    result = run(
        folder, f"--train train.zip --test test.zip --outdir {tmp_path}/run --epochs 3 --batch 4 --weights random"
    )
    assert result.exit_code == 0, result.output
    run_dir = tmp_path / "run"
    plots = {"roc.png", "calibration.png", "confusion.png"}
    assert {file.name for file in run_dir.iterdir()} == {
        ".lock",
        "classifier.safetensors",
        "results.json",
        "predictions.csv",
        *plots,
    }
    for plot in plots:
        with PIL.Image.open(run_dir / plot) as picture:
            assert picture.size == (750, 750)
    results = json.loads((run_dir / "results.json").read_text())
    interval = f"[{results['low']:.4f}, {results['high']:.4f}] (DeLong)"
    assert f"Test AUC {results['test_auc']:.4f} {interval} on 12 images" in result.output
    assert (results["real_images"], results["synthetic_images"], results["test_images"]) == (16, 0, 12)
    assert results["training"]["epochs"] == len(results["history"]) == 3
    assert results["weights_origin"] == "random"

    classifier = load_classifier(run_dir / "classifier.safetensors")
    assert classifier.provenance.test_auc == results["test_auc"]
    test = ImageDataset(folder / "test.zip", use_labels=True)
    assert results["notes"] == []
    assert not classifier.provenance.phantom
    probabilities = predict(classifier, test)
    assert area_under_roc(test.labels, probabilities) == pytest.approx(results["test_auc"])
    with open(run_dir / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["normal", "abnormal", "abnormal"] * 4
    written = [float(row["probability of abnormal"]) for row in rows]
    np.testing.assert_allclose(written, probabilities[:, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "real", "synthetic"),
    [
        ("--train train.zip --synthetic fakes.zip --count 4", 16, 4),
        ("--train train.zip --synthetic fakes.zip", 16, 12),
        ("--synthetic fakes.zip --synthetic-only --count 10", 0, 10),
    ],
)
def test_synthetic_images(folder: Path, tmp_path: Path, options: str, real: int, synthetic: int) -> None:
    result = run(folder, f"{options} --test test.zip --outdir {tmp_path} --epochs 1 --batch 8 --weights random")
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["real_images"], results["synthetic_images"]) == (real, synthetic)
    assert results["phases"][0]["images"] == real + synthetic - results["validation"]["images"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--test test.zip", "--train ZIP is missing"),
        ("--train train.zip", "Missing option '--test'"),
        ("--train train.zip --test test.zip --count 4", "--count needs --synthetic"),
        ("--train train.zip --test test.zip --synthetic-only", "--synthetic-only needs --synthetic"),
        ("--train train.zip --test train.zip", "both training and test"),
        ("--train train.zip --synthetic test.zip --test test.zip", "both training and test"),
        ("--train train.zip --test lesions.zip", "lesions has the classes none, spur, slip"),
        ("--train train.zip --synthetic lesions.zip --test test.zip", "lesions has none, spur, slip"),
        ("--train train.zip --synthetic fakes.zip --count 40 --test test.zip", "6 images of normal"),
        ("--train train.zip --test half.zip", "half has no image of abnormal"),
        ("--train train.zip --test text.zip", "text.zip"),
        ("--train missing.zip --test test.zip", "missing.zip"),
        ("--train train.zip --test test.zip --epochs 0", "epochs is 0"),
        ("--train train.zip --test test.zip --lr nan", "learning rate is nan"),
        ("--train train.zip --test test.zip --weights nowhere.pth", "no file of weights nowhere.pth"),
        ("--train train.zip --test test.zip --seed -1", "--seed"),
        ("--train train.zip --test test.zip --device tpu", "tpu"),
        ("--train train.zip --test copy.zip", "both training and test"),
        ("--train train.zip --test single.zip", "single has a single image of abnormal"),
        ("--train train.zip --test large.zip", "train has images of 32 px, large of 64"),
        ("--train train.zip --test test.zip --pretrain-synthetic", "--pretrain-synthetic needs --synthetic"),
        ("--train train.zip --synthetic fakes.zip --synthetic-only --test test.zip", "leave out --train"),
        ("--train train.zip --test test.zip --seed 1 --seeds 0-1", "both given"),
        ("--train train.zip --test test.zip --seeds 3-x", "--seeds"),
        ("--train train.zip --test test.zip --threshold 2", "threshold is 2.0"),
        ("--train train.zip --test test.zip --threshold nan", "threshold is nan"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(folder: Path, tmp_path: Path, options: str, message: str) -> None:
    result = run(folder, f"{options} --outdir {tmp_path}/run")
    assert result.exit_code == 2
    last = result.stderr.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_the_same_command_reports_and_another_is_refused(folder: Path, tmp_path: Path) -> None:
    command = f"--train train.zip --test test.zip --outdir {tmp_path}/run --epochs 1 --batch 8 --weights random"
    first, again = run(folder, command), run(folder, command)
    assert first.exit_code == again.exit_code == 0, again.output
    assert "holds the result of this run already" in again.stderr
    assert first.stdout == again.stdout
    changes = {"--seed 1": "seed", "--threshold 0.3": "threshold", "--synthetic fakes.zip": "synthetic"}
    for change, named in changes.items():
        refused = run(folder, f"{command} {change}")
        assert refused.exit_code == 2
        assert f"holds a run with other {named}" in refused.stderr
    assert "of one seed" in run(folder, f"{command} --seeds 0-1").stderr


def test_a_folder_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    result = run(folder, f"--train train.zip --test test.zip --outdir {tmp_path}")
    assert result.exit_code == 2
    assert "holds a run of another kind" in result.stderr


def test_several_seeds_and_a_comparison(folder: Path, tmp_path: Path) -> None:
    options = "--test test.zip --epochs 2 --batch 8 --weights random --seeds 0,2"
    assert run(folder, f"--train train.zip {options} --outdir {tmp_path}/a").exit_code == 0
    alone = f"--synthetic fakes.zip --synthetic-only {options} --outdir {tmp_path}/b"
    result = run(folder, f"{alone} --compare {tmp_path}/a")
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "b" / "results.json").read_text())
    aucs = [json.loads((tmp_path / "b" / f"seed{seed}" / "results.json").read_text())["test_auc"] for seed in (0, 2)]
    assert [one["test_auc"] for one in summary["seeds"]] == aucs
    assert summary["mean_test_auc"] == pytest.approx(np.mean(aucs))
    assert summary["low"] <= summary["mean_test_auc"] <= summary["high"]
    assert summary["interval"] == "over seeds and test images"
    runs = {
        name: {seed: read_predictions(tmp_path / name / f"seed{seed}" / "predictions.csv") for seed in (0, 2)}
        for name in "ab"
    }
    for seed in (0, 2):
        ours, other = runs["b"][seed], runs["a"][seed]
        expected = compare_aucs(ours.classes, ours.probabilities[:, 1], other.probabilities[:, 1])
        written = json.loads((tmp_path / "b" / f"seed{seed}" / "comparison.json").read_text())
        assert {name: written[name] for name in ("difference", "low", "high", "z", "p")} == dataclasses.asdict(expected)
    written = json.loads((tmp_path / "b" / "comparison.json").read_text())
    differences = [one["difference"] for one in written["seeds"]]
    assert written["mean_difference"] == pytest.approx(np.mean(differences))
    test = draw_resamples(runs["a"][0].classes, None, seed=0)
    a, b = (seeded_auc(test, {seed: one.probabilities for seed, one in runs[name].items()}) for name in "ab")
    expected = estimate(difference(b, a))
    assert (written["low"], written["high"]) == (expected.low, expected.high)
    assert written["low"] < expected.mean < written["high"]
    assert f"{tmp_path}/b minus {tmp_path}/a: {np.mean(differences):+.4f} [" in result.stdout.splitlines()[-1]
    assert "holds runs of several seeds" in run(
        folder, f"--train train.zip --test test.zip --outdir {tmp_path}/a"
    ).stderr


def test_intervals_by_study_are_told_and_names_are_no_formulas(folder: Path, tmp_path: Path) -> None:
    names = ["$x_{", "100% $"]
    for seed, name in enumerate(["train.zip", "test.zip"]):
        write_toy_zip(tmp_path / name, [0, 1] * 6, names, seed, studies=[index // 3 for index in range(12)])
    options = "--train train.zip --test test.zip --epochs 1 --batch 4 --weights random"
    assert run(tmp_path, f"{options} --outdir {tmp_path}/a").exit_code == 0
    result = run(tmp_path, f"{options} --seed 1 --outdir {tmp_path}/b --compare {tmp_path}/a")
    assert result.exit_code == 0, result.output
    by_study = json.loads((tmp_path / "b" / "results.json").read_text())["interval_by_study"]
    assert f"(DeLong; by study [{by_study['low']:.4f}, {by_study['high']:.4f}])" in result.stdout
    by_study = json.loads((tmp_path / "b" / "comparison.json").read_text())["interval_by_study"]
    assert f"; by study [{by_study['low']:+.4f}, {by_study['high']:+.4f}])" in result.stdout

    (tmp_path / "a" / "predictions.csv").write_text("x" * 200_000)  # more than the reader takes
    refused = run(tmp_path, f"{options} --seed 1 --outdir {tmp_path}/b --compare {tmp_path}/a")
    assert "cannot be read as predictions" in refused.stderr


def test_a_full_disk_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise safetensors.SafetensorError("No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    result = run(folder, f"--train train.zip --test test.zip --outdir {tmp_path}/run --epochs 1 --weights random")
    assert result.exit_code == 2
    assert "No space left on device: files that were written before are whole" in result.stderr.splitlines()[-1]


def test_a_comparison_on_other_test_images_is_refused_before_the_training(folder: Path, tmp_path: Path) -> None:
    options = "--train train.zip --epochs 1 --batch 8 --weights random"
    assert run(folder, f"{options} --test test.zip --outdir {tmp_path}/a").exit_code == 0
    write_toy_zip(tmp_path / "other.zip", [0, 1, 1] * 4, seed=5)
    result = run(folder, f"{options} --test {tmp_path}/other.zip --outdir {tmp_path}/b --compare {tmp_path}/a")
    assert "was tested on other images than other" in result.stderr
    assert not (tmp_path / "b").exists()
    missing = run(folder, f"{options} --test test.zip --outdir {tmp_path}/b --compare {tmp_path}/nowhere")
    assert "holds no finished run" in missing.stderr


def test_several_classes_and_test_images_among_the_training_images(folder: Path, tmp_path: Path) -> None:
    names = ["none", "spur", "slip"]
    rng_of_train = 7
    write_toy_zip(tmp_path / "train.zip", [0, 1, 2] * 5, names, seed=rng_of_train)
    write_toy_zip(tmp_path / "test.zip", [0, 1, 2] * 2, names, seed=rng_of_train)  # the first six of the same stream
    result = run(tmp_path, f"--train train.zip --test test.zip --outdir {tmp_path}/run --epochs 1 --weights random")
    assert result.exit_code == 0, result.output
    assert "Warning: 6 of 6 test images are also training images" in result.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test_images_in_training"] == 6
    assert [one["class"] for one in results["per_class"]] == names
    predictions = read_predictions(tmp_path / "run" / "predictions.csv")
    labels = np.eye(3)[predictions.classes]
    assert results["test_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(labels, predictions.probabilities))
    assert results["low"] <= results["test_auc"] <= results["high"]
    refused = run(tmp_path, f"--train train.zip --test test.zip --outdir {tmp_path}/b --threshold 0.5")
    assert "is for two classes" in refused.stderr


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_never_stopped(folder: Path, tmp_path: Path, repository_dir: Path) -> None:
    options = "--synthetic fakes.zip --pretrain-synthetic --epochs 2 --batch 4 --weights random"
    arguments = f"--train train.zip --test test.zip {options}"
    words = [str(folder / word) if word.endswith(".zip") else word for word in arguments.split()]
    command = [sys.executable, "classify.py", *words, "--outdir", str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=repository_dir, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while not (tmp_path / "killed" / "training-state.safetensors").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "results.json").exists()

    again = run(folder, f"{arguments} --outdir {tmp_path}/killed")
    whole = run(folder, f"{arguments} --outdir {tmp_path}/whole")
    assert again.exit_code == whole.exit_code == 0, again.output
    assert "goes on after epoch" in again.stderr
    for name in ("predictions.csv", "classifier.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    killed, ran = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("killed", "whole"))
    assert len(killed["history"]) == len(ran["history"]) == 4
    for results in (killed, ran):
        results.pop("duration_sec")
        for epoch in results["history"]:
            epoch.pop("duration_sec")
    assert killed == ran


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_outdir_that_cannot_be_is_refused_before_the_training(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run(folder, f"--train train.zip --test test.zip --outdir {tmp_path}/{name}")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: --outdir {tmp_path}/{name} cannot be written")
    assert "Training on" not in result.output


def test_in_a_process_of_its_own(folder: Path, tmp_path: Path, repository_dir: Path) -> None:
    command = [sys.executable, "classify.py", "--train", folder / "half.zip", "--test", folder / "test.zip"]
    done = subprocess.run(
        [*command, "--outdir", tmp_path / "run"], cwd=repository_dir, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: half has no image of abnormal: every class needs images",
    ]

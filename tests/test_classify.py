"""classify.py as a user types it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import click.testing
import numpy as np
import pytest

import classify
from spine_ext.classifier import load_classifier
from spine_ext.default_run import NOTICE
from spine_ext.evaluation import area_under_roc, predict
from stylegan2ada.dataset import ImageDataset
from tests.toy_images import write_toy_zip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    write_toy_zip(folder / "train.zip", [0, 1] * 8, seed=1)
    write_toy_zip(folder / "fakes.zip", [0, 1] * 6, seed=2)
    write_toy_zip(folder / "test.zip", [0, 1, 1] * 4, seed=3)
    write_toy_zip(folder / "lesions.zip", [0, 1, 2] * 4, ["none", "spur", "slip"])
    write_toy_zip(folder / "half.zip", [0, 0, 0])
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
    assert {file.name for file in run_dir.iterdir()} == {"classifier.safetensors", "results.json", "predictions.csv"}
    results = json.loads((run_dir / "results.json").read_text())
    assert f"Test AUC {results['test_auc']:.4f} on 12 images" in result.output
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
    assert results["training"]["images"] == real + synthetic


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--test test.zip", "--train ZIP is missing"),
        ("--train train.zip", "Missing option '--test'"),
        ("--train train.zip --test test.zip --count 4", "--count needs --synthetic"),
        ("--train train.zip --test test.zip --synthetic-only", "--synthetic-only needs --synthetic"),
        ("--train train.zip --test train.zip", "both training and test"),
        ("--train train.zip --synthetic test.zip --test test.zip", "both training and test"),
        ("--train train.zip --test lesions.zip", "lesions.zip has the classes none, spur, slip"),
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
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(folder: Path, tmp_path: Path, options: str, message: str) -> None:
    result = run(folder, f"{options} --outdir {tmp_path}/run")
    assert result.exit_code == 2
    last = result.stderr.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_results_are_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    result = run(folder, f"--train train.zip --test test.zip --outdir {tmp_path}")
    assert result.exit_code == 2
    assert "holds results already" in result.stderr


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

"""The comparison of precisions: one classifier for all, the same seeds, and honest sums."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import precision_quality
from benchmarks.precision_quality import Run
from stylegan2ada.errors import UserError

FRECHET = {("fp32", "0"): 10.0, ("fp32", "1"): 14.0, ("bf16", "0"): 11.0, ("bf16", "1"): 12.0}


@pytest.fixture
def trained(monkeypatch):
    """The options of every run, none of which is trained."""
    asked = []

    def train(options):
        asked.append(dict(options))
        key = options["precision"], options["seed"]
        return Run(FRECHET[key], 60.0, Path(options["outdir"]) / "00000-run")

    monkeypatch.setattr(precision_quality, "_train", train)
    return asked


def test_table_and_use_of_one_classifier(trained, tmp_path):
    result = CliRunner().invoke(
        precision_quality.main, ["--seeds=2", f"--outdir={tmp_path}", "--kimg=1.5"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    for line in (
        "| seed | fp32 | bf16 |",
        "| 0 | 10.00 | 11.00 |",
        "| 1 | 14.00 | 12.00 |",
        "| mean | 12.00 | 11.50 |",
        "| least to most | 10.00 to 14.00 | 11.00 to 12.00 |",
        "| standard deviation | 2.83 | 0.71 |",
        "bf16 less fp32: mean -0.50, -2.00 to +1.00 by seed",
    ):
        assert line in result.stdout.splitlines()
    assert [(run["seed"], run["precision"]) for run in trained] == [
        ("0", "fp32"), ("0", "bf16"), ("1", "fp32"), ("1", "bf16"),
    ]  # fmt: skip
    assert {run["kimg"] for run in trained} == {"1.5"}
    assert "classifier" not in trained[0]
    first = tmp_path / "fp32-seed0" / "00000-run" / "classifier.safetensors"
    assert [run["classifier"] for run in trained[1:]] == [str(first)] * 3


def test_a_failed_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"--precision=fp99 .*failed with status 2: Error: .*fp99"):
        precision_quality._train({"precision": "fp99", "outdir": str(tmp_path)})


@pytest.mark.slow
def test_real_runs(tmp_path):
    options = [
        "--kimg=0.032", "--seeds=1", "--phantom-train=40", "--phantom-test=20", "--classifier-epochs=1",
        "--device=cpu", f"--cache-dir={tmp_path / 'cache'}", f"--outdir={tmp_path / 'runs'}",
    ]  # fmt: skip
    result = CliRunner().invoke(precision_quality.main, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("| 0 |")]
    fp32, bf16 = (float(cell) for cell in row.strip("|").split("|")[1:])
    assert fp32 > 0 and bf16 > 0
    assert fp32 != bf16

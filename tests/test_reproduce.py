"""reproduce.py as a user types it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import reproduce
from stylegan2ada.run_folder import locked
from tests.spine_ext.reproduction.tiny_reproduction import write_data
from tests.tiny_networks import assert_one_line


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def invoke(data: Path, tmp_path: Path, *arguments: str) -> Result:
    """Names of zips are those in `data`."""
    words = [str(data / word) if word.endswith(".zip") else word for word in arguments]
    places = ["--outdir", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache"), "--device", "cpu"]
    return CliRunner().invoke(reproduce.main, [*words, *places])


def test_dry_run_of_the_phantom_says_what_each_step_costs(data, tmp_path):
    result = invoke(data, tmp_path, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "gan-spinegan-seed1" in result.output
    minutes = result.output.splitlines()[-1]
    assert "left" in minutes
    assert "unknown" not in minutes
    assert not (tmp_path / "out").exists(), "nothing is written"


def test_dry_run_of_the_paper_on_given_data(data, tmp_path):
    result = invoke(data, tmp_path, "--train", "train.zip", "--test", "test.zip", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "4,200,000 images" in result.output
    assert "auc-only-spinegan-10000-seed0" in result.output
    assert "not known" in result.output
    assert "multiconditional" not in result.output


def test_only_a_part(data, tmp_path):
    result = invoke(data, tmp_path, "--only", "figure4", "--dry-run")
    assert "samples-spinegan" in result.output
    assert "auc-" not in result.output


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--train", "train.zip"), ["--test ZIP is missing"]),
        (("--lesion-train", "lesion-train.zip"), ["--lesion-train needs --train"]),
        (("--train", "train.zip", "--test", "test.zip", "--lesion-train", "lesion-train.zip"), ["--lesion-test"]),
        (("--train", "lesion-train.zip", "--test", "test.zip"), ["3 classes", "--labels binary"]),
        (("--train", "train.zip", "--test", "train.zip"), ["training images"]),
        (("--train", "nothing.zip", "--test", "test.zip"), ["nothing.zip"]),
        (("--only", "table3"), ["table3"]),
        (("--train", "train.zip", "--test", "test.zip", "--only", "agreement"), ["--lesion-train"]),
    ],
)
def test_mistakes_are_one_line(data, tmp_path, arguments, parts):
    assert_one_line(invoke(data, tmp_path, *arguments), *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stop", "status", "said"),
    [
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (KeyboardInterrupt(), 130, "Stopped"),
    ],
    ids=["full disk", "interrupt"],
)
def test_what_stops_it_says_that_the_same_command_goes_on(data, tmp_path, monkeypatch, stop, status, said):
    def run(self: reproduce.Reproduction, log: object) -> None:
        raise stop

    monkeypatch.setattr(reproduce.Reproduction, "run", run)
    result = invoke(data, tmp_path)
    assert result.exit_code == status
    assert said in result.stderr
    assert "the same command goes on where it stopped" in result.stderr


def test_two_processes_do_not_work_in_one_folder(data, tmp_path):
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"):
        assert_one_line(invoke(data, tmp_path), "another process")

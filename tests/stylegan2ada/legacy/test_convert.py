"""python -m stylegan2ada.legacy IN OUT, as a user types it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from stylegan2ada import load
from stylegan2ada.checkpoint import save_snapshot
from stylegan2ada.legacy.__main__ import main
from stylegan2ada.legacy.writer import save_official

from .files import as_pickle, snapshot


@pytest.fixture
def ours(tmp_path) -> Path:
    original = snapshot()
    save_snapshot(tmp_path / "ours.safetensors", original.modules(), original.config, original.kimg)
    return tmp_path / "ours.safetensors"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_mistake(result: Result, *parts: object) -> None:
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) == 1
    assert result.output.startswith("Error: ")
    for part in parts:
        assert str(part) in result.output


def test_forth_and_back_changes_nothing(ours, tmp_path):
    assert run(ours, tmp_path / "a.pkl").output == (
        f"{tmp_path / 'a.pkl'}: G, D, G_ema, augment_pipe; 8 px, 200.5 kimg\n"
    )
    assert run(tmp_path / "a.pkl", tmp_path / "b.safetensors").exit_code == 0
    assert (tmp_path / "b.safetensors").read_bytes() == ours.read_bytes()


def test_as_a_command(ours, tmp_path, repository_dir):
    command = [sys.executable, "-m", "stylegan2ada.legacy", str(ours), str(tmp_path / "a.pkl")]
    done = subprocess.run(command, cwd=repository_dir, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path / "a.pkl"))
    assert torch.equal(load(tmp_path / "a.pkl").generator.mapping.w_avg, snapshot().generator.mapping.w_avg)


class TestMistakes:
    def test_out_is_there(self, ours, tmp_path):
        (tmp_path / "a.pkl").write_bytes(b"mine")
        assert_mistake(run(ours, tmp_path / "a.pkl"), tmp_path / "a.pkl", "--overwrite")
        assert (tmp_path / "a.pkl").read_bytes() == b"mine"

    def test_overwrite(self, ours, tmp_path):
        (tmp_path / "a.pkl").write_bytes(b"mine")
        assert run(ours, tmp_path / "a.pkl", "--overwrite").exit_code == 0
        assert load(tmp_path / "a.pkl").kimg == 200.5

    def test_overwrite_itself(self, ours):
        before = ours.read_bytes()
        assert_mistake(run(ours, ours, "--overwrite"), "would overwrite itself")
        assert ours.read_bytes() == before

    def test_overwrite_with_an_input_that_is_bad(self, tmp_path):
        (tmp_path / "a.safetensors").write_bytes(b"mine")
        (tmp_path / "bad.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
        assert_mistake(run(tmp_path / "bad.pkl", tmp_path / "a.safetensors", "--overwrite"), "os.system")
        assert (tmp_path / "a.safetensors").read_bytes() == b"mine"

    def test_overwrite_without_an_input(self, tmp_path):
        (tmp_path / "a.safetensors").write_bytes(b"mine")
        assert_mistake(run(tmp_path / "gone.pkl", tmp_path / "a.safetensors", "--overwrite"), "gone.pkl")

    def test_out_of_another_kind(self, ours, tmp_path):
        assert_mistake(run(ours, tmp_path / "a.onnx"), "a.onnx", ".pkl", ".safetensors")

    def test_out_is_a_folder(self, ours, tmp_path):
        (tmp_path / "a.pkl").mkdir()
        assert_mistake(run(ours, tmp_path / "a.pkl", "--overwrite"), tmp_path / "a.pkl")

    def test_out_cannot_be_written(self, ours, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        assert_mistake(run(ours, tmp_path / "file" / "a.pkl"), "cannot be written")

    def test_in_is_missing(self, tmp_path):
        assert_mistake(run(tmp_path / "gone.safetensors", tmp_path / "a.pkl"), "gone.safetensors")

    def test_in_is_no_snapshot(self, tmp_path):
        (tmp_path / "in.pkl").write_bytes(as_pickle({"state_dict": {}}))
        assert_mistake(run(tmp_path / "in.pkl", tmp_path / "out.safetensors"), "in.pkl", "without the networks")
        assert not (tmp_path / "out.safetensors").exists()

    def test_an_argument_is_missing(self, tmp_path):
        assert_mistake(run(tmp_path / "in.pkl"), "OUT")

    def test_the_same_kind_is_a_copy(self, tmp_path):
        save_official(tmp_path / "a.pkl", snapshot())
        assert run(tmp_path / "a.pkl", tmp_path / "b.pkl").exit_code == 0
        assert (tmp_path / "b.pkl").read_bytes() == (tmp_path / "a.pkl").read_bytes()

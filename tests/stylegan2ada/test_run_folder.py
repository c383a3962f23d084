"""Run folders: their numbers, their lock, and what is cut back when a run goes on."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from stylegan2ada.errors import UserError
from stylegan2ada.run_folder import create_run_folder, locked, rewind


class TestNumbers:
    def test_runs_that_start_at_once(self, tmp_path):
        """As the jobs of an array do."""
        with ThreadPoolExecutor(8) as pool:
            folders = list(pool.map(lambda _: create_run_folder(tmp_path / "runs", "toy"), range(40)))
        assert sorted(folder.name for folder in folders) == [f"{number:05d}-toy" for number in range(40)]

    def test_follow_the_largest(self, tmp_path):
        for name in ("00007-toy", "99999-toy"):
            (tmp_path / name).mkdir()
        assert create_run_folder(tmp_path, "toy").name == "100000-toy"
        assert create_run_folder(tmp_path, "toy").name == "100001-toy"

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "runs").write_text("")
        with pytest.raises(UserError, match=r"--outdir .*runs cannot be written"):
            create_run_folder(tmp_path / "runs", "toy")


class TestLock:
    def test_a_file_system_without_locks(self, tmp_path, monkeypatch):
        """Lustre, mounted without flock."""
        fcntl = pytest.importorskip("fcntl")
        monkeypatch.setattr(fcntl, "flock", _raise(OSError(errno.ENOSYS, "Function not implemented")))
        with locked(tmp_path):
            pass

    def test_a_link_in_a_folder_from_others_empties_nothing(self, tmp_path):
        (tmp_path / "mine").write_text("mine")
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / ".lock").symlink_to(tmp_path / "mine")
        with locked(tmp_path / "theirs"):
            pass
        assert (tmp_path / "mine").read_text() == "mine"

    def test_another_error_is_one(self, tmp_path, monkeypatch):
        fcntl = pytest.importorskip("fcntl")
        monkeypatch.setattr(fcntl, "flock", _raise(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output error"), locked(tmp_path):
            pass


def test_rewind_removes_what_a_killed_process_had_begun_to_write(tmp_path):
    """However often a run is killed, its folder does not grow by halves of files."""
    (tmp_path / ".training-state-000000032.safetensors.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / "training-state-000000016.safetensors").write_bytes(b"whole")
    lines = [json.dumps({"Progress/tick": tick}) for tick in (1, 2, 3)]
    (tmp_path / "stats.jsonl").write_bytes("\n".join(lines).encode() + b'\n\xff\x00\n{"Progress/ti')
    rewind(tmp_path, ticks=2, kimg=0.016)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stats.jsonl", "training-state-000000016.safetensors"]
    assert (tmp_path / "stats.jsonl").read_text().splitlines() == lines[:2]


def _raise(error: Exception):
    def function(*arguments):
        raise error

    return function

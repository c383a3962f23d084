"""train.py --resume=RUN_DIR as a user types it: stopped, killed, pre-empted, repeated, mistaken."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import train
from stylegan2ada.stop_request import StopRequest
from stylegan2ada.tensor_file import read_tensors
from stylegan2ada.training_state import state_files
from tests.toy_images import write_toy_zip

TINY = (
    "--cfg=stylegan2-ada --channel-base=64 --channel-max=4 --latent=4 --tick=0.016 --snap=2 --batch=4 --workers=0 "
    "--precision=fp32 --seed=5"
).split()
STOPPED = property(lambda self: signal.SIGTERM, lambda *_: None)  # a StopRequest that has its signal from the start


KILLS = int(os.environ.get("KILLS", "6"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_toy_zip(folder / "toy.zip", [0, 1] * 10)
    write_toy_zip(folder / "other.zip", [0, 1] * 10, seed=9)
    write_toy_zip(folder / "test.zip", [0, 1] * 5, seed=1)
    return folder


def invoke(*arguments: object, outdir: Path) -> Result:
    places = ["--outdir", outdir, "--cache-dir", outdir / "cache", "--device", "cpu"]
    return CliRunner().invoke(train.main, [str(argument) for argument in (*arguments, *places)])


def only_run(outdir: Path) -> Path:
    (folder,) = outdir.glob("0*-*")
    return folder


def differing(folder: Path, expected: Path) -> list[str]:
    newest, theirs = state_files(folder)[0], state_files(expected)[0]
    assert newest.name == theirs.name
    ours, theirs = read_tensors(newest)[1], read_tensors(theirs)[1]
    assert ours.keys() == theirs.keys()
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    outdir = tmp_path_factory.mktemp("finished")
    result = invoke(*TINY, "--data", data / "toy.zip", "--kimg=0.064", outdir=outdir)
    assert result.exit_code == 0, result.output
    return only_run(outdir)


class TestContinuing:
    def test_longer_with_fewer_options(self, data, finished, tmp_path):
        """The folder knows the rest: data, configuration, sizes."""
        half = invoke(*TINY, "--data", data / "toy.zip", "--kimg=0.032", outdir=tmp_path)
        assert half.exit_code == 0, half.output
        rest = invoke("--resume", only_run(tmp_path), "--kimg=0.064", "--keep=3", "--snap=1", outdir=tmp_path / "x")
        assert rest.exit_code == 0, rest.output
        assert "continuing from training-state-000000032.safetensors (0.0 kimg)" in rest.output
        assert not list((tmp_path / "x").glob("0*")), "no new run folder"
        networks = [name for name in differing(only_run(tmp_path), finished) if not name.startswith("state/")]
        assert networks == []

    def test_options_that_are_repeated(self, data, finished):
        result = invoke("--resume", finished, *TINY, "--data", data / "toy.zip", outdir=finished.parent)
        assert result.exit_code == 0, result.output

    def test_a_new_end_stays_when_it_is_stopped_once_more(self, data, tmp_path, monkeypatch):
        """The line that says how to go on does not repeat what was said."""
        assert invoke(*TINY, "--data", data / "toy.zip", "--kimg=0.032", outdir=tmp_path).exit_code == 0
        monkeypatch.setattr(StopRequest, "signal_number", STOPPED, raising=False)
        stopped = invoke("--resume", only_run(tmp_path), "--kimg=0.064", "--snap=1", outdir=tmp_path)
        assert stopped.exit_code == 128 + signal.SIGTERM, stopped.output
        monkeypatch.undo()
        rest = invoke("--resume", only_run(tmp_path), outdir=tmp_path)
        assert rest.exit_code == 0, rest.output
        assert state_files(only_run(tmp_path))[0].name == "training-state-000000064.safetensors"
        options = json.loads((only_run(tmp_path) / "training_options.json").read_text())
        assert (options["total_kimg"], options["snapshot_ticks"]) == (0.064, 1)

    def test_data_that_moved(self, data, tmp_path):
        shutil.copy(data / "toy.zip", tmp_path / "before.zip")
        started = invoke(*TINY, "--data", tmp_path / "before.zip", "--kimg=0.016", outdir=tmp_path / "runs")
        assert started.exit_code == 0, started.output
        (tmp_path / "before.zip").rename(tmp_path / "after.zip")
        folder = only_run(tmp_path / "runs")
        rest = invoke("--resume", folder, "--kimg=0.032", "--data", tmp_path / "after.zip", outdir=tmp_path / "runs")
        assert rest.exit_code == 0, rest.output

    def test_killed_before_the_first_step(self, data, finished, tmp_path, monkeypatch):
        """While the images are read, say: --resume=auto then begins, in the same folder."""
        command = [*TINY, "--data", data / "toy.zip", "--kimg=0.064", "--resume=auto"]

        def killed(*arguments, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr("spine_ext.training_run.train", killed)
        assert invoke(*command, outdir=tmp_path).exit_code == 130
        monkeypatch.undo()
        result = invoke(*command, outdir=tmp_path)
        assert result.exit_code == 0, result.output
        assert differing(only_run(tmp_path), finished) == []

    def test_auto_begins_and_goes_on(self, data, finished, tmp_path):
        """One command for a queue that may start it any number of times."""
        command = [*TINY, "--data", data / "toy.zip", "--kimg=0.064", "--resume=auto"]
        for _ in range(2):
            result = invoke(*command, outdir=tmp_path)
            assert result.exit_code == 0, result.output
        assert differing(only_run(tmp_path), finished) == []
        longer = invoke(*command, "--keep=5", "--snap=3", outdir=tmp_path)  # what a run may change
        assert "continuing from training-state-000000064" in longer.output
        other = invoke(*command, "--lr=0.001", outdir=tmp_path)
        assert other.exit_code == 0, other.output
        assert len(list(tmp_path.glob("0*-*"))) == 2, "other options are another run"

    def test_after_a_restart_by_a_launcher(self, data, finished, tmp_path, monkeypatch):
        command = [*TINY, "--data", data / "toy.zip", "--kimg=0.064"]
        assert invoke(*command, outdir=tmp_path).exit_code == 0
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job 2")
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
        result = invoke(*command, "--kimg=0.016", outdir=tmp_path / "empty")
        assert "continuing" not in result.output, "it ended before it had a folder"
        (started,) = (tmp_path / "empty").glob("0*/command_line.json")
        values = json.loads(started.read_text())
        assert values["launch_id"] == "job 2"
        other = only_run(tmp_path) / "command_line.json"
        before = other.read_text()
        result = invoke(*command, "-n", outdir=tmp_path)
        assert json.loads(result.output)["training"]["resume"] is None
        other.write_text(json.dumps(json.loads(before) | {"launch_id": "job 2"}))
        result = invoke(*command, outdir=tmp_path)
        assert "continuing from training-state-000000064" in result.output
        assert only_run(tmp_path)

    def test_auto_passes_over_folders_that_it_cannot_read(self, data, finished, tmp_path):
        (tmp_path / "00009-garbage").mkdir()
        (tmp_path / "00009-garbage" / "command_line.json").write_text("{")
        result = invoke(*TINY, "--data", data / "toy.zip", "--kimg=0.008", "--resume=auto", outdir=tmp_path)
        assert result.exit_code == 0, result.output

    def test_dry_run_tells_and_touches_nothing(self, finished):
        before = {path.name: path.read_bytes() for path in finished.iterdir()}
        result = invoke("--resume", finished, "--kimg=0.1", "-n", outdir=finished.parent)
        assert json.loads(result.output)["training"]["total_kimg"] == 0.1
        assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


class TestMistakes:
    """One line, exit code 2, and the folder as it was."""

    @pytest.fixture
    def refused(self, data, finished, tmp_path):
        def check(*arguments: object, parts: tuple[str, ...], spoil=lambda folder: None) -> None:
            folder = tmp_path / "00000-run"
            shutil.copytree(finished, folder)
            spoil(folder)
            before = {path.name: path.read_bytes() for path in folder.iterdir()}
            result = invoke("--resume", folder, *arguments, outdir=tmp_path / "new")
            assert result.exit_code == 2, result.output
            (error,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
            assert all(part in error for part in parts), error
            after = {path.name: path.read_bytes() for path in folder.iterdir()}
            after.pop(".lock", None)
            before.pop(".lock", None)
            assert after == before
            assert not list((tmp_path / "new").glob("0*"))

        return check

    def test_other_data(self, refused, data):
        refused("--data", data / "other.zip", parts=("other.zip holds other images or labels",))

    @pytest.mark.parametrize(
        ("option", "parts"),
        [
            ("--batch=8", ("--batch was 4 and would be 8",)),
            ("--lr=0.1", ("--lr was 0.0025 and would be 0.1",)),
            ("--seed=6", ("--seed was 5 and would be 6",)),
            ("--channel-max=8", ("--channel-max was 4",)),
            ("--precision=bf16", ("--precision was fp32 and would be bf16",)),
            ("--mirror=1", ("--mirror was False and would be True",)),
            ("--cond=0", ("--cond was 2 and would be 0",)),
            ("--gamma-clinical=0.5", ("--gamma-clinical was not set and would be 0.5",)),
            ("--cfg=auto", ("--augpipe was bgcfnc", "bgc")),
        ],
    )
    def test_other_options(self, refused, option, parts):
        refused(option, parts=parts)

    def test_a_folder_that_is_no_run(self, refused):
        refused(parts=("no run folder of train.py",), spoil=lambda folder: (folder / "command_line.json").unlink())

    def test_a_damaged_command_line(self, refused):
        refused(
            parts=("command_line.json cannot be read",),
            spoil=lambda folder: (folder / "command_line.json").write_text('{"options": {"batch": "many"}}'),
        )

    def test_damaged_options(self, refused):
        refused(
            parts=("training_options.json cannot be read",),
            spoil=lambda folder: (folder / "training_options.json").write_text('{"data": '),
        )

    def test_an_end_that_is_behind(self, refused, data, tmp_path, monkeypatch):
        """Stopped between two snapshots, it would have none at its end."""
        monkeypatch.setattr(StopRequest, "signal_number", STOPPED, raising=False)

        def stop_once(folder: Path) -> None:
            assert invoke("--resume", folder, "--kimg=0.1", outdir=tmp_path).exit_code == 128 + signal.SIGTERM

        refused("--kimg=0.05", parts=("--kimg 0.05", "is at 0.068 kimg already"), spoil=stop_once)

    def test_a_state_instead_of_its_folder(self, finished, tmp_path):
        state = state_files(finished)[0]
        result = invoke("--resume", state, outdir=tmp_path)
        assert result.exit_code == 2
        assert "is the state of a run: give its folder" in result.output

    def test_a_precision_that_is_not_here(self, refused):
        def of_a_gpu(folder: Path) -> None:
            options = json.loads((folder / "training_options.json").read_text())
            (folder / "training_options.json").write_text(json.dumps(options | {"precision": "fp16"}))

        refused(parts=("--precision fp16 needs a CUDA device",), spoil=of_a_gpu)

    def test_keep_0(self, refused):
        refused("--keep=0", parts=("--keep must be at least 1",))

    def test_two_processes_in_one_folder(self, finished):
        fcntl = pytest.importorskip("fcntl")
        with open(finished / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            result = invoke("--resume", finished, outdir=finished.parent)
        assert result.exit_code == 2
        assert "another process is training in this folder" in result.output


def command(data: Path, outdir: Path, kimg: float) -> list[str]:
    return [
        sys.executable, "train.py", *TINY, "--data", str(data / "toy.zip"), "--test", str(data / "test.zip"),
        "--gamma-clinical=0.01", "--classifier", str(data / "classifier.safetensors"), f"--kimg={kimg}",
        "--outdir", str(outdir), "--device=cpu", "--resume=auto",
    ]  # fmt: skip


@pytest.fixture
def with_classifier(data) -> Path:
    from spine_ext.classifier import SpineClassifier, save_classifier

    torch.manual_seed(0)
    save_classifier(SpineClassifier(["normal", "abnormal"], 32), data / "classifier.safetensors")
    return data


@pytest.mark.slow
class TestProcesses:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(self, arguments: list[str], repository_dir: Path) -> None:
        subprocess.run(arguments, cwd=repository_dir, env=self.environment, check=True, capture_output=True)

    def test_kill_9_at_random_moments(self, with_classifier, repository_dir, tmp_path):
        """The whole command with clinical term and metrics, killed wherever it happens to be, until it is through."""
        self.run(command(with_classifier, tmp_path / "whole", 0.055 * KILLS), repository_dir)
        moments, kills = random.Random(1), 0
        while True:
            process = subprocess.Popen(
                command(with_classifier, tmp_path / "killed", 0.055 * KILLS), cwd=repository_dir, env=self.environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                process.wait(moments.uniform(3, 9) if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                continue
            assert process.returncode == 0
            break
        assert kills >= 2
        killed, whole = only_run(tmp_path / "killed"), only_run(tmp_path / "whole")
        assert differing(killed, whole) == []
        assert (killed / "results.json").read_text() == (whole / "results.json").read_text()
        print(f"train.py: {kills} kills, 0 differences")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    def test_preempted(self, with_classifier, repository_dir, tmp_path, number):
        process = subprocess.Popen(
            command(with_classifier, tmp_path, 100), cwd=repository_dir, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("*/stats.jsonl")) or not next(tmp_path.glob("*/stats.jsonl")).stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        folder = only_run(tmp_path)
        assert f"stopped by {number.name}" in errors
        assert f"python train.py --resume={folder}" in errors
        assert "Traceback" not in errors
        assert state_files(folder)

    def test_a_full_disk(self, with_classifier, repository_dir, tmp_path):
        """No file may grow beyond what the first states need: one line, and what was written before is whole."""
        resource = pytest.importorskip("resource")
        limit_bytes = 25_000

        def limited() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

        arguments = [sys.executable, "train.py", *TINY, "--data", str(with_classifier / "toy.zip"), "--kimg=0.3"]
        arguments += ["--outdir", str(tmp_path), "--device=cpu"]
        found = subprocess.run(
            arguments, cwd=repository_dir, env=self.environment, capture_output=True, text=True, preexec_fn=limited
        )
        assert found.returncode == 1, found.stderr
        assert "Traceback" not in found.stderr
        assert found.stderr.count("Error: ") == 1
        assert not list(tmp_path.glob("*/.*.tmp"))

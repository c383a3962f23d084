"""train.py in two processes, as a user starts them: the run of one, and an end with a message for any accident."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from spine_ext.classifier import SpineClassifier, save_classifier
from stylegan2ada.tensor_file import read_tensors
from stylegan2ada.training_state import state_files
from tests.toy_images import write_toy_zip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes as Linux does"),
]

TINY = (
    "--cfg=spinegan --gamma-clinical=0.01 --channel-base=64 --channel-max=4 --latent=4 --tick=0.032 --snap=2 --batch=8 "
    "--workers=0 --precision=fp32 --seed=5 --aug=ada --gamma=1 --ema-kimg=1 --device=cpu"
).split()
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_toy_zip(folder / "toy.zip", [0, 1] * 20)
    write_toy_zip(folder / "test.zip", [0, 1] * 5, seed=1)
    torch.manual_seed(0)
    save_classifier(SpineClassifier(["normal", "abnormal"], 32), folder / "classifier.safetensors")
    return folder


def options(data: Path, outdir: Path, *more: str) -> list[str]:
    files = ["--data", data / "toy.zip", "--test", data / "test.zip", "--classifier", data / "classifier.safetensors"]
    return ["train.py", *TINY, *map(str, files), "--outdir", str(outdir), *more]


def torchrun(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *arguments]


def run(command: list[str], repository_dir: Path) -> subprocess.CompletedProcess:
    found = subprocess.run(command, cwd=repository_dir, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr[-2000:]
    return found


def only_run(outdir: Path) -> Path:
    (folder,) = outdir.glob("0*-*")
    return folder


def largest_difference(one: Path, other: Path) -> float:
    """Of the weights in the last states, relative to the largest of each tensor."""
    newest, theirs = state_files(only_run(one))[0], state_files(only_run(other))[0]
    assert newest.name == theirs.name
    ours, theirs = read_tensors(newest)[1], read_tensors(theirs)[1]
    weights = [name for name in ours if not name.startswith("state/") and ours[name].is_floating_point()]
    return max(
        ((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max().clamp(min=1e-3)).item() for name in weights
    )


@pytest.fixture(scope="module")
def alone(data, repository_dir, tmp_path_factory) -> Path:
    outdir = tmp_path_factory.mktemp("alone")
    run([sys.executable, *options(data, outdir, "--kimg=0.064")], repository_dir)
    return outdir


class TestTheSameRun:
    def test_gpus(self, data, alone, repository_dir, tmp_path):
        """Clinical term, ADA, path lengths, style mixing, noise; the second process is silent."""
        found = run([sys.executable, *options(data, tmp_path, "--kimg=0.064", "--gpus=2")], repository_dir)
        assert found.stdout.count("run folder: ") == 1
        difference = largest_difference(tmp_path, alone)
        print(f"two processes against one: {difference:.1e}")
        assert difference < 2e-3

    def test_torchrun(self, data, alone, repository_dir, tmp_path):
        run(torchrun(*options(data, tmp_path, "--kimg=0.064")), repository_dir)
        assert largest_difference(tmp_path, alone) < 2e-3

    def test_micro_batches(self, data, repository_dir, tmp_path):
        """Without path lengths, whose target is another (docs/distributed.md). In few steps: sooner or later an
        activation within rounding of zero falls to the other side."""
        for outdir, more in {"whole": [], "parts": ["--batch-gpu=4"]}.items():
            command = [sys.executable, *options(data, tmp_path / outdir, "--kimg=0.032", "--pl-weight=0", *more)]
            run(command, repository_dir)
        assert largest_difference(tmp_path / "parts", tmp_path / "whole") < 2e-3

    def test_a_run_goes_on_in_another_number_of_processes(self, data, alone, repository_dir, tmp_path):
        run([sys.executable, *options(data, tmp_path, "--kimg=0.032", "--gpus=2")], repository_dir)
        again = ["train.py", f"--resume={only_run(tmp_path)}", "--kimg=0.064", "--device=cpu"]
        run([sys.executable, *again], repository_dir)
        assert largest_difference(tmp_path, alone) < 2e-3


def children(process_id: int) -> list[int]:
    found = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return [int(child) for child in found]


def wait_for_state(outdir: Path, process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not list(outdir.glob("*/training-state-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def start(command: list[str], repository_dir: Path) -> subprocess.Popen:
    return subprocess.Popen(
        command, cwd=repository_dir, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


class TestAccidents:
    @pytest.mark.parametrize("victim", [0, 1])
    def test_a_killed_process_ends_the_run(self, data, repository_dir, tmp_path, victim):
        process = start([sys.executable, *options(data, tmp_path, "--kimg=100", "--gpus=2")], repository_dir)
        wait_for_state(tmp_path, process)
        os.kill(children(process.pid)[victim], signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGKILL
        assert f"process {victim} of 2 was ended by SIGKILL" in errors
        assert "Traceback" not in errors

    def test_pre_empted(self, data, repository_dir, tmp_path):
        process = start([sys.executable, *options(data, tmp_path, "--kimg=100", "--gpus=2")], repository_dir)
        wait_for_state(tmp_path, process)
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
        assert f"--resume={only_run(tmp_path)}" in errors

    def test_torchrun_starts_a_lost_run_again(self, data, repository_dir, tmp_path):
        """Elastic restart: the same command line, and the run of before instead of a new one."""
        command = torchrun("--max-restarts=2", *options(data, tmp_path, "--kimg=0.32"))
        process = start(command, repository_dir)
        wait_for_state(tmp_path, process)
        os.kill(children(process.pid)[-1], signal.SIGKILL)
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-2000:]
        assert "continuing from training-state-" in output
        assert state_files(only_run(tmp_path))[0].name == "training-state-000000320.safetensors"

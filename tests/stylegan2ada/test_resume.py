"""A run that was stopped, killed or damaged goes on as if nothing had been: to the last bit, on a CPU."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from stylegan2ada import load, recorder
from stylegan2ada.checkpoint import read_snapshot
from stylegan2ada.config import (
    AugmentConfig,
    TrainingConfig,
)
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.errors import UserError
from stylegan2ada.loop import SnapshotEvent, TrainingStopped
from stylegan2ada.tensor_file import read_tensors, write_tensors
from stylegan2ada.training_state import KEPT_STATES, state_files
from stylegan2ada.updates import GeneratorTerm
from tests.stylegan2ada.tiny_runs import SIDE, run, tiny_settings, write_squares

KILLS = int(os.environ.get("KILLS", "6"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> ImageDataset:
    return ImageDataset(write_squares(tmp_path_factory.mktemp("data") / "squares.zip"), use_labels=True)


def settings(dataset: ImageDataset, **changes) -> TrainingConfig:
    """Everything on: ADA, path lengths, style mixing, noise; ticks and snapshots that fall on different steps."""
    everything = {
        "augment": AugmentConfig("ada", "bgcfnc", ada_kimg=0.1), "ema_rampup": 0.5,
        "total_kimg": 0.1, "kimg_per_tick": 0.012, "snapshot_ticks": 2,
    }  # fmt: skip
    return tiny_settings(dataset, **everything | changes)


def differing(one: Path, other: Path) -> list[str]:
    ours, theirs = read_tensors(one)[1], read_tensors(other)[1]
    assert ours.keys() == theirs.keys()
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


def stats(folder: Path) -> list[dict]:
    """Without what a clock says."""
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "timestamp" and not k.startswith("Timing/")} for line in lines]


def assert_same_run(folder: Path, expected: Path) -> None:
    """The last state (networks, moments, random numbers, counters), every statistic, every metric, every grid."""
    newest, theirs = state_files(folder)[0], state_files(expected)[0]
    assert newest.name == theirs.name
    assert differing(newest, theirs) == []
    trees = [read_tensors(path)[0]["state"] for path in (newest, theirs)]
    for tree in trees:
        del tree["recorder"]["elapsed_sec"]
    assert trees[0] == trees[1]
    assert stats(folder) == stats(expected)
    grids = {path.name: path.read_bytes() for path in expected.glob("*.png")}
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == grids
    for path in expected.glob("network-snapshot-*"):
        assert differing(folder / path.name, path) == []
    for path in expected.glob("metric-*.jsonl"):
        assert (folder / path.name).read_text() == path.read_text()


def noisy_metric(event: SnapshotEvent) -> None:
    """A metric that draws random numbers of its own."""
    line = {
        "kimg": event.kimg,
        "value": event.generator.synthesis.b4.const.sum().item(),
        "drawn": torch.rand([]).item(),
    }
    with open(event.run_dir / "metric-noisy.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


class Interruption(Exception):
    pass


class StopAfter:
    """A term of no consequence that stops the process's run in a given step, one way or another."""

    def __init__(self, calls: int, how):
        self.calls, self.how = calls, how

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.calls -= 1
        if self.calls == 0:
            self.how()
        return images.flatten(1).mean(1) * 0

    def terms(self) -> list[GeneratorTerm]:
        return [GeneratorTerm("nothing", 1.0, self)]


NEVER = StopAfter(-1, None).terms()


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory) -> Path:
    """With a term of no consequence, since the runs that are stopped have one."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return run(settings(dataset), dataset, folder, terms=NEVER, on_snapshot=[noisy_metric]).parent


def send(number: int):
    return lambda: os.kill(os.getpid(), number)


def interrupt():
    raise Interruption


class TestContinuing:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    @pytest.mark.parametrize("steps", [[5], [12, 1, 3]], ids=str)
    def test_stopped_by_a_signal(self, dataset, tmp_path, uninterrupted, number, steps):
        """At any step, again and again: never more work than it needs, the same to the last bit."""
        folder, config, metrics = tmp_path / "run", settings(dataset), [noisy_metric]
        for index, calls in enumerate(steps):
            with pytest.raises(TrainingStopped, match=signal.Signals(number).name) as stopped:
                terms = StopAfter(calls, send(number)).terms()
                run(config, dataset, folder, terms=terms, on_snapshot=metrics, continues=index > 0)
            assert stopped.value.signal_number == number
            assert state_files(folder)[0].name == f"training-state-{4 * sum(steps[: index + 1]):09d}.safetensors"
        run(config, dataset, folder, terms=NEVER, on_snapshot=metrics, continues=True)
        assert_same_run(folder, uninterrupted)

    @pytest.mark.parametrize("calls", [2, 8, 21])
    def test_lost_at_once(self, dataset, tmp_path, uninterrupted, calls):
        """As by kill -9 or a power cut: what came after the last snapshot is done again, from the beginning if there
        was none."""
        folder, config, metrics = tmp_path / "run", settings(dataset), [noisy_metric]
        with pytest.raises(Interruption):
            run(config, dataset, folder, terms=StopAfter(calls, interrupt).terms(), on_snapshot=metrics)
        run(config, dataset, folder, terms=NEVER, on_snapshot=metrics, continues=True)
        assert_same_run(folder, uninterrupted)

    def test_lost_in_a_metric(self, dataset, tmp_path, uninterrupted):
        """The state is on disk before the metrics are measured; they are measured when the run goes on."""

        def broken_metric(event: SnapshotEvent) -> None:
            noisy_metric(event)
            if event.kimg > 0.04:
                raise Interruption

        with pytest.raises(Interruption):
            run(settings(dataset), dataset, tmp_path / "run", terms=NEVER, on_snapshot=[broken_metric])
        run(settings(dataset), dataset, tmp_path / "run", terms=NEVER, on_snapshot=[noisy_metric], continues=True)
        assert_same_run(tmp_path / "run", uninterrupted)

    def test_a_longer_run_without_metrics(self, dataset, tmp_path, uninterrupted):
        """--kimg raised: the networks are those of a run that was long from the beginning; metrics change nothing."""
        run(settings(dataset, total_kimg=0.06), dataset, tmp_path / "run", terms=NEVER)
        run(settings(dataset), dataset, tmp_path / "run", terms=NEVER, continues=True)
        last = [read_snapshot(state_files(folder)[0])[2] for folder in (tmp_path / "run", uninterrupted)]
        assert all(torch.equal(tensor, last[1][name]) for name, tensor in last[0].items())

    def test_a_finished_run_measures_its_last_snapshot_again(self, dataset, tmp_path, uninterrupted):
        folder = shutil.copytree(uninterrupted, tmp_path / "run")
        metrics = folder / "metric-noisy.jsonl"
        *before, last = metrics.read_text().splitlines()
        metrics.write_text("\n".join([*before, last[: len(last) // 2]]))
        path = run(settings(dataset), dataset, folder, terms=NEVER, on_snapshot=[noisy_metric], continues=True)
        assert path == folder / "network-snapshot-000000.safetensors"
        assert_same_run(folder, uninterrupted)

    def test_precision_bf16_too(self, dataset, tmp_path):
        config = settings(dataset, precision="bf16", total_kimg=0.06)
        whole = run(config, dataset, tmp_path / "whole", terms=NEVER).parent
        with pytest.raises(TrainingStopped):
            run(config, dataset, tmp_path / "run", terms=StopAfter(9, send(signal.SIGTERM)).terms())
        run(config, dataset, tmp_path / "run", terms=NEVER, continues=True)
        assert_same_run(tmp_path / "run", whole)


@pytest.fixture(scope="module")
def stopped_once(dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopped") / "run"
    terms = StopAfter(15, send(signal.SIGTERM)).terms()
    with pytest.raises(TrainingStopped):
        run(settings(dataset), dataset, folder, terms=terms, on_snapshot=[noisy_metric])
    return folder


class TestDamage:
    @pytest.fixture
    def stopped(self, stopped_once, tmp_path) -> Path:
        """A run that was stopped behind its second snapshot."""
        return shutil.copytree(stopped_once, tmp_path / "run")

    def spoil(self, path: Path, how: str) -> None:
        data = path.read_bytes()
        middle = len(data) // 2
        damaged = {
            "cut off": data[:middle],
            "a bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "empty": b"",
        }
        path.write_bytes(damaged[how])

    @pytest.mark.parametrize("how", ["cut off", "a bit", "empty"])
    def test_the_state_before_is_taken_with_a_word(self, dataset, stopped, uninterrupted, how, capsys):
        newest, before = state_files(stopped)
        self.spoil(newest, how)
        run(settings(dataset), dataset, stopped, terms=NEVER, on_snapshot=[noisy_metric], continues=True)
        told = capsys.readouterr().out
        assert f"{newest} is damaged" in told
        assert f"continuing from {before.name}" in told
        assert_same_run(stopped, uninterrupted)

    def test_a_damaged_network_file_is_written_again(self, dataset, stopped, capsys):
        newest, _ = state_files(stopped)
        newest.unlink()
        network = stopped / "network-snapshot-000000.safetensors"
        expected = network.read_bytes()
        self.spoil(network, "a bit")
        config = settings(dataset, total_kimg=0.03)
        run(config, dataset, stopped, terms=NEVER, continues=True)
        assert "network-snapshot-000000.safetensors is missing or damaged" in capsys.readouterr().out
        assert differing_bytes(network, expected) == []

    def test_none_is_whole(self, dataset, stopped):
        before = {path.name: path.read_bytes() for path in stopped.iterdir() if "training-state" not in path.name}
        for path in state_files(stopped):
            self.spoil(path, "cut off")
        with pytest.raises(UserError, match="none of its 2 training states can be read") as error:
            run(settings(dataset), dataset, stopped, continues=True)
        assert "\n" not in str(error.value)
        after = {path.name: path.read_bytes() for path in stopped.iterdir() if "training-state" not in path.name}
        del before["log.txt"], after["log.txt"]
        assert after == before

    def test_other_data(self, dataset, stopped, tmp_path):
        other = ImageDataset(write_squares(tmp_path / "other.zip", seed=1), use_labels=True)
        before = {path.name: path.read_bytes() for path in stopped.iterdir()}
        with pytest.raises(UserError, match="other images or labels") as error:
            run(settings(dataset), other, stopped, continues=True)
        assert "\n" not in str(error.value)
        assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda tree: tree.pop("generator_update"),
            lambda tree: tree["generator_update"].pop("pl_mean"),
            lambda tree: tree.update(random="many"),
            lambda tree: tree["discriminator_update"]["optimizer"].pop("0"),
        ],
        ids=["no update", "no mean", "no number", "no moments"],
    )
    def test_a_whole_file_of_another_structure(self, dataset, stopped, spoil):
        """As another version might have written it."""
        path = state_files(stopped)[0]
        header, tensors = read_tensors(path)
        spoil(header["state"])
        write_tensors(path, tensors, header)
        before = (stopped / "stats.jsonl").read_bytes()
        with pytest.raises(UserError, match=re.escape(str(path))) as error:
            run(settings(dataset), dataset, stopped, continues=True)
        assert "\n" not in str(error.value)
        assert (stopped / "stats.jsonl").read_bytes() == before

    def test_the_same_data_elsewhere(self, dataset, stopped, tmp_path):
        moved = ImageDataset(write_squares(tmp_path / "moved.zip"), use_labels=True)
        assert moved.fingerprint() == dataset.fingerprint()
        run(settings(dataset, total_kimg=0.064), moved, stopped, terms=NEVER, continues=True)


def differing_bytes(path: Path, expected: bytes) -> list[str]:
    other = path.with_name("expected.safetensors")
    other.write_bytes(expected)
    found = differing(path, other)
    other.unlink()
    return found


class TestDisk:
    def test_states_between_distant_snapshots(self, dataset, tmp_path, uninterrupted, monkeypatch):
        """At a tick, when so much time has passed; what is done again then is less than a snapshot's interval."""
        monkeypatch.setattr(recorder, "STATE_INTERVAL_SEC", 0.0)
        folder, config = tmp_path / "run", settings(dataset, snapshot_ticks=100)
        with pytest.raises(Interruption):
            run(config, dataset, folder, terms=StopAfter(14, interrupt).terms())
        assert [path.name for path in state_files(folder)] == [
            "training-state-000000048.safetensors", "training-state-000000036.safetensors",
        ]  # fmt: skip
        run(config, dataset, folder, terms=NEVER, continues=True)
        last = [read_snapshot(state_files(path)[0])[2] for path in (folder, uninterrupted)]
        assert all(torch.equal(tensor, last[1][name]) for name, tensor in last[0].items())

    def test_states_that_are_not_needed_are_removed(self, uninterrupted):
        assert len(state_files(uninterrupted)) == KEPT_STATES
        assert len(list(uninterrupted.glob(".*.tmp"))) == 0

    def test_keep(self, dataset, tmp_path):
        """Names count whole kimg, so this run is long in kimg and short in steps."""

        class ManyImages:
            def __init__(self, D, augment, real_batches, config):
                self.real_batches = real_batches

            def step(self, draw_fakes):
                from stylegan2ada.updates import DiscriminatorStep

                next(self.real_batches)
                return DiscriminatorStep(1000, torch.ones(4, 1), {})

            def state_dict(self):
                return {}

            def load_state_dict(self, state):
                pass

        config = settings(dataset, total_kimg=6, kimg_per_tick=1, snapshot_ticks=1, keep_snapshots=2)
        run(config, dataset, tmp_path / "run", make_update=ManyImages)
        kept = sorted(path.name for path in (tmp_path / "run").glob("network-snapshot-*"))
        assert kept == ["network-snapshot-000005.safetensors", "network-snapshot-000006.safetensors"]
        assert len(list((tmp_path / "run").glob("fakes0*.png"))) == 6

    def test_a_state_holds_the_networks_too(self, uninterrupted):
        """Whoever stops a run can use what it has come to."""
        snapshot = load(state_files(uninterrupted)[0])
        assert snapshot.kimg == 0.1
        assert snapshot.generator(torch.zeros(1, 4), torch.eye(2)[:1]).shape == (1, 1, SIDE, SIDE)


class TestSignals:
    def test_handlers_are_put_back(self, dataset, tmp_path):
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        run(settings(dataset, total_kimg=0.008), dataset, tmp_path / "run")
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    def test_in_another_thread_signals_are_left_alone(self, dataset, tmp_path):
        found = []
        thread = threading.Thread(
            target=lambda: found.append(run(settings(dataset, total_kimg=0.008), dataset, tmp_path / "run"))
        )
        thread.start()
        thread.join()
        assert found[0].exists()

    def test_a_stop_in_a_metric_waits_for_it(self, dataset, tmp_path, uninterrupted):
        def interrupted_metric(event: SnapshotEvent) -> None:
            noisy_metric(event)
            os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(TrainingStopped):
            run(settings(dataset), dataset, tmp_path / "run", terms=NEVER, on_snapshot=[interrupted_metric])
        run(settings(dataset), dataset, tmp_path / "run", terms=NEVER, on_snapshot=[noisy_metric], continues=True)
        assert_same_run(tmp_path / "run", uninterrupted)


KILLED = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[4])
torch.set_num_threads(1)
from tests.stylegan2ada.test_resume import noisy_metric, settings
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.loop import train
dataset = ImageDataset(sys.argv[1], use_labels=True)
train(settings(dataset, total_kimg=float(sys.argv[3])), dataset, Path(sys.argv[2]), torch.device("cpu"),
      on_snapshot=[noisy_metric], continues=True)
"""


@pytest.mark.slow
def test_kill_9_at_random_moments(dataset, tmp_path, repository_dir):
    """At moments from start-up to writing a snapshot: the run ends as the one nobody touched."""
    kimg, kills = 0.1 * KILLS, 0
    random_moments = random.Random(0)

    def command(folder: Path) -> list[str]:
        folder.mkdir(exist_ok=True)
        return [sys.executable, "-c", KILLED, str(dataset.path), str(folder), str(kimg), str(repository_dir)]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    while kills < KILLS:
        process = subprocess.Popen(command(tmp_path / "run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random_moments.uniform(2, 5))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if process.returncode == 0:
            break
    subprocess.run(command(tmp_path / "run"), check=True, capture_output=True)
    assert kills >= 3
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    print(f"the loop: {kills} kills, 0 differences")

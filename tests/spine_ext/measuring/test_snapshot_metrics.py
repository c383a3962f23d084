"""Metrics at snapshots: what is written, what failures do, and that another process gives the same."""

import json
import time
from pathlib import Path

import pytest
import torch

from spine_ext.measuring.best_snapshot import BEST_NETWORK, BEST_RECORD
from spine_ext.measuring.process import MeasuringProcess, MeasuringProcessLost
from spine_ext.measuring.snapshot_metrics import SnapshotMetrics, _has_room, unfailing
from stylegan2ada.checkpoint import load
from stylegan2ada.errors import NonFiniteError
from stylegan2ada.run_folder import prune_snapshots, rewind
from stylegan2ada.stop_request import TrainingStopped
from tests.fake_measures import BROKEN, DEADLY, ENDLESS, FAILING, FakeMeasure, Snapshots

CPU = torch.device("cpu")
TWO = ("fid5k_full", "kid5k_full")


@pytest.fixture
def snapshots(tmp_path) -> Snapshots:
    return Snapshots(tmp_path / "run")


def lines_of(run_dir: Path, name: str = "fid5k_full") -> list[dict]:
    path = run_dir / f"metric-{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def values_of(run_dir: Path, name: str = "fid5k_full") -> list[tuple[float, float | str]]:
    return [(line["kimg"], line["results"][name] if "results" in line else "error") for line in lines_of(run_dir, name)]


def inline(*names: str, failing: str | None = None) -> SnapshotMetrics:
    return SnapshotMetrics(FakeMeasure(names or ("fid5k_full",), failing), CPU, "inline")


class TestLines:
    def test_one_for_each_metric_and_snapshot(self, snapshots):
        with inline(*TWO) as metrics:
            for kimg, value in ((4, 9.0), (8, 3.0)):
                metrics(snapshots.event(kimg, value))
        for name in TWO:
            assert values_of(snapshots.run_dir, name) == [(4, 9.0), (8, 3.0)]
            (line, _) = lines_of(snapshots.run_dir, name)
            assert (line["metric"], line["seed"]) == (name, 0)
            assert line["snapshot_pkl"] == "network-snapshot-000004.safetensors"
            assert abs(line["timestamp"] - time.time()) < 60
        assert "  8.0 kimg: fid5k_full 3" in snapshots.lines

    def test_the_best_is_kept_by_the_first_metric_whatever_is_pruned(self, snapshots):
        with inline("is5k", "fid5k_full") as metrics:
            for kimg, value in ((4, 9.0), (8, 3.0), (12, 5.0)):
                metrics(snapshots.event(kimg, value))
                prune_snapshots(snapshots.run_dir, keep=1)
        record = json.loads((snapshots.run_dir / BEST_RECORD).read_text())
        assert (record["kimg"], record["value"], record["metric"]) == (4, 9.0, "is5k")
        assert load(snapshots.run_dir / BEST_NETWORK).kimg == 4
        assert len(list(snapshots.run_dir.glob("network-snapshot-*"))) == 1
        assert [line for line in snapshots.lines if "best" in line] == ["  best so far by is5k"]


class TestFailures:
    def test_are_told_and_stop_nothing(self, snapshots):
        with inline() as metrics:
            metrics(snapshots.event(4, FAILING))
            metrics(snapshots.event(8, 3.0))
        first, second = lines_of(snapshots.run_dir)
        assert (first["metric"], first["error"], first["kimg"]) == ("fid5k_full", "too few images", 4)
        assert second["results"] == {"fid5k_full": 3.0}
        assert "  4.0 kimg: fid5k_full failed: too few images" in snapshots.lines

    def test_of_one_metric_leave_the_others(self, snapshots):
        with inline(*TWO, failing="kid5k_full") as metrics:
            metrics(snapshots.event(4, 9.0))
        assert values_of(snapshots.run_dir) == [(4, 9.0)]
        assert values_of(snapshots.run_dir, "kid5k_full") == [(4, "error")]

    def test_a_network_with_nan_is_an_error(self, snapshots):
        with inline() as metrics, pytest.raises(NonFiniteError, match="the network is broken"):
            metrics(snapshots.event(4, BROKEN))

    @pytest.mark.parametrize("error", [NonFiniteError("NaN"), KeyboardInterrupt()])
    def test_what_is_not_held_back(self, snapshots, error):
        def broken(event):
            raise error

        with pytest.raises(type(error)):
            unfailing(broken, "measuring")(snapshots.event(4, 1.0))

    def test_any_other_callback(self, snapshots):
        def broken(event):
            raise RuntimeError("out of memory\nat great length")

        unfailing(broken, "measuring")(snapshots.event(4, 1.0))
        assert snapshots.lines == ["  4.0 kimg: measuring failed: out of memory"]


class TestGoingOn:
    def test_snapshots_without_numbers_are_measured_first(self, snapshots):
        with inline() as metrics:
            metrics(snapshots.event(4, 4.0))
        for kimg in (8, 12):
            snapshots.event(kimg, float(kimg))
        last = snapshots.event(16, 16.0)
        snapshots.event(20, 20.0)  # of the run before it was put back
        with inline() as metrics:
            metrics(last)
            metrics(snapshots.event(20, 21.0))
        assert values_of(snapshots.run_dir) == [(4, 4), (8, 8), (12, 12), (16, 16), (20, 21)]

    def test_a_metric_that_is_new(self, snapshots):
        for names in (("fid5k_full",), TWO):
            with inline(*names) as metrics:
                metrics(snapshots.event(4 * len(names), 1.0))
        assert [kimg for kimg, _ in values_of(snapshots.run_dir, "kid5k_full")] == [4, 8]
        assert [kimg for kimg, _ in values_of(snapshots.run_dir)] == [4, 8]

    def test_a_failure_is_not_tried_again_and_again(self, snapshots):
        with inline() as metrics:
            metrics(snapshots.event(4, FAILING))
        with inline() as metrics:
            metrics(snapshots.event(8, 3.0))
        assert values_of(snapshots.run_dir) == [(4, "error"), (8, 3.0)]

    def test_a_damaged_snapshot(self, snapshots):
        snapshots.event(4, 1.0).path.write_bytes(b"damaged")
        with inline() as metrics:
            metrics(snapshots.event(8, 3.0))
        assert values_of(snapshots.run_dir) == [(8, 3.0)]
        assert any("network-snapshot-000004.safetensors is not measured" in line for line in snapshots.lines)


class TestInAnotherProcess:
    """Starting one takes seconds, so each test does several things with it."""

    def test_gives_the_same_lines_while_training_goes_on(self, snapshots, tmp_path):
        measure = FakeMeasure(TWO)
        with SnapshotMetrics(measure, CPU, "background") as metrics:
            for kimg, value in ((4, 9.0), (8, 3.0), (12, FAILING), (16, DEADLY), (20, 5.0)):
                metrics(snapshots.event(kimg, value))
                prune_snapshots(snapshots.run_dir, keep=1)
        assert sum(line.startswith("training is over; still to be measured: ") for line in snapshots.lines) == 1
        expected = [(4, 9.0), (8, 3.0), (12, "error"), (16, "error"), (20, 5.0)]
        for name in TWO:
            assert values_of(snapshots.run_dir, name) == expected
        errors = [line["error"] for line in lines_of(snapshots.run_dir) if "error" in line]
        assert errors == ["too few images", "its process ended (exit code 9)"]
        assert load(snapshots.run_dir / BEST_NETWORK).kimg == 8
        assert not list(snapshots.run_dir.glob(".*.tmp"))

        other = Snapshots(tmp_path / "inline")
        with SnapshotMetrics(measure, CPU, "auto") as metrics:  # on a CPU: inline
            for kimg, value in ((4, 9.0), (8, 3.0)):
                metrics(other.event(kimg, value))
            assert len(values_of(other.run_dir)) == 2
        ours, theirs = (lines_of(run_dir)[:2] for run_dir in (snapshots.run_dir, other.run_dir))
        assert [line | {"timestamp": 0} for line in ours] == [line | {"timestamp": 0} for line in theirs]

    def test_a_stop_does_not_wait(self, snapshots):
        """And what was not measured is measured when the run goes on."""
        started = time.monotonic()
        with pytest.raises(TrainingStopped):
            with SnapshotMetrics(FakeMeasure(), CPU, "background") as metrics:
                metrics(snapshots.event(4, ENDLESS))
                metrics(snapshots.event(8, 3.0))
                raise TrainingStopped(15, 8.0, snapshots.run_dir)
        assert time.monotonic() - started < 60
        assert values_of(snapshots.run_dir) == []
        assert not list(snapshots.run_dir.glob(".*.tmp"))
        snapshots.event(4, 1.0)
        with inline() as metrics:
            metrics(snapshots.event(8, 3.0))
        assert values_of(snapshots.run_dir) == [(4, 1.0), (8, 3.0)]

    def test_a_network_with_nan_is_an_error(self, snapshots):
        with pytest.raises(NonFiniteError, match="the network is broken"):
            with SnapshotMetrics(FakeMeasure(), CPU, "background") as metrics:
                metrics(snapshots.event(4, BROKEN))

    def test_where_that_fails_auto_measures_in_between(self, snapshots, monkeypatch):
        monkeypatch.setattr("spine_ext.measuring.snapshot_metrics._has_room", lambda device: True)
        with SnapshotMetrics(FakeMeasure(), CPU, "auto") as metrics:
            metrics(snapshots.event(4, DEADLY))
            while not values_of(snapshots.run_dir):
                time.sleep(0.05)
            metrics(snapshots.event(8, 3.0))
            assert values_of(snapshots.run_dir) == [(4, "error"), (8, 3.0)]
        assert sum("are measured in between" in line for line in snapshots.lines) == 1

    def test_results_that_cannot_be_written_stop_nothing(self, snapshots):
        (snapshots.run_dir / "metric-fid5k_full.jsonl").mkdir()
        with SnapshotMetrics(FakeMeasure(), CPU, "background") as metrics:
            metrics(snapshots.event(4, 9.0))
        (failed,) = [line for line in snapshots.lines if "failed" in line]
        assert failed.startswith("  4.0 kimg: measuring failed: ")

    def test_a_process_that_is_killed_is_told_apart(self, snapshots):
        process = MeasuringProcess(FakeMeasure(), CPU)
        process.kill()
        assert not process.is_alive
        with pytest.raises(MeasuringProcessLost, match="exit code -9"):
            process.measure(["fid5k_full"], snapshots.event(4, 1.0).path)


def test_what_a_killed_run_held_is_removed_when_it_goes_on(snapshots):
    held = snapshots.run_dir / ".network-snapshot-000004.safetensors.0a1b2c3d.tmp"
    held.write_bytes(b"")
    rewind(snapshots.run_dir, ticks=0, kimg=4)
    assert not held.exists()


def test_room_on_a_gpu(monkeypatch):
    device, gib = torch.device("cuda", 0), 1 << 30
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 10 * gib)
    for free, expected in ((15 * gib, True), (13 * gib, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 80 * gib))
        assert _has_room(device) == expected
    assert not _has_room(CPU)

"""The best network of a run: by the lines of its metric, whatever else is in the folder."""

import json
from pathlib import Path

import pytest

from spine_ext.measuring.best_snapshot import BEST_NETWORK, BEST_RECORD, keep_best, link_file, metric_file, read_lines


def measured(run_dir: Path, metric: str, kimg: float, *values: float | None) -> dict | None:
    """Writes a network file and its line, and keeps the best."""
    path = run_dir / f"network-snapshot-{round(kimg):06d}.safetensors"
    path.write_bytes(b"network of %d" % kimg)
    results = {f"{metric}_{index}": value for index, value in enumerate(values)}
    line = {"metric": metric, "results": results, "kimg": kimg, "snapshot_pkl": path.name}
    if values == (None,):
        line = {"metric": metric, "error": "failed", "kimg": kimg, "snapshot_pkl": path.name}
    with open(metric_file(run_dir, metric), "a") as file:
        file.write(json.dumps(line) + "\n")
    return keep_best(run_dir, metric, path, path.name)


def best_of(run_dir: Path) -> str:
    record = json.loads((run_dir / BEST_RECORD).read_text())
    assert (run_dir / BEST_NETWORK).read_bytes() == b"network of %d" % record["kimg"]
    return record["snapshot"]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("fid50k_full", [9, 3, 5], 2),
        ("kid50k_full", [9, 3, 5], 2),
        ("ppl2_wend", [9, 3, 5], 2),
        ("is50k", [9, 3, 5], 1),
        ("pr50k3_full", [9, 3, 5], 1),
        ("dc50k5_full", [1, 3, 5], 3),
        ("fid50k_full", [3, 3, 3], 1),
        ("fid50k_full", [None, 8, None], 2),
        ("fid50k_full", [float("nan"), 8, 9], 2),
    ],
)
def test_the_better_one_is_kept(tmp_path, metric, values, best):
    for kimg, value in enumerate(values, start=1):
        measured(tmp_path, metric, kimg, value)
    assert best_of(tmp_path) == f"network-snapshot-{best:06d}.safetensors"


def test_of_several_values_the_first_decides(tmp_path):
    measured(tmp_path, "pr50k3_full", 1, 0.5, 0.9)
    record = measured(tmp_path, "pr50k3_full", 2, 0.6, 0.1)
    assert (record["metric"], record["value"], record["kimg"]) == ("pr50k3_full_0", 0.6, 2)


def test_survives_pruning(tmp_path):
    measured(tmp_path, "fid1k_full", 1, 3)
    (tmp_path / "network-snapshot-000001.safetensors").unlink()
    measured(tmp_path, "fid1k_full", 2, 5)
    assert best_of(tmp_path) == "network-snapshot-000001.safetensors"


def test_a_better_one_that_was_measured_after_it_was_pruned(tmp_path):
    """As in the background, where `measured` is a second name of the file."""
    measured(tmp_path, "fid1k_full", 1, 3)
    line = {"results": {"fid1k_full": 2}, "kimg": 2, "snapshot_pkl": "network-snapshot-000002.safetensors"}
    with open(metric_file(tmp_path, "fid1k_full"), "a") as file:
        file.write(json.dumps(line) + "\n")
    (tmp_path / ".held.tmp").write_bytes(b"network of 2")
    keep_best(tmp_path, "fid1k_full", tmp_path / ".held.tmp", "network-snapshot-000002.safetensors")
    assert best_of(tmp_path) == "network-snapshot-000002.safetensors"


def test_after_a_run_was_put_back(tmp_path):
    """The best of what came later is forgotten with its line."""
    measured(tmp_path, "fid1k_full", 1, 5)
    measured(tmp_path, "fid1k_full", 2, 3)
    first = metric_file(tmp_path, "fid1k_full").read_text().splitlines()[0]
    metric_file(tmp_path, "fid1k_full").write_text(first + "\n")
    measured(tmp_path, "fid1k_full", 2, 7)
    assert best_of(tmp_path) == "network-snapshot-000001.safetensors"


def test_nothing_measured(tmp_path):
    assert measured(tmp_path, "fid1k_full", 1, None) is None
    assert not (tmp_path / BEST_NETWORK).exists()


def test_a_damaged_record_is_written_again(tmp_path):
    measured(tmp_path, "fid1k_full", 1, 3)
    (tmp_path / BEST_RECORD).write_text("{")
    measured(tmp_path, "fid1k_full", 2, 5)
    assert best_of(tmp_path) == "network-snapshot-000001.safetensors"


def test_lines_that_are_cut_off_are_passed_over(tmp_path):
    metric_file(tmp_path, "fid1k_full").write_bytes(b'{"kimg": 1}\n[1]\n\xff\n{"kim')
    assert read_lines(tmp_path, "fid1k_full") == [{"kimg": 1}]
    assert read_lines(tmp_path, "kid1k_full") == []


def test_a_link_without_hard_links_is_a_copy(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError("not supported")

    (tmp_path / "a").write_text("a")
    link_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").samefile(tmp_path / "a")
    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "c").write_text("c")
    link_file(tmp_path / "c", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "c"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]

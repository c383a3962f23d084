"""Lines of metric-<name>.jsonl and the table for people."""

import json

import pytest

from metrics.measure import ClassResults, Measurement
from metrics.records import format_seconds, jsonl_record, result_table

ONE = Measurement(
    "pr5k3_full",
    {"pr5k3_full_precision": 0.4601, "pr5k3_full_recall": 0.015925},
    num_real=3773,
    num_fake=5000,
    detectors={"vgg16": "b437"},
    seed=7,
    seconds=62.4,
    per_class={
        "normal": ClassResults({"pr5k3_full_precision": 0.5, "pr5k3_full_recall": 0.25}, 2303, 2500),
        "abnormal": ClassResults(None, 8, 2500, "8 real images, at least 10 are needed"),
    },
)


def test_a_line_has_the_official_keys_first_and_ours_behind():
    record = jsonl_record(ONE, snapshot="network-snapshot-004200.safetensors", num_gpus=2, kimg=4200.0, notes=["n"])
    assert list(record)[:7] == [
        "results", "metric", "total_time", "total_time_str", "num_gpus", "snapshot_pkl", "timestamp",
    ]  # fmt: skip
    assert record["results"] == ONE.results
    assert (record["total_time"], record["total_time_str"]) == (62.4, "1m 02s")
    assert (record["num_real"], record["num_fake"], record["seed"], record["detectors"]) == (
        3773,
        5000,
        7,
        {"vgg16": "b437"},
    )
    assert record["per_class"]["abnormal"] == {
        "results": None, "num_real": 8, "num_fake": 2500, "reason": "8 real images, at least 10 are needed",
    }  # fmt: skip
    assert (record["kimg"], record["notes"]) == (4200.0, ["n"])
    assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (62, "1m 02s"), (3900, "1h 05m 00s"), (90061, "25h 01m 01s")],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_the_table_has_a_row_per_value_and_class():
    lines = [line.split() for line in result_table([ONE]).splitlines()]
    assert lines == [
        ["value", "real", "fake"],
        ["pr5k3_full_precision", "0.4601", "3773", "5000"],
        ["normal", "0.5", "2303", "2500"],
        ["abnormal", "-", "8", "2500"],
        ["pr5k3_full_recall", "0.015925", "3773", "5000"],
        ["normal", "0.25", "2303", "2500"],
        ["abnormal", "-", "8", "2500"],
    ]
    assert len({len(line) for line in result_table([ONE]).splitlines()}) == 1

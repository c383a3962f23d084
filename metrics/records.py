"""Measurements as lines of metric-<name>.jsonl, in the official form and with what we add."""

import dataclasses
import time
from collections.abc import Sequence

from .measure import ClassResults, Measurement


def jsonl_record(measurement: Measurement, *, snapshot: str | None, num_gpus: int, **more: object) -> dict[str, object]:
    """The official keys first. snapshot: name of the network file, None for a set of images; more: further keys."""
    record = {
        "results": measurement.results,
        "metric": measurement.metric,
        "total_time": measurement.seconds,
        "total_time_str": format_seconds(measurement.seconds),
        "num_gpus": num_gpus,
        "snapshot_pkl": snapshot,
        "timestamp": time.time(),
        "num_real": measurement.num_real,
        "num_fake": measurement.num_fake,
        "detectors": measurement.detectors,
        "seed": measurement.seed,
    }
    if measurement.per_class is not None:
        record["per_class"] = {name: dataclasses.asdict(one) for name, one in measurement.per_class.items()}
    return record | more


def format_seconds(seconds: float) -> str:
    """58s, 1m 02s, 1h 05m 00s: the form of the official lines."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m {rest:02d}s"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def result_table(measurements: Sequence[Measurement]) -> str:
    """For people: a row per value, those of single classes below the value of all."""
    rows = [("", "value", "real", "fake")]
    for one in measurements:
        for key, value in one.results.items():
            rows.append((key, f"{value:.5g}", _count(one.num_real), str(one.num_fake)))
            rows += [_class_row(name, key, found) for name, found in (one.per_class or {}).items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _class_row(name: str, key: str, found: ClassResults) -> tuple[str, str, str, str]:
    value = "-" if found.results is None else f"{found.results[key]:.5g}"
    return f"  {name}", value, _count(found.num_real), str(found.num_fake)


def _count(count: int | None) -> str:
    return "-" if count is None else str(count)

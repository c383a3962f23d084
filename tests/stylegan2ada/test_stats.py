"""Statistics: means over a tick, and what becomes of a NaN."""

import json
import math

import pytest
import torch

from stylegan2ada.errors import NonFiniteError
from stylegan2ada.stats import RunningMeans, StatsWriter


def test_means_count_every_value_and_start_anew():
    means = RunningMeans()
    means.add({"a": torch.tensor([1.0, 2.0]), "b": torch.ones(1)})
    means.add({"a": torch.tensor([6.0]), "c": torch.zeros(0, 1)})
    assert means.pop() == {"a": 3.0, "b": 1.0}
    assert means.pop() == {}


def test_a_nan_stays_one_in_the_mean():
    means = RunningMeans()
    means.add({"a": torch.tensor([1.0, float("nan")])})
    means.add({"a": torch.tensor([1.0])})
    assert math.isnan(means.pop()["a"])


class TestWriter:
    @pytest.fixture
    def writer(self, tmp_path):
        writer = StatsWriter(tmp_path)
        yield writer
        writer.close()

    def test_a_value_that_is_not_finite_is_one_clear_error(self, writer, tmp_path):
        with pytest.raises(NonFiniteError, match=r"statistics at 2\.0 kimg: the mean of b, c is not finite"):
            writer.write({"a": 1.0, "b": float("nan"), "c": float("-inf")}, 2.0)
        assert (tmp_path / "stats.jsonl").read_text() == ""

    def test_where_it_is_tolerated_it_is_null(self, writer, tmp_path):
        writer.write({"a": 1.0, "b": float("nan")}, 2.0, tolerate_non_finite=True)
        line = json.loads((tmp_path / "stats.jsonl").read_text())
        assert (line["a"], line["b"]) == (1.0, None)

"""What the names of metrics mean."""

import pytest

from metrics.errors import MetricError
from metrics.names import (
    DensityCoverageRequest,
    FrechetRequest,
    InceptionScoreRequest,
    KernelRequest,
    PathLengthRequest,
    PrecisionRecallRequest,
    parse_metrics,
    parse_name,
    parse_names,
    real_limit,
    roles_of,
)


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("fid50k_full", FrechetRequest("fid50k_full", 50_000, None)),
        ("fid5k_full", FrechetRequest("fid5k_full", 5_000, None)),
        ("fid500_full", FrechetRequest("fid500_full", 500, None)),
        ("fid50k", FrechetRequest("fid50k", 50_000, 50_000)),
        ("kid50k_full", KernelRequest("kid50k_full", 50_000, 1_000_000, 100, 1000)),
        ("kid50k", KernelRequest("kid50k", 50_000, 50_000, 100, 1000)),
        ("pr50k3_full", PrecisionRecallRequest("pr50k3_full", 50_000, 200_000, 3)),
        ("pr50k3", PrecisionRecallRequest("pr50k3", 50_000, 50_000, 3)),
        ("pr5005_full", PrecisionRecallRequest("pr5005_full", 500, 200_000, 5)),
        ("dc50k5_full", DensityCoverageRequest("dc50k5_full", 50_000, 200_000, 5)),
        ("is50k", InceptionScoreRequest("is50k", 50_000, 10)),
        ("ppl2_wend", PathLengthRequest("ppl2_wend", 50_000, "w", "end")),
        ("ppl2_wend_1k", PathLengthRequest("ppl2_wend_1k", 1_000, "w", "end")),
        ("ppl_zfull", PathLengthRequest("ppl_zfull", 50_000, "z", "full")),
        ("ppl_wfull", PathLengthRequest("ppl_wfull", 50_000, "w", "full")),
        ("ppl_zend", PathLengthRequest("ppl_zend", 50_000, "z", "end")),
        ("ppl_wend", PathLengthRequest("ppl_wend", 50_000, "w", "end")),
    ],
)
def test_names(name, request_):
    assert parse_name(name) == request_


@pytest.mark.parametrize(
    "name",
    ["fid", "FID50k_full", "fid50k_half", "fid5m_full", "pr50k_full", "pr50k0", "is50k_full", "ppl2_xend", "", "none"],
)
def test_unknown_names_raise_and_say_what_exists(name):
    with pytest.raises(MetricError, match=f"no metric '{name}'; there are fid50k_full, .*ppl2_wend"):
        parse_name(name)


@pytest.mark.parametrize(("name", "least"), [("fid1_full", 2), ("kid0", 2), ("pr33_full", 4), ("is9", 10)])
def test_numbers_of_images_that_give_no_number_raise(name, least):
    with pytest.raises(MetricError, match=f"{name}: . images give no number, at least {least}"):
        parse_name(name)


def test_lists():
    assert [one.name for one in parse_metrics("is50k, fid50k_full,is50k")] == ["is50k", "fid50k_full"]
    with pytest.raises(MetricError, match="no metrics are named"):
        parse_names([])


def test_the_limit_of_real_images_is_the_lowest():
    assert real_limit(parse_metrics("fid50k_full,is50k,ppl2_wend")) is None
    assert real_limit(parse_metrics("fid50k_full,kid50k_full,pr50k3_full")) == 200_000


def test_roles_are_the_detectors_needed():
    assert roles_of(parse_metrics("kid5k,fid5k,dc5k5")) == ("distribution", "manifold")
    assert roles_of(parse_metrics("is5k,ppl2_wend")) == ("probabilities", "perceptual")


@pytest.mark.parametrize(
    ("name", "count", "other"),
    [
        ("fid50k_full", 640, "fid640_full"),
        ("kid50k", 2000, "kid2k"),
        ("pr50k3_full", 640, "pr6403_full"),
        ("dc50k5", 1000, "dc1k5"),
        ("is50k", 70, "is70"),
        ("ppl2_wend", 128, "ppl2_wend_128"),
    ],
)
def test_the_same_metric_of_another_count(name, count, other):
    assert parse_name(name).of_count(count) == other
    assert parse_name(other).num_fake == count
    assert type(parse_name(other)) is type(parse_name(name))

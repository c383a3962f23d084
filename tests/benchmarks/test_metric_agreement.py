"""Each metric agrees with independent implementations, and the table would show it if one did not."""

import math

import numpy as np
import pytest

from benchmarks import fidelity, metric_cases, metric_references
from benchmarks.metric_agreement import measured, table
from benchmarks.metric_comparisons import Comparison, of_classes, of_conventions, of_features, of_paths, of_predictions

CASES = metric_cases.plain_features(0)[:2]

# Everything else agrees to rounding. A square root of a covariance loses half the digits, most where it is singular;
# a bootstrap is as exact as its draws.
LARGEST_RELATIVE = {"Frechet distance": 1e-6, "KID, 1000 from zero": 1e-8, "standard error of the AUC": 0.1}


def limit(metric: str, other: str) -> float:
    in_float32 = metric.startswith("precision") and other == "torch-fidelity"  # the share itself is
    loose = [value for name, value in LARGEST_RELATIVE.items() if metric.startswith(name)]
    return 1e-6 if in_float32 else (loose or [1e-11])[0]


@pytest.mark.parametrize(
    "comparison",
    [*of_features(large=False), *of_classes(), *of_paths(), *of_predictions()],
    ids=lambda comparison: f"{comparison.metric}: {comparison.other}",
)
def test_a_metric_agrees(comparison: Comparison) -> None:
    (row,) = measured([comparison])
    if row.absolute is None:
        pytest.skip(f"{comparison.package} is not installed")
    assert row.relative <= limit(row.metric, row.other), row
    assert row.cases == len(comparison.cases) > 0


def comparison_of(ours, theirs, package: str | None = None) -> Comparison:
    return Comparison("a metric", "another", ours, theirs, CASES, package)


def test_a_difference_is_shown_with_its_case() -> None:
    (row,) = measured([comparison_of(lambda case: [1.0, 2.0], lambda case: [1.0, 4.0 if "normal" in case.name else 2])])
    assert (row.absolute, row.relative, row.worst) == (2, 0.5, CASES[0].name)
    assert list(table("other", [row]))[2] == f"| a metric | another | 2 | 2.0e+00 | 5.0e-01 | {CASES[0].name} |"


@pytest.mark.parametrize("broken", ["ours", "theirs"])
def test_a_nan_is_not_hidden(broken: str) -> None:
    values = {"ours": lambda case: 1.0, "theirs": lambda case: 1.0, broken: lambda case: np.nan}
    (row,) = measured([comparison_of(**values)])
    assert math.isnan(row.absolute)
    assert math.isnan(row.relative)


def test_other_numbers_of_numbers_are_no_agreement() -> None:
    with pytest.raises(ValueError, match="normal, 400 and 300 x 16"):
        list(measured([comparison_of(lambda case: [1.0, 1.0], lambda case: 1.0)]))


def test_zeros_have_no_relative_error() -> None:
    (row,) = measured([comparison_of(lambda case: 1e-12, lambda case: 0.0)])
    assert (row.absolute, row.relative) == (1e-12, 0)


def test_what_is_not_installed_is_said() -> None:
    (row,) = measured([comparison_of(lambda case: 1.0, lambda case: 1 / 0, package="no_such_package")])
    assert "| not installed |" in list(table("other", [row]))[2]


def test_a_covariance_divided_otherwise_is_seen() -> None:
    """The table can tell conventions apart: N - 1 instead of N shows at once."""
    row = next(row for row in measured(of_conventions()[:1]) if row.metric == "Frechet distance")
    if row.absolute is None:
        pytest.skip("torch_fidelity is not installed")
    assert row.relative > 1e-4


def test_references_agree_with_numbers_worked_out_by_hand() -> None:
    real, fake = np.array([[0.0], [1], [10]]), np.array([[-1.5], [-1], [2], [19], [19.5], [40]])
    precision, recall = metric_references.precision_recall_by_loops(real, fake, 1)
    assert (precision, recall) == pytest.approx((3 / 6, 2 / 3))  # balls [-1, 1], [0, 2], [1, 19]
    density, coverage = metric_references.density_coverage_by_loops(real, fake, 1)
    assert (density, coverage) == pytest.approx((4 / 6, 1))  # -1; 2; 2 and 19
    assert metric_references.frechet_by_sqrtm(real, real + 3) == pytest.approx(9, abs=1e-6)
    assert metric_references.kid_by_pairs(np.ones((2, 1)), np.zeros((2, 1))) == pytest.approx(8 + 1 - 2)
    assert metric_references.auc_by_pairs(np.array([1, 1, 0, 0]), np.array([3, 1, 1, 0])) == 3.5 / 4


def test_packages_are_found_by_their_import_name() -> None:
    assert fidelity.is_installed("numpy")
    assert not fidelity.is_installed("no_such_package")

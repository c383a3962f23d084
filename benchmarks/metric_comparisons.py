"""What is compared with what: each metric of ours, an independent implementation of it, and the cases."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
import sklearn.calibration
import sklearn.metrics

from metrics.density_coverage import density_coverage
from metrics.frechet import frechet_distance
from metrics.inception_score import inception_score
from metrics.kid import kernel_distance
from metrics.perceptual_path_length import mean_path_length
from metrics.precision_recall import precision_recall
from spine_ext.evaluation import area_under_roc
from spine_ext.statistics.calibration import brier_score, expected_calibration_error, reliability_curve
from spine_ext.statistics.confusion import confusion_at, youden_threshold
from spine_ext.statistics.delong import auc_with_interval, compare_aucs
from spine_ext.statistics.grouped_bootstrap import resampled_weights, weighted_auc

from . import fidelity, metric_cases, metric_references
from .metric_cases import Classes, Features, Paths, Predictions

SEED = 0
BOOTSTRAPS = 2000
LOGIT_REACH = 1.959963984540054  # standard errors to either end of a 95% interval

Case = Features | Classes | Paths | Predictions
Values = Callable[[Case], float | Sequence[float] | np.ndarray]


class Comparison(NamedTuple):
    """Two functions that should give the same numbers for each case. package: what the second one needs."""

    metric: str
    other: str
    ours: Values
    theirs: Values
    cases: Sequence[Case]
    package: str | None = None


def of_features(large: bool = True) -> list[Comparison]:
    plain, extreme = metric_cases.plain_features(SEED), metric_cases.extreme_features(SEED)
    far, wide = metric_cases.far_features(SEED), metric_cases.wide_features(SEED)
    repeated = metric_cases.repeated_features(SEED)
    regular = plain + extreme + far
    narrow = [case for case in regular + wide if case.real.shape[1] < 20]
    tall = regular + (metric_cases.large_features(SEED) if large else [])
    paired = [case.of_equal_counts() for case in plain + extreme + wide + repeated]
    distances = [case.doubled() for case in regular + wide]
    return [
        Comparison("Frechet distance, D < 20", "mpmath, 50 digits", _frechet,
                   lambda case: metric_references.frechet_in_50_digits(case.real, case.fake), narrow),
        Comparison("Frechet distance, N > D", "scipy.linalg.sqrtm", _frechet,
                   lambda case: metric_references.frechet_by_sqrtm(case.real, case.fake), tall),
        Comparison("Frechet distance, N > D", "torch-fidelity, given covariances / N", _frechet,
                   lambda case: fidelity.frechet(case.real, case.fake, bias=True), tall, "torch_fidelity"),
        Comparison("Frechet distance, N < D", "closed form, fakes = 1.3 reals + 0.2",
                   lambda case: frechet_distance(case.real, case.real * 1.3 + 0.2),
                   lambda case: metric_references.frechet_of_scaled_and_shifted(case.real, 1.3, 0.2), wide),
        Comparison("Frechet distance, N < D", "scipy.linalg.sqrtm", _frechet,
                   lambda case: metric_references.frechet_by_sqrtm(case.real, case.fake), wide),
        Comparison("Frechet distance, N < D", "torch-fidelity, given covariances / N", _frechet,
                   lambda case: fidelity.frechet(case.real, case.fake, bias=True), wide, "torch_fidelity"),
        Comparison("KID, one subset of all", "sum over pairs, kernel of scikit-learn", _kid_of_all,
                   lambda case: metric_references.kid_by_pairs(case.real, case.fake), paired),
        Comparison("KID, one subset of all", "torch-fidelity", _kid_of_all,
                   lambda case: fidelity.kid(case.real, case.fake, 1, len(case.real)),
                   [case.doubled() for case in paired], "torch_fidelity"),
        Comparison("KID, 1000 from zero", "sum over pairs, kernel of scikit-learn", _kid_of_all,
                   lambda case: metric_references.kid_by_pairs(case.real, case.fake),
                   [case.of_equal_counts() for case in far]),
        Comparison("precision and recall, k = 3", "loops over images", _precision_recall,
                   lambda case: metric_references.precision_recall_by_loops(case.real, case.fake, 3),
                   regular + wide + repeated),
        Comparison("precision and recall, k = 3", "torch-fidelity", _precision_recall,
                   lambda case: fidelity.precision_recall(case.real, case.fake, 3), distances, "torch_fidelity"),
        Comparison("precision and recall, k = 3", "prdc", _precision_recall,
                   lambda case: fidelity.prdc(case.real, case.fake, 3)[:2], distances, "prdc"),
        Comparison("density and coverage, k = 5", "loops over balls", _density_coverage,
                   lambda case: metric_references.density_coverage_by_loops(case.real, case.fake, 5),
                   [case for case in regular + wide + repeated if len(case.real) > 7]),
        Comparison("density and coverage, k = 5", "prdc", _density_coverage,
                   lambda case: fidelity.prdc(case.real, case.fake, 5)[2:],
                   [case for case in distances if len(case.real) > 7], "prdc"),
    ]  # fmt: skip


def of_classes() -> list[Comparison]:
    cases = metric_cases.class_cases(SEED)
    return [
        Comparison("Inception score, 10 splits", "entropies of scipy", _inception_score,
                   lambda case: metric_references.inception_score_by_entropies(_softmax(case), 10), cases),
        Comparison("Inception score, 10 splits", "torch-fidelity, not shuffled", _inception_score,
                   lambda case: fidelity.inception_score(case.logits, 10), cases, "torch_fidelity"),
        Comparison("macro AUC", "share of pairs in order",
                   lambda case: area_under_roc(np.eye(case.logits.shape[1])[case.labels], _softmax(case)),
                   lambda case: metric_references.macro_auc_by_pairs(case.labels, _softmax(case)), cases[:2]),
    ]  # fmt: skip


def of_paths() -> list[Comparison]:
    return [
        Comparison("path length, outer 1% left out", "sorted and counted",
                   lambda case: mean_path_length(case.lengths),
                   lambda case: metric_references.mean_path_length_by_sorting(case.lengths),
                   metric_cases.path_cases(SEED)),
    ]  # fmt: skip


def of_predictions() -> list[Comparison]:
    cases = metric_cases.prediction_cases(SEED)
    no_ties = [case for case in cases if "ties" not in case.name]
    return [
        Comparison("AUC", "scikit-learn", lambda case: auc_with_interval(case.labels, case.scores)[0],
                   lambda case: sklearn.metrics.roc_auc_score(case.labels, case.scores), cases),
        Comparison("AUC with 95% interval", "DeLong 1988 from all pairs, logit scale",
                   lambda case: auc_with_interval(case.labels, case.scores),
                   lambda case: metric_references.delong_interval_by_components(case.labels, case.scores), cases),
        Comparison("paired test: difference, z, p", "DeLong 1988 from all pairs", _paired_test,
                   lambda case: metric_references.delong_test_by_components(*case[1:]), cases),
        Comparison("standard error of the AUC", f"bootstrap, {BOOTSTRAPS:,} draws", _error_of_auc,
                   lambda case: metric_references.bootstrap_error(case.labels, case.scores, BOOTSTRAPS, SEED), cases),
        Comparison("AUC of resampled studies", "scikit-learn, images weighted", _resampled_aucs,
                   lambda case: [sklearn.metrics.roc_auc_score(case.labels, case.scores, sample_weight=weights)
                                 for weights in _weights(case)], cases),
        Comparison("confusion at 0.5", "scikit-learn", _confusion,
                   lambda case: sklearn.metrics.confusion_matrix(case.labels, case.scores >= 0.5).ravel(), cases),
        Comparison("Youden's index, largest", "scikit-learn's ROC curve", _largest_youden_index,
                   lambda case: _largest_height_above_diagonal(case.labels, case.scores), cases),
        Comparison("reliability curve, 10 bins", "scikit-learn", _reliability,
                   lambda case: np.concatenate(
                       sklearn.calibration.calibration_curve(case.labels, case.scores, n_bins=10)), no_ties),
        Comparison("expected calibration error", "loop over bins",
                   lambda case: expected_calibration_error(case.labels, case.scores),
                   lambda case: metric_references.calibration_error_by_loops(case.labels, case.scores, 10), cases),
        Comparison("Brier score", "scikit-learn", lambda case: brier_score(case.labels, case.scores),
                   lambda case: sklearn.metrics.brier_score_loss(case.labels, case.scores), cases),
    ]  # fmt: skip


def of_conventions() -> list[Comparison]:
    """Differences that are expected: they say what a choice is worth, not that something is wrong."""
    plain, repeated = metric_cases.plain_features(SEED), metric_cases.repeated_features(SEED)
    predictions = metric_cases.prediction_cases(SEED)
    return [
        Comparison("Frechet distance", "torch-fidelity as it is: covariances / (N - 1)", _frechet,
                   lambda case: fidelity.frechet(case.real, case.fake, bias=False), plain, "torch_fidelity"),
        Comparison("KID, 100 subsets of 100", "torch-fidelity: another draw of subsets",
                   lambda case: kernel_distance(case.real, case.fake, 100, 100, seed=SEED),
                   lambda case: fidelity.kid(case.real, case.fake, 100, 100),
                   [case.doubled() for case in plain], "torch_fidelity"),
        Comparison("KID, 100 subsets of 100", "ours with another seed",
                   lambda case: kernel_distance(case.real, case.fake, 100, 100, seed=SEED),
                   lambda case: kernel_distance(case.real, case.fake, 100, 100, seed=SEED + 1), plain),
        Comparison("KID of float32 features, all", "torch-fidelity: computes in float32",
                   _kid_of_all, lambda case: fidelity.kid(case.real, case.fake, 1, len(case.real)),
                   [case.of_equal_counts() for case in plain if case.real.dtype == np.float32], "torch_fidelity"),
        Comparison("precision and recall, duplicates", "torch-fidelity: rounded distances", _precision_recall,
                   lambda case: fidelity.precision_recall(case.real, case.fake, 3), repeated, "torch_fidelity"),
        Comparison("precision and recall, duplicates", "prdc: a point on a sphere is outside", _precision_recall,
                   lambda case: fidelity.prdc(case.real, case.fake, 3)[:2], repeated, "prdc"),
        Comparison("density and coverage, duplicates", "prdc: a point on a sphere is outside", _density_coverage,
                   lambda case: fidelity.prdc(case.real, case.fake, 5)[2:], repeated, "prdc"),
        Comparison("Inception score, 10 splits", "torch-fidelity as it is: shuffled", _inception_score,
                   lambda case: fidelity.inception_score(case.logits, 10, shuffle=True),
                   metric_cases.class_cases(SEED), "torch_fidelity"),
        Comparison("reliability curve, ties", "scikit-learn: an edge belongs to the lower bin", _reliability,
                   lambda case: np.concatenate(
                       sklearn.calibration.calibration_curve(case.labels, case.scores, n_bins=10)),
                   [case for case in predictions if "ties" in case.name]),
    ]  # fmt: skip


def _frechet(case: Features) -> float:
    return frechet_distance(case.real, case.fake)


def _kid_of_all(case: Features) -> float:
    """Of sets of equal size one subset is everything, whichever way it is drawn."""
    return kernel_distance(case.real, case.fake, 1, len(case.real), seed=SEED)


def _precision_recall(case: Features) -> tuple[float, float]:
    return precision_recall(case.real, case.fake, 3)


def _density_coverage(case: Features) -> tuple[float, float]:
    return density_coverage(case.real, case.fake, 5)


def _softmax(case: Classes) -> np.ndarray:
    return scipy.special.softmax(case.logits, axis=1)


def _inception_score(case: Classes) -> tuple[float, float]:
    return inception_score(_softmax(case), 10)


def _paired_test(case: Predictions) -> tuple[float, float, float]:
    found = compare_aucs(case.labels, case.scores, case.other_scores)
    return found.difference, found.z, found.p


def _error_of_auc(case: Predictions) -> float:
    """Back from the interval, which is symmetric on the logit scale."""
    auc, low, high = auc_with_interval(case.labels, case.scores)
    return float(scipy.special.logit(high) - scipy.special.logit(low)) / (2 * LOGIT_REACH) * auc * (1 - auc)


def _weights(case: Predictions) -> np.ndarray:
    """How often each image is drawn in each of 20 resamples of studies of three images."""
    return resampled_weights(case.labels, np.arange(len(case.labels)) // 3, np.random.default_rng(SEED), 20)


def _resampled_aucs(case: Predictions) -> np.ndarray:
    return weighted_auc(case.labels == 1, case.scores, _weights(case))


def _confusion(case: Predictions) -> tuple[int, int, int, int]:
    found = confusion_at(case.labels, case.scores, 0.5)
    return found.true_negatives, found.false_positives, found.false_negatives, found.true_positives


def _largest_youden_index(case: Predictions) -> float:
    return confusion_at(case.labels, case.scores, youden_threshold(case.labels, case.scores)).youden_index


def _largest_height_above_diagonal(labels: np.ndarray, scores: np.ndarray) -> float:
    false_positives, true_positives, _ = sklearn.metrics.roc_curve(labels, scores, drop_intermediate=False)
    return float((true_positives - false_positives).max())


def _reliability(case: Predictions) -> np.ndarray:
    """As scikit-learn gives it: shares of class 1, then mean probabilities, of the bins that are not empty."""
    curve = reliability_curve(case.labels, case.scores)
    return np.array([each.positive_share for each in curve] + [each.mean_probability for each in curve])

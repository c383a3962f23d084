"""All numbers of one test, out of the predictions alone, as plain JSON values."""

import dataclasses
import math

import numpy as np
import sklearn.metrics

from stylegan2ada.errors import UserError

from ..statistics.calibration import brier_score, expected_calibration_error, reliability_curve
from ..statistics.confusion import confusion_at, youden_threshold
from ..statistics.delong import auc_with_interval
from ..statistics.grouped_bootstrap import draw_resamples
from .predictions import Predictions


def check_threshold(threshold: float | None) -> None:
    if threshold is not None and not (math.isfinite(threshold) and 0 <= threshold <= 1):
        raise UserError(f"the threshold is {threshold}: give a probability between 0 and 1")


def judged(test: Predictions, validation: Predictions | None, threshold: float | None, seed: int) -> dict:
    """AUC with its 95% interval, AUCs per class, confusion and calibration.

    Two classes: DeLong's interval, and where studies are known one that resamples studies; decisions at `threshold`,
    else at Youden's on the validation images, else at 0.5. More: the macro AUC and a bootstrap interval; the most
    probable class is the decision.
    """
    if len(test.class_names) == 2:
        return _two_classes(test, validation, threshold, seed)
    return _many_classes(test, seed)


def _two_classes(test: Predictions, validation: Predictions | None, threshold: float | None, seed: int) -> dict:
    scores = test.probabilities[:, 1]
    auc, low, high = auc_with_interval(test.classes, scores)
    by_study = None
    if test.groups is not None:
        resamples = draw_resamples(test.classes, test.groups, seed)
        by_study = dataclasses.asdict(resamples.interval(resamples.macro_aucs(test.probabilities)))
    chosen, origin = _threshold(validation, threshold)
    confusion = confusion_at(test.classes, scores, chosen)
    rates = ("sensitivity", "specificity", "accuracy", "youden_index", "positive_predictive_value",
             "negative_predictive_value")  # fmt: skip
    return {
        "test_auc": auc,
        "low": low,
        "high": high,
        "interval": "DeLong",
        "interval_by_study": by_study,
        "per_class": [],
        "confusion": {
            **dataclasses.asdict(confusion),
            "threshold_from": origin,
            **{name: getattr(confusion, name) for name in rates},
        },
        "calibration": _calibration(test.classes, scores, test.class_names[1]),
    }


def _many_classes(test: Predictions, seed: int) -> dict:
    aucs = []
    for label, name in enumerate(test.class_names):
        auc, low, high = auc_with_interval(test.classes == label, test.probabilities[:, label])
        aucs.append({"class": name, "auc": auc, "low": low, "high": high, "images": int((test.classes == label).sum())})
    resamples = draw_resamples(test.classes, test.groups, seed)
    interval = resamples.doubted(resamples.interval(resamples.macro_aucs(test.probabilities)))
    decided = test.probabilities.argmax(axis=1)
    counts = sklearn.metrics.confusion_matrix(test.classes, decided, labels=range(len(test.class_names)))
    return {
        "test_auc": float(np.mean([one["auc"] for one in aucs])),
        "low": interval.low,
        "high": interval.high,
        "interval": f"bootstrap over {interval.groups} {'images' if test.groups is None else 'studies'}",
        "interval_by_study": None if test.groups is None else dataclasses.asdict(interval),
        "per_class": aucs,
        "confusion": {"counts": counts.tolist(), "accuracy": float((decided == test.classes).mean())},
        # Whether being 80% sure is being right in 80 of 100 images.
        "calibration": _calibration(decided == test.classes, test.probabilities.max(axis=1), "the class decided for"),
    }


def _threshold(validation: Predictions | None, threshold: float | None) -> tuple[float, str]:
    if threshold is not None:
        return threshold, "given"
    if validation is None:
        return 0.5, "one half, without validation images"
    return youden_threshold(validation.classes, validation.probabilities[:, 1]), "Youden on the validation images"


def _calibration(labels: np.ndarray, probabilities: np.ndarray, of: str) -> dict:
    probabilities = probabilities.clip(0, 1)  # a sum of rounded numbers may be above 1 in its last bit
    return {
        "probability_of": of,
        "expected_calibration_error": expected_calibration_error(labels, probabilities),
        "brier_score": brier_score(labels, probabilities),
        "bins": [dataclasses.asdict(one) for one in reliability_curve(labels, probabilities)],
    }

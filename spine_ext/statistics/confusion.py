"""Decisions at a threshold: the confusion table, and Youden's choice of the threshold."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from stylegan2ada.errors import UserError

from .binary_predictions import checked_predictions


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Counts of decisions by truth; a score at the threshold or above decides for class 1."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def sensitivity(self) -> float:
        return self.true_positives / (self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float:
        return self.true_negatives / (self.true_negatives + self.false_positives)

    @property
    def accuracy(self) -> float:
        right = self.true_positives + self.true_negatives
        return right / (right + self.false_positives + self.false_negatives)

    @property
    def youden_index(self) -> float:
        """Sensitivity + specificity - 1, in [-1, 1]."""
        return self.sensitivity + self.specificity - 1

    @property
    def positive_predictive_value(self) -> float | None:
        """At this test's prevalence; None where nothing was decided for class 1."""
        decided = self.true_positives + self.false_positives
        return self.true_positives / decided if decided else None

    @property
    def negative_predictive_value(self) -> float | None:
        """At this test's prevalence; None where nothing was decided for class 0."""
        decided = self.true_negatives + self.false_negatives
        return self.true_negatives / decided if decided else None


def confusion_at(labels: ArrayLike, scores: ArrayLike, threshold: float) -> Confusion:
    """Decisions `score >= threshold` for scores (N,) against labels (N,) of 0 and 1.

    Raises `UserError` where a class has no image, a score is not finite, or the threshold is NaN.
    """
    if math.isnan(threshold):
        raise UserError("the threshold is NaN: give a number")
    positives, scores = checked_predictions(labels, scores, least_per_class=1)
    decided = scores >= threshold
    return Confusion(
        threshold=float(threshold),
        true_positives=int((decided & positives).sum()),
        false_positives=int((decided & ~positives).sum()),
        false_negatives=int((~decided & positives).sum()),
        true_negatives=int((~decided & ~positives).sum()),
    )


def youden_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The score that as threshold makes sensitivity + specificity largest; among equals the highest, most specific.

    Youden, "Index for rating diagnostic tests", Cancer 3 (1950). Choose it on the validation images and judge it on
    the test images: chosen and judged on the same images it flatters. Raises `UserError` where a class has no image or
    a score is not finite.
    """
    positives, scores = checked_predictions(labels, scores, least_per_class=1)
    values, place = np.unique(scores, return_inverse=True)
    at_or_above = [np.bincount(place[of], minlength=len(values))[::-1].cumsum() for of in (positives, ~positives)]
    index = at_or_above[0] * (~positives).sum() - at_or_above[1] * positives.sum()  # integers, so that ties are ties
    return float(values[::-1][index.argmax()])

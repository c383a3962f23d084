"""Labels and scores of a two-class test as the statistics take them: checked once, in one place."""

import numpy as np
from numpy.typing import ArrayLike

from stylegan2ada.errors import UserError


def checked_predictions(
    labels: ArrayLike, scores: ArrayLike, least_per_class: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) of 0 and 1 as bool, and scores (N,) as float64; a higher score speaks for class 1.

    Raises `UserError` for other shapes or lengths, labels other than 0 and 1, scores that are not finite, no images,
    or fewer than `least_per_class` images of a class.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise UserError(
            f"labels of shape {labels.shape} and scores of shape {scores.shape}: give one label and one score per image"
        )
    if not len(labels):
        raise UserError("there are no predictions: give at least one image")
    strange = labels[~np.isin(labels, (0, 1))]
    if len(strange):
        raise UserError(f"a label is {strange[0]}: labels are 0 and 1, where 1 is the class that is looked for")
    infinite = np.flatnonzero(~np.isfinite(scores))
    if len(infinite):
        raise UserError(f"the score of image {infinite[0]} is {scores[infinite[0]]}: scores must be finite")
    positives = labels.astype(bool)
    counts = [int((~positives).sum()), int(positives.sum())]
    if min(counts) < least_per_class:
        raise UserError(f"the images per class are {counts}: at least {least_per_class} of each class are needed")
    return positives, scores


def checked_probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """As `checked_predictions`, for scores that are probabilities of class 1: outside [0, 1] raises `UserError`."""
    positives, probabilities = checked_predictions(labels, probabilities)
    outside = np.flatnonzero((probabilities < 0) | (probabilities > 1))
    if len(outside):
        raise UserError(
            f"the probability of image {outside[0]} is {probabilities[outside[0]]}: probabilities lie in [0, 1]"
        )
    return positives, probabilities

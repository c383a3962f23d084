"""Whether a probability means what it says: reliability curve, expected calibration error, Brier score."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from stylegan2ada.errors import UserError

from .binary_predictions import checked_probabilities


@dataclasses.dataclass(frozen=True)
class ReliabilityBin:
    """The images whose probability lies in [low, high), in the last bin [low, 1]."""

    low: float
    high: float
    count: int
    mean_probability: float
    positive_share: float


def reliability_curve(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Predicted probability against observed share of class 1, in `bins` bins of equal width, in rising order.

    Bins without images are left out, since nothing was observed there. Labels (N,) are 0 and 1, probabilities (N,) are
    those of class 1. Raises `UserError` for probabilities outside [0, 1] or no bins.
    """
    if bins < 1:
        raise UserError(f"the number of bins is {bins}: give at least 1")
    positives, probabilities = checked_probabilities(labels, probabilities)
    edges = (
        np.arange(bins + 1) / bins
    )  # k / bins, as a rounded probability is read; linspace may differ in the last bit
    place = np.searchsorted(edges[1:-1], probabilities, side="right")
    return tuple(
        ReliabilityBin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            count=int((place == index).sum()),
            mean_probability=float(probabilities[place == index].mean()),
            positive_share=float(positives[place == index].mean()),
        )
        for index in np.unique(place)
    )


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Mean distance of the reliability curve from the diagonal, weighted by images, in [0, 1].

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, for the probability of
    class 1. With few images per bin it is above 0 even for perfect probabilities. Raises as `reliability_curve`.
    """
    curve = reliability_curve(labels, probabilities, bins)
    distance = sum(each.count * abs(each.mean_probability - each.positive_share) for each in curve)
    return distance / sum(each.count for each in curve)


def brier_score(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared error of the probability of class 1, in [0, 1]; 0.25 for one half everywhere.

    Brier, "Verification of forecasts expressed in terms of probability", 1950, in the usual form for two classes.
    Raises `UserError` for probabilities outside [0, 1].
    """
    positives, probabilities = checked_probabilities(labels, probabilities)
    return float(np.mean((probabilities - positives) ** 2))

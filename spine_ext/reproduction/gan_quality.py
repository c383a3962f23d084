"""What the image metrics of several training runs say together: at the end, at a length of training, and how fast."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.stats import t

from ..statistics.seeded_auc import CONFIDENCE, Estimate
from .step_results import ImageMetrics, MetricSeries


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean, smallest and largest of the seeds' values."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]


def spread(values: Iterable[float | None]) -> Spread | None:
    """None where there are no values."""
    known = tuple(value for value in values if value is not None)
    return Spread(float(np.mean(known)), min(known), max(known), known) if known else None


def at_end(runs: Iterable[MetricSeries]) -> list[ImageMetrics]:
    return [run.series[-1] for run in runs]


def second_half(runs: Iterable[MetricSeries]) -> list[ImageMetrics]:
    """The mean of each run over its measurements in the second half of its training; what one lacks, is not known."""
    found = []
    for run in runs:
        last = run.series[-1].kimg or 0.0
        shown = [each for each in run.series if (each.kimg or 0.0) > last / 2] or [run.series[-1]]
        names = [field.name for field in dataclasses.fields(ImageMetrics) if field.name != "kimg"]
        values = {name: [getattr(each, name) for each in shown] for name in names}
        means = {name: None if None in each else float(np.mean(each)) for name, each in values.items()}
        found.append(ImageMetrics(kimg=last, **means))
    return found


def is_mark_for(real: MetricSeries, runs: Iterable[MetricSeries]) -> bool:
    """Whether real images are what a perfect generator would reach: FID, recall and coverage of other numbers of images
    differ for that alone."""
    return all(abs(real.num_fake - run.num_fake) <= 0.05 * run.num_fake for run in runs)


def at_kimg(runs: Iterable[MetricSeries], kimg: float) -> list[ImageMetrics]:
    """The measurement of each run at this length of training, of those that have one within 2%."""
    found = []
    for run in runs:
        nearest = min(run.series, key=lambda each: abs((each.kimg or 0.0) - kimg))
        if abs((nearest.kimg or 0.0) - kimg) <= 0.02 * kimg:
            found.append(nearest)
    return found


def kimg_to_reach(run: MetricSeries, fid: float) -> float | None:
    """Thousands of images until the FID first was this low, straight between measurements; None: never."""
    known = [(each.kimg, each.fid) for each in run.series if each.kimg is not None and each.fid is not None]
    for place, (kimg, value) in enumerate(known):
        if value <= fid:
            if place == 0:
                return kimg
            before_kimg, before = known[place - 1]
            return before_kimg + (before - fid) / (before - value) * (kimg - before_kimg)
    return None


def reachable_fid(runs: Iterable[MetricSeries]) -> float | None:
    """The lowest FID that every run reached."""
    lowest = [min((each.fid for each in run.series if each.fid is not None), default=math.inf) for run in runs]
    return max(lowest) if lowest and max(lowest) < math.inf else None


def welch_difference(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> Estimate | None:
    """Mean of a minus mean of b, of independent runs, with Welch's interval (Biometrika 34, 1947).

    None where one has fewer than two values, or all are equal within both: nothing is known of the spread then.
    """
    if min(len(a), len(b)) < 2:
        return None
    parts = [np.var(each, ddof=1) / len(each) for each in (a, b)]
    if sum(parts) == 0:
        return None
    freedom = sum(parts) ** 2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (a, b), strict=True))
    mean, reach = float(np.mean(a) - np.mean(b)), float(t.isf((1 - confidence) / 2, freedom) * math.sqrt(sum(parts)))
    return Estimate(mean, mean - reach, mean + reach, None, min(len(a), len(b)))

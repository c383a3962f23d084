"""What the GANs' numbers say: image metrics, the speed of training, the ablation, and the classes that are seen."""

import itertools
from collections.abc import Sequence

import numpy as np

from .gan_quality import at_end, at_kimg, kimg_to_reach, reachable_fid, second_half, spread, welch_difference
from .paper_numbers import SPINEGAN, SPINEGAN_STRONG, STYLEGAN2_ADA
from .results import Results
from .step_results import ImageMetrics, MetricSeries
from .wording import signed, verdict

GANS = (STYLEGAN2_ADA, SPINEGAN)
METRICS = (("recall", "Recall", 4), ("precision", "Precision", 3), ("fid", "FID", 2))
OFTEN = 0.2  # share of rises between snapshots above which the first time that a FID is reached is said to be chance


def metrics_read(results: Results) -> tuple[str, ...]:
    """At the end, as the paper has it, and over the second half of training, as one snapshot is a noisy number."""
    words = ("with the term", "without")
    runs = [results.metrics_of(variant) for variant in (SPINEGAN, STYLEGAN2_ADA)]
    ends, halves = [at_end(each) for each in runs], [second_half(each) for each in runs]
    found = [_compared(title, digits, name, *ends, "at the end", words) for name, title, digits in METRICS]
    if all(halves) and any(len(run.series) > 3 for each in runs for run in each):
        place = "as the mean of the snapshots of the second half"
        found += [_compared(title, digits, name, *halves, place, words) for name, title, digits in METRICS]
    return tuple(found)


def ablation_read(results: Results) -> tuple[str, ...]:
    kimg = results.ablation_kimg
    strong, weak = (at_kimg(results.metrics_of(variant), kimg) for variant in (SPINEGAN_STRONG, SPINEGAN))
    place = f"at {kimg:g} kimg"
    return tuple(
        _compared(title, digits, name, strong, weak, place, ("with γ 0.05", "with γ 0.01"))
        for name, title, digits in METRICS
    )


def _compared(
    title: str, digits: int, name: str, a: list[ImageMetrics], b: list[ImageMetrics], place: str, words: tuple[str, str]
) -> str:
    of_a, of_b = (spread(getattr(each, name) for each in found) for found in (a, b))
    if of_a is None or of_b is None:
        return f"{title}: not run."
    means = f"{of_a.mean:.{digits}f} {words[0]}, {of_b.mean:.{digits}f} {words[1]}"
    return f"{title} {place}: {means}; {_welch(of_a.values, of_b.values, digits)}."


def speed_read(results: Results) -> tuple[str, ...]:
    runs = {variant: results.metrics_of(variant) for variant in GANS}
    target = reachable_fid([run for each in runs.values() for run in each]) if all(runs.values()) else None
    if target is None:
        return ("Not run.",)
    kimg = {variant: [kimg_to_reach(run, target) for run in each] for variant, each in runs.items()}
    means = {variant: sum(each) / len(each) for variant, each in kimg.items()}
    reached = (
        f"The FID of {target:.1f}, the lowest that every run reached, is reached after {means[SPINEGAN]:.1f} kimg with "
        f"the term and {means[STYLEGAN2_ADA]:.1f} kimg without; "
        f"{_welch(kimg[SPINEGAN], kimg[STYLEGAN2_ADA], 1, ('later', 'sooner'))}."
    )
    return (reached, *_caution(list(itertools.chain(*runs.values()))), *_time(results))


def _caution(runs: list[MetricSeries]) -> list[str]:
    """Where FID goes up and down, the first time that it is reached is partly chance."""
    fids = [[each.fid for each in run.series if each.fid is not None] for run in runs]
    rises = [after > before for run in fids for before, after in itertools.pairwise(run)]
    if not rises or sum(rises) <= OFTEN * len(rises):
        return []
    return [
        f"But FID rises in {sum(rises)} of {len(rises)} steps from one snapshot to the next: when it is first reached "
        "is largely chance."
    ]


def _time(results: Results) -> list[str]:
    """What a kimg costs, since the term adds a classifier to every step."""
    costs = {variant: [gan.sec_per_kimg for gan in results.gans_of(variant) if gan.sec_per_kimg] for variant in GANS}
    if not all(costs.values()):
        return []
    means = {variant: float(np.mean(each)) for variant, each in costs.items()}
    return [
        f"A kimg took {means[SPINEGAN]:.1f} s with the term and {means[STYLEGAN2_ADA]:.1f} s without; what else the "
        "machine did then counts as well."
    ]


def agreement_read(results: Results) -> tuple[str, ...]:
    if not results.agreements:
        return ("Not run.",)
    first = results.agreements[0]
    total = sum(map(sum, first.asked_seen))
    right = sum(row[place] for place, row in enumerate(first.asked_seen))
    real = sum(row[place] / max(sum(row), 1) for place, row in enumerate(first.test_confusion)) / len(first.class_names)
    return (
        f"{right / max(total, 1):.1%} of {total:,} images of one network are seen as the class asked for; by chance it "
        f"would be {1 / len(first.class_names):.1%}; on real test images the same classifier is right in {real:.1%}, "
        "as the mean of the classes. The table of agreement has each class with its interval.",
    )


def _welch(a: Sequence[float], b: Sequence[float], digits: int, words: tuple[str, str] = ("higher", "lower")) -> str:
    delta = welch_difference(a, b)
    if delta is None:
        return (
            f"difference {signed(np.mean(a) - np.mean(b), digits)}, without an interval: too few seeds, or seeds alike"
        )
    return f"difference {verdict(delta, digits, words)}"

"""What the numbers say, in plain sentences made from them: no effect is claimed where an interval holds zero."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from .auc_rows import AucRow, AucRows, paired
from .gan_quality import at_end, at_kimg, kimg_to_reach, reachable_fid, spread, welch_difference
from .paper_numbers import SPINEGAN, SPINEGAN_STRONG, STYLEGAN2_ADA, TITLES
from .results import Results
from .seeded_auc import CONFIDENCE, Estimate, estimate
from .step_results import ImageMetrics

GANS = (STYLEGAN2_ADA, SPINEGAN)
METRICS = (("recall", "Recall", 4), ("precision", "Precision", 3), ("fid", "FID", 2))
NO_EFFECT = "no effect seen"
ONE_SEED = "An interval of one seed covers the test images alone: another training may give another answer."


@dataclasses.dataclass(frozen=True)
class Answer:
    """A question, and what the numbers say to it."""

    question: str
    sentences: tuple[str, ...]


def headline(rows: AucRows) -> str:
    """What synthetic images are worth downstream, in one sentence.

    A gain of the best mixture counts only where it holds for the best of as many (Bonferroni); and it stands beside
    what real images alone reach in longer training.
    """
    known = [row for variant in GANS for row in rows.joined(variant) if row.against_true is not None]
    if not known:
        return "What synthetic images are worth downstream is not known yet: these steps have not run."
    best = max(known, key=lambda row: row.against_true.mean)
    images = f"{best.synthetic:,} images of {TITLES[best.variant]}"
    rank = f"the best of {len(known)} mixtures" if len(known) > 1 else "the only mixture so far"
    caution = f". {ONE_SEED}" if best.against_true.seeds == 1 else "."
    if best.against_true.low > 0:
        gain = f"{images} beside the real ones raise the test AUC by {_interval(best.against_true)}, {rank}"
        allowed = estimate(paired(best, rows.true), 1 - (1 - CONFIDENCE) / len(known))
        chance = "" if allowed.low > 0 else f", but that may be chance: of {len(known)} mixtures one is the best"
        return f"{gain}{chance}; {_beside_longer(best, rows)}{caution}"
    worse = sum(row.against_true.high < 0 for row in known)
    said = f"{worse} of {len(known)} lower it" if worse else "none lowers it for certain"
    return (
        f"No mixture of real and synthetic images raises the test AUC for certain, and {said}; {images}, {rank}, "
        f"change it by {_interval(best.against_true)}{caution}"
    )


def _beside_longer(row: AucRow, rows: AucRows) -> str:
    """Whether real images alone come as far, trained for as many steps as the largest mixture."""
    delta = paired(row, rows.longer)
    if delta is None:
        return "whether more steps alone would do as much has not been run"
    against = estimate(delta)
    said = (
        "further than" if against.low > 0
        else "less far than" if against.high < 0
        else "no further for certain than"
    )  # fmt: skip
    return f"that is {said} real images alone with the steps of the largest mixture: {_interval(against)} against them"


def answers(results: Results, rows: AucRows) -> list[Answer]:
    return [
        Answer("Does adding synthetic images help, and at what number does it stop helping?", _augmentation(rows)),
        Answer("Is training on synthetic images alone near training on real ones?", _only(rows)),
        Answer("Are SpineGAN's images worth more downstream than StyleGAN2-ADA's?", _gans_downstream(rows)),
        Answer("Does the clinical term raise recall, or change FID or precision?", _metrics(results)),
        Answer("Does the clinical term speed up training?", _speed(results)),
        Answer("Does a stronger clinical term, γ 0.05, do better early in training?", _ablation(results)),
        Answer("Does MultiConditional draw the class it is asked for?", _agreement(results)),
    ]


def _augmentation(rows: AucRows) -> tuple[str, ...]:
    found = [sentence for variant in GANS for sentence in _augmentation_by(rows.joined(variant), TITLES[variant])]
    found += _longer(rows)
    if any(row.against_true.seeds == 1 for row in rows.all if row.against_true is not None):
        found.append(ONE_SEED)
    return tuple(found)


def _longer(rows: AucRows) -> list[str]:
    """Whether a gain comes of the images, or of the further steps that they bring."""
    if rows.longer.against_true is None:
        return ["Real images alone for as many steps as with the most synthetic ones: not run."]
    found = [
        "Real images alone for as many steps as with the most synthetic ones, against real images alone: "
        f"{_verdict(rows.longer.against_true)}."
    ]
    for variant in GANS:
        for row in rows.joined(variant)[-1:]:
            if (delta := paired(row, rows.longer)) is not None:
                said = _verdict(estimate(delta))
                found.append(f"{TITLES[variant]}, {row.synthetic:,} added, against this many steps: {said}.")
    return found


def _augmentation_by(joined: list[AucRow], title: str) -> list[str]:
    known = [row for row in joined if row.against_true is not None]
    if not known:
        return [f"{title}: not run."]
    said = "; ".join(f"{row.synthetic:,}: {_interval(row.against_true)}" for row in known)
    found = [f"{title}, change of the AUC against real images alone, by number added: {said}."]
    helpful = [row for row in known if row.against_true.low > 0]
    harmful = [row for row in known if row.against_true.high < 0]
    if harmful:
        found.append(f"{title}: {_listed(harmful)} synthetic images lower the AUC.")
    if not helpful:
        neutral = [row for row in known if row not in harmful]
        if neutral:
            found.append(f"{title}: {NO_EFFECT} at {_listed(neutral)}: the interval includes zero.")
        return found + _by_steps(known, title)
    best = max(helpful, key=lambda row: row.against_true.mean)
    most = f", most at {best.synthetic:,}" if len(helpful) > 1 else ""
    found.append(f"{title}: {_listed(helpful)} synthetic images raise the AUC{most}.")
    return found + _by_steps(known, title)


def _by_steps(known: list[AucRow], title: str) -> list[str]:
    """Each number against the one before it, none of them chosen for its result."""
    deltas = [(more, fewer, paired(more, fewer)) for fewer, more in itertools.pairwise(known)]
    return [
        f"{title}, {more.synthetic:,} instead of {fewer.synthetic:,}: {_verdict(estimate(delta))}."
        for more, fewer, delta in deltas
        if delta is not None
    ]


def _only(rows: AucRows) -> tuple[str, ...]:
    found = []
    for variant in GANS:
        row = rows.only(variant)
        if row is None or row.against_true is None:
            found.append(f"{TITLES[variant]}: not run.")
            continue
        delta = row.against_true
        verdict = (
            "below real images" if delta.high < 0
            else "above real images" if delta.low > 0
            else f"{NO_EFFECT}, which does not prove them equal to real images: {abs(delta.low):.3f} less is possible"
        )  # fmt: skip
        found.append(
            f"{TITLES[variant]}, {row.synthetic:,} images alone: AUC {row.estimate.mean:.3f}, {_interval(delta)} "
            f"against real images ({rows.true.mean:.3f}): {verdict}."
        )
    return tuple(found)


def _gans_downstream(rows: AucRows) -> tuple[str, ...]:
    found = []
    pairs = list(zip(rows.joined(STYLEGAN2_ADA), rows.joined(SPINEGAN), strict=False))
    pairs += [(a, b) for a, b in [(rows.only(STYLEGAN2_ADA), rows.only(SPINEGAN))] if a is not None and b is not None]
    for baseline, clinical in pairs:
        delta = paired(clinical, baseline)
        if delta is not None and clinical.synthetic == baseline.synthetic:
            place = f"{clinical.synthetic:,} added" if clinical.real else f"{clinical.synthetic:,} alone"
            found.append(f"SpineGAN minus StyleGAN2-ADA, {place}: {_verdict(estimate(delta))}.")
    return tuple(found) or ("Not run.",)


def _metrics(results: Results) -> tuple[str, ...]:
    ends = {variant: at_end(results.metrics_of(variant)) for variant in GANS}
    return tuple(
        _compared(title, digits, name, ends[SPINEGAN], ends[STYLEGAN2_ADA], "at the end", ("with the term", "without"))
        for name, title, digits in METRICS
    )


def _ablation(results: Results) -> tuple[str, ...]:
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


def _speed(results: Results) -> tuple[str, ...]:
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
    return (reached, *_time(results))


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


def _agreement(results: Results) -> tuple[str, ...]:
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
            f"difference {_signed(np.mean(a) - np.mean(b), digits)}, without an interval: too few seeds, or seeds alike"
        )
    return f"difference {_verdict(delta, digits, words)}"


def _verdict(delta: Estimate, digits: int = 3, words: tuple[str, str] = ("higher", "lower")) -> str:
    said = _interval(delta, digits)
    return f"{said}, {NO_EFFECT}" if delta.includes_zero else f"{said}, {words[delta.mean < 0]}"


def _interval(delta: Estimate, digits: int = 3) -> str:
    limits = f"{_signed(delta.low, digits)}, {_signed(delta.high, digits)}"
    return f"{_signed(round(delta.mean, digits) + 0.0, digits)} [{limits}]"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _listed(rows: list[AucRow]) -> str:
    return ", ".join(f"{row.synthetic:,}" for row in rows)

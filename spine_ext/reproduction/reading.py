"""What the numbers say, in plain sentences made from them: no effect is claimed where an interval holds zero."""

import dataclasses
import itertools

from ..statistics.seeded_auc import CONFIDENCE, estimate
from .auc_rows import AucRow, AucRows, paired
from .gan_reading import ablation_read, agreement_read, metrics_read, speed_read
from .paper_numbers import SPINEGAN, STYLEGAN2_ADA, TITLES
from .results import Results
from .wording import NO_EFFECT, interval, verdict

GANS = (STYLEGAN2_ADA, SPINEGAN)
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
        delta = paired(best, rows.longer)
        against = None if delta is None else estimate(delta)
        if against is not None and not any(_is_beyond(row, rows.longer) for row in known):
            return (
                f"No gain beyond that of longer training is seen: {images} beside the real ones, {rank}, change the "
                f"test AUC by {interval(best.against_true)} against real images alone, but by {interval(against)} "
                f"against real images alone with the steps of the largest mixture{caution}"
            )
        allowed = estimate(paired(best, rows.true), 1 - (1 - CONFIDENCE) / len(known))
        chance = "" if allowed.low > 0 else f", but that may be chance: of {len(known)} mixtures one is the best"
        steps = (
            "whether more steps alone would do as much has not been run" if against is None
            else f"against real images alone with the steps of the largest mixture by {interval(against)}"
        )  # fmt: skip
        gain = f"{images} beside the real ones raise the test AUC by {interval(best.against_true)}, {rank}"
        return f"{gain}{chance}; {steps}{caution}"
    worse = sum(row.against_true.high < 0 for row in known)
    said = f"{worse} of {len(known)} lower it" if worse else "none lowers it for certain"
    return (
        f"No mixture of real and synthetic images raises the test AUC for certain, and {said}; {images}, {rank}, "
        f"change it by {interval(best.against_true)}{caution}"
    )


def _is_beyond(row: AucRow, other: AucRow) -> bool:
    """Whether its AUC is higher for certain."""
    delta = paired(row, other)
    return delta is not None and estimate(delta).low > 0


def answers(results: Results, rows: AucRows) -> list[Answer]:
    return [
        Answer("Does adding synthetic images help, and at what number does it stop helping?", _augmentation(rows)),
        Answer("Is training on synthetic images alone near training on real ones?", _only(rows)),
        Answer("Are SpineGAN's images worth more downstream than StyleGAN2-ADA's?", _gans_downstream(rows)),
        Answer("Does the clinical term raise recall, or change FID or precision?", metrics_read(results)),
        Answer("Does the clinical term speed up training?", speed_read(results)),
        Answer("Does a stronger clinical term, γ 0.05, do better early in training?", ablation_read(results)),
        Answer("Does MultiConditional draw the class it is asked for?", agreement_read(results)),
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
        f"{verdict(rows.longer.against_true)}."
    ]
    if rows.longer.against_true.low > 0:
        found.append(
            "So real images alone were not trained to their end, and what is gained above may come of the steps that "
            "synthetic images bring, not of what they show."
        )
    for variant in GANS:
        for row in rows.joined(variant)[-1:]:
            if (delta := paired(row, rows.longer)) is not None:
                said = verdict(estimate(delta))
                found.append(f"{TITLES[variant]}, {row.synthetic:,} added, against this many steps: {said}.")
    return found


def _augmentation_by(joined: list[AucRow], title: str) -> list[str]:
    known = [row for row in joined if row.against_true is not None]
    if not known:
        return [f"{title}: not run."]
    said = "; ".join(f"{row.synthetic:,}: {interval(row.against_true)}" for row in known)
    found = [f"{title}, change of the AUC against real images alone, by number added: {said}."]
    helpful = [row for row in known if row.against_true.low > 0]
    harmful = [row for row in known if row.against_true.high < 0]
    if harmful:
        found.append(f"{title}: with {_listed(harmful)} synthetic images the AUC is lower.")
    if not helpful:
        neutral = [row for row in known if row not in harmful]
        if neutral:
            found.append(f"{title}: {NO_EFFECT} at {_listed(neutral)}: the interval includes zero.")
        return found + _by_steps(known, title)
    best = max(helpful, key=lambda row: row.against_true.mean)
    most = f", most at {best.synthetic:,}" if len(helpful) > 1 else ""
    found.append(f"{title}: with {_listed(helpful)} synthetic images the AUC is higher{most}.")
    return found + _by_steps(known, title)


def _by_steps(known: list[AucRow], title: str) -> list[str]:
    """Each number against the one before it, none of them chosen for its result."""
    deltas = [(more, fewer, paired(more, fewer)) for fewer, more in itertools.pairwise(known)]
    return [
        f"{title}, {more.synthetic:,} instead of {fewer.synthetic:,}: {verdict(estimate(delta))}."
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
        said = (
            "below real images" if delta.high < 0
            else "above real images" if delta.low > 0
            else f"{NO_EFFECT}, which does not prove them equal to real images: {abs(delta.low):.3f} less is possible"
        )  # fmt: skip
        found.append(
            f"{TITLES[variant]}, {row.synthetic:,} images alone: AUC {row.estimate.mean:.3f}, {interval(delta)} "
            f"against real images ({rows.true.mean:.3f}): {said}."
        )
        if (longer := paired(row, rows.longer)) is not None:
            found.append(f"{TITLES[variant]}, against real images in longer training: {verdict(estimate(longer))}.")
    return tuple(found)


def _gans_downstream(rows: AucRows) -> tuple[str, ...]:
    found = []
    pairs = list(zip(rows.joined(STYLEGAN2_ADA), rows.joined(SPINEGAN), strict=False))
    pairs += [(a, b) for a, b in [(rows.only(STYLEGAN2_ADA), rows.only(SPINEGAN))] if a is not None and b is not None]
    for baseline, clinical in pairs:
        delta = paired(clinical, baseline)
        if delta is not None and clinical.synthetic == baseline.synthetic:
            place = f"{clinical.synthetic:,} added" if clinical.real else f"{clinical.synthetic:,} alone"
            found.append(f"SpineGAN minus StyleGAN2-ADA, {place}: {verdict(estimate(delta))}.")
    return tuple(found) or ("Not run.",)


def _listed(rows: list[AucRow]) -> str:
    return ", ".join(f"{row.synthetic:,}" for row in rows)

"""The training doctor: reads the statistics of a run and says in plain words what is wrong, and what to change.

Statistics in, findings out. Whether a finding is new follows from the statistics too, so a run that is continued needs
nothing but its stats.jsonl. Whatever a line lacks is not judged.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .config import TrainingConfig

Tick = dict[str, float]  # a line of stats.jsonl

WINDOW_TICKS = 8  # what is judged is the mean over the last so many ticks, ...
WINDOW_KIMG = 2.0  # ... and over so many images: the mean of 2000 signs is known to 0.02
HISTORY_TICKS = 1000  # nothing older is looked at, so that a long run costs no more than a short one
QUIET_TICKS = 20  # a finding that was gone for less is no news: numbers waver about a threshold

# Healthy: measured in train.py's default run and a shorter one on the phantom, over any window.
# Mean signs. Healthy: reals 0.3 to 0.6 (which is what ADA aims at; paper, section 3.1), fakes -0.75 to -0.55. On 20
# images: 0.73 and -0.74; with a twentieth of the usual --gamma 0.83 and -0.92.
SEPARATED_SIGN = 0.8
ADA_OVERSHOOT = 0.2  # above its target; the same number where the target is 0.6
# D gives fakes a chance of exp(-5) = 0.7 % and is never wrong. Healthy: D 1.0 to 1.3, G 0.9 to 1.8.
STARVED_D_LOSS, STARVED_G_LOSS = 0.1, 5.0
# A discriminator that answers 0 to every image, knowing nothing, has a loss of 2 log 2 = 1.39. Twice that is worse.
DIVERGED_D_LOSS = 2.77
# Times the median. Healthy: up to 7 (R1, while D learns); 2300 in the tick in which ten times the usual --lr broke D.
EXPLODED_GRADIENT = 30.0
GRADIENT_MEDIAN_TICKS = 50
# Times that of real images. Healthy: 1.2 untrained, down to 0.55 after 6 kimg, then up to 0.95; 0.15 in the broken one.
COLLAPSED_DIVERSITY = 0.25
# A judgement, not a measurement: the smallest set of the ADA paper has 1,336 images (MetFaces).
FEWEST_IMAGES_PER_CLASS = 100
# Likewise: sooner or later D knows so few images by heart; the default run on the phantom ends after 20 passes.
MANY_IMAGES, MANY_PASSES = 10_000, 100


class Finding(NamedTuple):
    """Something that is wrong with a run. `name` is short and stays the same while the numbers in `text` move."""

    name: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text}. {self.remedy}"


def new_findings(ticks: Sequence[Tick], config: TrainingConfig) -> list[Finding]:
    """What the last line of `ticks` brought up: found now, and not found at any of the QUIET_TICKS ticks before."""
    recent = list(ticks[-(HISTORY_TICKS + QUIET_TICKS) :])
    before = {found.name for ago in range(1, QUIET_TICKS + 1) for found in diagnose(recent[:-ago], config)}
    return [found for found in diagnose(recent, config) if found.name not in before]


def diagnose(ticks: Sequence[Tick], config: TrainingConfig) -> list[Finding]:
    """All that is wrong at the last of these ticks.

    Args:
        ticks: the lines of a run's stats.jsonl, or the last HISTORY_TICKS of them.
        config: of the run: how many images there are, and how they are augmented.
    """
    if not ticks:
        return []
    ticks = ticks[-HISTORY_TICKS:]
    window = _window(ticks)
    checks = (
        _data(ticks[-1], config),
        _overfitting(window, config),
        _starvation(window),
        _divergence(window),
        _saturation(ticks[-1], config),
        _gradients(ticks),
        _collapse(ticks, config),
    )
    return [finding for check in checks for finding in check]


def _window(ticks: Sequence[Tick]) -> Sequence[Tick]:
    """The last ticks, at least WINDOW_TICKS with WINDOW_KIMG; none while the run is younger than that."""
    end_kimg = ticks[-1]["Progress/kimg"]
    for count in range(WINDOW_TICKS, len(ticks)):
        if end_kimg - ticks[-count - 1]["Progress/kimg"] >= WINDOW_KIMG:
            return ticks[-count:]
    return []


def _values(ticks: Sequence[Tick], key: str) -> list[float]:
    """Without those that are missing, null (as a tolerated NaN stands in stats.jsonl) or not finite."""
    values = (tick.get(key) for tick in ticks)
    return [value for value in values if value is not None and math.isfinite(value)]


def _mean(ticks: Sequence[Tick], key: str) -> float | None:
    values = _values(ticks, key)
    return sum(values) / len(values) if values else None


def _data(last: Tick, config: TrainingConfig) -> Iterator[Finding]:
    """What the number of images alone says; D may still be well, but this is where its troubles come from."""
    count, classes = config.data.num_images, max(config.data.num_classes, 1)
    if count < FEWEST_IMAGES_PER_CLASS * classes:
        of_classes = f" for {classes} classes" if classes > 1 else ""
        yield Finding(
            "few images",
            f"there are {count} training images{of_classes}: too few to learn more from than to repeat them",
            f"More images (a larger --subset, other --data), at least {FEWEST_IMAGES_PER_CLASS} of each class; "
            "or --resume from a network trained on more",
        )
    passes = last["Progress/kimg"] * 1000 / count
    if config.augment.mode == "noaug" and count < MANY_IMAGES and passes >= MANY_PASSES:
        yield Finding(
            "no augmentation",
            f"each of the {count} training images was shown {passes:.0f} times without augmentation",
            "--aug=ada keeps D from learning so few images by heart",
        )


def _overfitting(window: Sequence[Tick], config: TrainingConfig) -> Iterator[Finding]:
    """D tells reals from fakes, for a whole window: it knows the training images by heart, or G is far behind."""
    real, fake = _mean(window, "Loss/signs/real"), _mean(window, "Loss/signs/fake")
    limit = SEPARATED_SIGN
    if config.augment.mode == "ada":
        limit = max(limit, config.augment.target + ADA_OVERSHOOT)
    if real is None or fake is None or real < limit or fake > -SEPARATED_SIGN:
        return
    remedies = {
        "noaug": "--aug=ada, more images, or a larger --gamma",
        "fixed": f"A larger --p than {config.augment.p:g}, more images, or a larger --gamma",
        "ada": f"ADA aims at {config.augment.target:g} and is still raising its probability: if this stays, more "
        "images, a larger --gamma, or a lower --target",
    }
    yield Finding(
        "discriminator overfits",
        f"D tells most real images from most fakes (mean sign of its logits {real:.2f} and {fake:.2f}"
        f"{_growing_gap(window)}): it is learning the training images by heart",
        remedies[config.augment.mode],
    )


def _growing_gap(window: Sequence[Tick]) -> str:
    """How far apart the mean scores of reals and fakes went within the window, where they did."""
    half = len(window) // 2
    gaps = []
    for part in (window[:half], window[half:]):
        real, fake = _mean(part, "Loss/scores/real"), _mean(part, "Loss/scores/fake")
        if real is None or fake is None:
            return ""
        gaps.append(real - fake)
    before, now = gaps
    return f", scores {before:.1f} apart and then {now:.1f}" if now > before else ""


def _starvation(window: Sequence[Tick]) -> Iterator[Finding]:
    """D has won: it is never wrong, and what it tells G no longer says which way to go."""
    d_loss, g_loss = _mean(window, "Loss/D/loss"), _mean(window, "Loss/G/loss")
    if d_loss is None or g_loss is None or d_loss > STARVED_D_LOSS or g_loss < STARVED_G_LOSS:
        return
    yield Finding(
        "generator starves",
        f"D is never wrong (its loss is {d_loss:.2g}) and G's loss is {g_loss:.1f}: G learns nothing any more",
        "Start again from an earlier snapshot (--resume) with a larger --gamma or a smaller --lr",
    )


def _divergence(window: Sequence[Tick]) -> Iterator[Finding]:
    """D is worse than one that knows nothing."""
    loss = _mean(window, "Loss/D/loss")
    if loss is not None and loss > DIVERGED_D_LOSS:
        yield Finding(
            "discriminator diverges",
            f"D's loss is {loss:.3g}; guessing would give 1.39",
            "Start again from an earlier snapshot (--resume) with a smaller --lr, or with a larger --gamma",
        )


def _saturation(last: Tick, config: TrainingConfig) -> Iterator[Finding]:
    """At p = 1 every image is augmented in every way: ADA has no more to give, and what it does shows in the fakes."""
    p = last["Progress/augment"]
    if config.augment.mode == "ada" and p >= 1:
        yield Finding(
            "augmentation at its end",
            f"the augmentation probability is {p:.2f}: D overfits although every image is augmented, and fakes may "
            "come to look augmented",
            "More images, a larger --gamma, or an --augpipe with more kinds of augmentation",
        )


def _gradients(ticks: Sequence[Tick]) -> Iterator[Finding]:
    """A tick's mean norm far above the median of those before. The first window has no such median worth the name."""
    past = ticks[-GRADIENT_MEDIAN_TICKS - 1 : -1]
    for key in ticks[-1]:
        if not key.startswith("Gradients/"):
            continue
        now, norms = _values(ticks[-1:], key), _values(past, key)
        if not now or len(norms) < WINDOW_TICKS:
            continue
        norm, median = now[0], statistics.median(norms)
        if norm > EXPLODED_GRADIENT * median > 0:
            phase = key.removeprefix("Gradients/")
            yield Finding(
                f"gradients explode: {phase}",
                f"the gradient of {phase} has norm {norm:.3g}, {norm / median:.0f} times its median of "
                f"{median:.2g} over the last {len(norms)} ticks",
                "Where the fakes break too, start again from an earlier snapshot (--resume) with a smaller --lr, and "
                "with --precision=fp32 if it was fp16",
            )


def _collapse(ticks: Sequence[Tick], config: TrainingConfig) -> Iterator[Finding]:
    """By the last snapshot's diversity, of each class."""
    for index in range(max(config.data.num_classes, 1)):
        key = f"Diversity/{index}"
        found = next((tick[key] for tick in reversed(ticks) if key in tick), COLLAPSED_DIVERSITY)
        if found >= COLLAPSED_DIVERSITY:
            continue
        names = config.data.class_names
        of_class = f" of class {names[index] if names else index}" if config.data.num_classes else ""
        yield Finding(
            f"collapse: {index}",
            f"the fakes{of_class} are nearly all the same: they differ {found:.2f} times as much as real images do",
            "Start again from an earlier snapshot (--resume) with a larger --gamma or a smaller --lr; a class with "
            "few images needs more of them, or --aug=ada",
        )

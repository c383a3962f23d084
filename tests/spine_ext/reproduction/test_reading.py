"""The plain reading: what it says where effects are large, absent, harmful or not measured."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from spine_ext.reproduction.auc_rows import AucRow, AucRows, auc_rows, paired
from spine_ext.reproduction.reading import answers, headline
from spine_ext.reproduction.results import read_results
from spine_ext.reproduction.wording import NO_EFFECT
from spine_ext.statistics.seeded_auc import SeededAuc, estimate
from tests.spine_ext.reproduction.made_up_results import MadeUpRun

AUGMENTATION, ONLY, BETWEEN, METRICS, SPEED, ABLATION, CLASSES = range(7)


@pytest.fixture
def run(tmp_path: Path) -> MadeUpRun:
    run = MadeUpRun(tmp_path / "out", test_images=150)
    run.settings()
    return run


def read(run: MadeUpRun) -> tuple[str, list[str]]:
    results = read_results(run.folder)
    rows = auc_rows(results)
    return headline(rows), [" ".join(answer.sentences) for answer in answers(results, rows)]


def downstream(run: MadeUpRun, gains: dict[int, float], only: float = 0.0) -> None:
    """SpineGAN's rows, whose d' differs from that of real images by the gains."""
    for seed in range(3):
        run.auc("true", None, 0, seed, 1.5)
        for count, gain in gains.items():
            run.auc(f"true+spinegan-{count}", "spinegan", count, seed, 1.5 + gain)
        run.auc("only-spinegan-2700", "spinegan", 2700, seed, 1.5 + only, real=0)


def test_nothing_run_nothing_claimed(run: MadeUpRun) -> None:
    first, said = read(run)
    assert "not known yet" in first
    assert all("ot run" in text for text in said)
    assert NO_EFFECT not in " ".join(said)


def test_no_effect_is_called_so(run: MadeUpRun) -> None:
    downstream(run, {200: 0.0, 640: 0.02})
    first, said = read(run)
    assert "No mixture" in first
    assert f"SpineGAN: {NO_EFFECT} at 200, 640" in said[AUGMENTATION]
    assert "the AUC is higher" not in said[AUGMENTATION]
    assert NO_EFFECT in said[ONLY]
    assert "does not prove them equal" in said[ONLY]


def test_the_number_at_which_it_stops_helping(run: MadeUpRun) -> None:
    downstream(run, {200: 0.6, 640: 1.2, 2700: 0.1}, only=-1.0)
    first, said = read(run)
    assert first.startswith("640 images of SpineGAN beside the real ones raise the test AUC by +0.")
    assert "SpineGAN: with 200, 640 synthetic images the AUC is higher, most at 640." in said[AUGMENTATION]
    assert re.search(r"SpineGAN, 640 instead of 200: \+0[^:]*, higher\.", said[AUGMENTATION])
    assert re.search(r"SpineGAN, 2,700 instead of 640: −0[^:]*, lower\.", said[AUGMENTATION])
    assert "below real images" in said[ONLY]


def test_longer_training_is_told_from_more_images(run: MadeUpRun) -> None:
    downstream(run, {200: 0.2, 2700: 1.0})
    for seed in range(3):
        run.auc("true-steps-2700", None, 0, seed, 2.5, order="steps")
    first, said = read(run)
    assert first.startswith("No gain beyond that of longer training is seen: 2,700 images of SpineGAN")
    assert "not trained to their end" in said[AUGMENTATION]
    assert "against real images alone: +0." in said[AUGMENTATION]
    assert re.search(rf"SpineGAN, 2,700 added, against this many steps: .*{NO_EFFECT}", said[AUGMENTATION])


def test_the_best_of_many_must_hold_for_the_best_of_many() -> None:
    """An interval of 95% that only just leaves out zero says little where it is the best of six."""
    random = np.random.default_rng(0)
    true = row(None, 0, np.zeros(2000))
    mixtures = tuple(
        row(variant, count, random.normal(gain, 0.01, 2000))
        for variant in ("stylegan2-ada", "spinegan")
        for count, gain in ((200, 0.0), (640, 0.0), (2700, 0.021 if variant == "spinegan" else 0.0))
    )
    mixtures = tuple(dataclasses.replace(mixture, against_true=estimate(paired(mixture, true))) for mixture in mixtures)
    best = mixtures[-1]
    assert best.against_true.low > 0
    assert "may be chance: of 6 mixtures" in headline(AucRows(true, true, mixtures, True, ()))
    assert "chance" not in headline(AucRows(true, true, (best,), True, ()))
    assert "largest mixture by +0.021" in headline(AucRows(true, true, (best,), True, ()))


def row(variant: str | None, synthetic: int, resampled: np.ndarray) -> AucRow:
    seeded = SeededAuc((0,), np.array([resampled.mean()]), resampled[None])
    return AucRow(None, "", variant, synthetic, True, "joined", (), seeded, estimate(seeded))


def test_one_seed_is_said_beside_its_claim(run: MadeUpRun) -> None:
    run.auc("true", None, 0, 0, 1.0)
    run.auc("true+spinegan-200", "spinegan", 200, 0, 2.5)
    first, said = read(run)
    assert "the only mixture so far" in first
    assert "of one seed" in first
    assert "one seed" in said[AUGMENTATION]


def test_harm_is_called_harm(run: MadeUpRun) -> None:
    downstream(run, {200: -0.9, 640: 0.0})
    first, said = read(run)
    assert "1 of 2 lower it" in first
    assert "SpineGAN: with 200 synthetic images the AUC is lower." in said[AUGMENTATION]
    assert f"{NO_EFFECT} at 640" in said[AUGMENTATION]


def series(fids: list[float], recall: float) -> list[dict]:
    return [{"kimg": 4.0 * place, "fid": fid, "precision": 0.5, "recall": recall} for place, fid in enumerate(fids)]


def test_recall_and_speed_with_an_effect(run: MadeUpRun) -> None:
    for seed in range(3):
        run.metrics("stylegan2-ada", seed, series([100, 60 + seed, 40], 0.10 + 0.01 * seed))
        run.metrics("spinegan", seed, series([100, 30 + seed, 20], 0.30 + 0.01 * seed))
    _, said = read(run)
    assert "Recall at the end: 0.3100 with the term, 0.1100 without" in said[METRICS]
    assert "higher" in said[METRICS]
    assert "The FID of 40.0" in said[SPEED]
    assert "sooner" in said[SPEED]


def test_recall_and_speed_without_one(run: MadeUpRun) -> None:
    for seed in range(3):
        for variant in ("stylegan2-ada", "spinegan"):
            shift = seed if variant == "spinegan" else 2 - seed
            run.metrics(variant, seed, series([100, 60, 39 + shift], 0.1 + 0.05 * shift))
    _, said = read(run)
    assert re.search(rf"difference \+0.0000 \[−0.113\d, \+0.113\d\], {NO_EFFECT}", said[METRICS])
    assert "difference +0.000, without an interval" in said[METRICS]  # of precision, which is 0.5 in every run
    assert NO_EFFECT in said[SPEED]


def test_the_ablation_is_read_at_its_length_of_training(run: MadeUpRun) -> None:
    for seed in range(3):
        run.metrics("spinegan", seed, series([100, 60 + seed, 20], 0.2 + 0.01 * seed))
        run.metrics("spinegan-gamma0.05", seed, series([100, 90 + seed], 0.1 + 0.01 * seed))
    _, said = read(run)
    assert "FID at 4 kimg: 91.00 with γ 0.05, 61.00 with γ 0.01; difference +30.00" in said[ABLATION]
    assert re.search(r"Recall at 4 kimg: .*, lower\.", said[ABLATION])


def test_a_noisy_fid_is_told_and_averaged(run: MadeUpRun) -> None:
    for seed in range(2):
        run.metrics("stylegan2-ada", seed, series([100, 40, 90, 50 + seed, 80, 60], 0.1))
        run.metrics("spinegan", seed, series([100, 30, 80, 40 + seed, 70, 50], 0.1))
    _, said = read(run)
    assert "FID rises in 8 of 20 steps" in said[SPEED]
    assert "FID as the mean of the snapshots of the second half: 53.50 with the term, 63.50 without" in said[METRICS]


def test_synthetic_alone_stands_beside_longer_training_too(run: MadeUpRun) -> None:
    downstream(run, {}, only=0.0)
    for seed in range(3):
        run.auc("true-steps-2700", None, 0, seed, 3.0, order="steps")
    _, said = read(run)
    assert re.search(r"SpineGAN, against real images in longer training: −0[^:]*, lower\.", said[ONLY])


def test_time_stands_beside_speed(run: MadeUpRun) -> None:
    for seed in range(2):
        run.gan("stylegan2-ada", seed, 20.0)
        run.gan("spinegan", seed, 20.0)
    _, said = read(run)
    assert "A kimg took 18.0 s with the term and 18.0 s without" in said[SPEED]


def test_one_seed_has_no_interval(run: MadeUpRun) -> None:
    run.metrics("stylegan2-ada", 0, series([100, 60], 0.1))
    run.metrics("spinegan", 0, series([100, 50], 0.2))
    _, said = read(run)
    assert "without an interval" in said[METRICS]
    assert "without an interval" in said[SPEED]


def test_agreement_stands_beside_chance_and_the_classifier(run: MadeUpRun) -> None:
    run.agreement()
    _, said = read(run)
    assert "of 800 images" in said[CLASSES]
    assert "by chance it would be 12.5%" in said[CLASSES]

"""Which steps a reproduction has, and which of them a table or figure needs."""

from collections.abc import Sequence

from .classifier_steps import (
    agreement_step,
    auc_step,
    judge_classifier_step,
    lesion_classifier_step,
    steps_control_step,
    term_classifier_step,
)
from .gan_steps import (
    ABLATION,
    BASELINE,
    MULTI,
    SPINEGAN,
    Bench,
    fakes_step,
    gan_step,
    real_samples_step,
    samples_step,
)
from .materials import DataFiles, Materials, data_step
from .metric_steps import Measure, metrics_step, real_metrics_step
from .preset import OWN, Preset
from .steps import Step

# Which steps each part of the output is made of, by the beginning of their names.
PARTS = {
    "table1": ("auc-true", "auc-only"),
    "table2": ("metrics-stylegan2-ada", "metrics-spinegan-seed", "metrics-real"),
    "figure2": ("metrics-stylegan2-ada", "metrics-spinegan-seed"),
    "figure4": ("samples-real", "samples-stylegan2-ada", "samples-spinegan"),
    "ablation": ("metrics-stylegan2-ada", "metrics-spinegan"),
    "agreement": ("agreement", "samples-multiconditional"),
    "pretraining": ("auc-pretrain",),
}
NOT_IN_THE_PAPER = ("pretraining",)  # only where asked for


def make_steps(preset: Preset, materials: Materials, bench: Bench, measure: Measure) -> list[Step]:
    """Every step, each after those it needs. A part of the work is a whole result with fewer seeds."""
    files = materials.binary
    steps = [data_step(materials), term_classifier_step(preset, files, bench), real_samples_step(files)]
    if preset.detector == OWN:
        steps.append(judge_classifier_step(preset, materials, bench))
    for seed in range(preset.seeds):
        steps += _of_seed(preset, files, bench, measure, seed)
        if seed == 0 and materials.lesions is not None:
            steps += _multiconditional(preset, materials, bench)
    return steps


def steps_of(parts: Sequence[str], steps: list[Step]) -> list[str]:
    """Names of the steps that make up the parts; without parts, of everything that the paper has."""
    parts = parts or [part for part in PARTS if part not in NOT_IN_THE_PAPER]
    beginnings = tuple(beginning for part in parts for beginning in PARTS[part])
    return [step.name for step in steps if step.name.startswith(beginnings)]


def _of_seed(preset: Preset, files: DataFiles, bench: Bench, measure: Measure, seed: int) -> list[Step]:
    steps = [auc_step(preset, files, bench, seed, None, 0, "true")]
    if seed == 0:
        steps.append(real_metrics_step(preset, files, bench, measure))
    for variant in (BASELINE, SPINEGAN):
        steps.append(gan_step(variant, seed, preset, preset.gan.kimg, files, bench))
        steps.append(metrics_step(variant, seed, preset, files, bench, measure))
        steps.append(fakes_step(variant, seed, max(preset.counts.values())))
        if seed == 0:
            steps.append(samples_step(variant))
    steps += _downstream(preset, files, bench, seed)
    steps.append(gan_step(ABLATION, seed, preset, preset.ablation_kimg, files, bench))
    steps.append(metrics_step(ABLATION, seed, preset, files, bench, measure))
    return steps


def _downstream(preset: Preset, files: DataFiles, bench: Bench, seed: int) -> list[Step]:
    most = max(preset.counts.values())
    wanted = [("joined", count) for count in preset.counts.values()] + [("only", most), ("pretrain", most)]
    return [steps_control_step(preset, files, bench, seed, most)] + [
        auc_step(preset, files, bench, seed, variant, count, order)
        for order, count in wanted
        for variant in (BASELINE, SPINEGAN)
    ]


def _multiconditional(preset: Preset, materials: Materials, bench: Bench) -> list[Step]:
    return [
        lesion_classifier_step(preset, materials.lesions, bench),
        gan_step(MULTI, 0, preset, preset.multi_kimg, materials.lesions, bench),
        samples_step(MULTI),
        fakes_step(MULTI, 0, materials.lesions.num_classes * preset.agreement_images),
        agreement_step(preset, materials, bench),
    ]

"""A reproduction of a few seconds on toy images: every kind of step. As a program, it can be killed.

python -m tests.spine_ext.reproduction.tiny_reproduction DATA OUTDIR
"""

import dataclasses
import sys
from pathlib import Path

import torch

from reproduce import Measuring
from spine_ext.reproduction.gan_steps import Bench
from spine_ext.reproduction.materials import DataFiles, Materials, given_materials
from spine_ext.reproduction.plan import make_steps, steps_of
from spine_ext.reproduction.preset import Preset
from spine_ext.reproduction.run import Reproduction
from spine_ext.reproduction.steps import StepStore
from stylegan2ada.options import RunOptions
from tests.toy_images import write_toy_zip

LESIONS = ["No finding", *(f"lesion {number}" for number in range(1, 3))]

TINY = Preset(
    name="phantom",
    seeds=2,
    gan=RunOptions(
        channel_base=64, channel_max=4, latent=4, tick=0.016, snap=2, batch=4, workers=0, precision="fp32",
        aug="noaug", kimg=0.064, pl_weight=0.0,
    ),
    multi_kimg=0.032,
    ablation_kimg=0.032,
    counts={500: 4, 1600: 8, 10_000: 12},
    epochs=2,
    term_epochs=1,
    weights="random",
    measured_images=20,
    agreement_images=4,
    detector="own",
    images_per_sec={"gan": 10.0},
)  # fmt: skip


def write_data(folder: Path) -> Path:
    write_toy_zip(folder / "train.zip", [0, 1] * 16, seed=1, notice="toys", studies=[i // 2 for i in range(32)])
    write_toy_zip(folder / "test.zip", [0, 1, 1] * 8, seed=2, notice="toys")
    write_toy_zip(folder / "judge.zip", [0, 1] * 12, seed=5)
    write_toy_zip(folder / "lesion-train.zip", [0, 1, 2] * 8, LESIONS, seed=3)
    write_toy_zip(folder / "lesion-test.zip", [0, 1, 2] * 6, LESIONS, seed=4)
    return folder


def materials_of(data: Path) -> Materials:
    names = ("train", "test", "lesion-train", "lesion-test")
    given = given_materials(*(str(data / f"{name}.zip") for name in names))
    judge = DataFiles(data / "judge.zip", data / "test.zip")
    return dataclasses.replace(given, judge=judge)


def tiny_reproduction(data: Path, outdir: Path, parts: tuple[str, ...] = ()) -> Reproduction:
    materials = materials_of(data)
    bench = Bench(outdir / "cache", torch.device("cpu"))
    steps = make_steps(TINY, materials, bench, Measuring(outdir / "cache", bench.device))
    return Reproduction(TINY, StepStore(outdir, steps), steps_of(parts, steps))


if __name__ == "__main__":
    tiny_reproduction(Path(sys.argv[1]), Path(sys.argv[2])).run(lambda line: print(line, flush=True))

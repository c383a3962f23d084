"""Steps that train: the classifier of the clinical term, the GANs, and the images these make."""

import dataclasses
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stylegan2ada.checkpoint import Snapshot, load
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.grids import real_grid
from stylegan2ada.progress import ProgressLine
from stylegan2ada.sampling import images_of_seeds
from stylegan2ada.sheets import save_sheet
from stylegan2ada.stats import read_statistics

from ..continuation import choose_plan
from ..downstream.run import CLASSIFIER as CLASSIFIER_FILE
from ..labelled_images import names_of_classes
from ..run_request import RunRequest, Workplace
from ..training_run import execute_run
from .materials import DataFiles
from .preset import Preset
from .steps import Outcome, Step, StepPlace

SHOWN_STATISTICS = ("Loss/G/loss", "Loss/D/loss", "Loss/G/clinical", "Progress/augment", "Timing/sec_per_kimg")
COLUMNS, ROWS_PER_CLASS = 12, 2
TERM_CLASSIFIER = "term-classifier"
IMAGES, SHEET = "images.zip", "samples.png"


@dataclass(frozen=True)
class Variant:
    """One of the GANs that are compared. cfg: its configuration in train.py; gamma: of the clinical term."""

    name: str
    cfg: str
    gamma: float = 0.0


BASELINE = Variant("stylegan2-ada", "stylegan2-ada")
SPINEGAN = Variant("spinegan", "spinegan", gamma=0.01)
ABLATION = Variant("spinegan-gamma0.05", "spinegan", gamma=0.05)
MULTI = Variant("multiconditional", "multiconditional")


@dataclass(frozen=True)
class Bench:
    """Where training happens."""

    cache_dir: Path
    device: torch.device


def gan_name(variant: Variant, seed: int) -> str:
    return f"gan-{variant.name}-seed{seed}"


def fakes_name(variant: Variant, seed: int) -> str:
    return f"fakes-{variant.name}-seed{seed}"


def gan_step(variant: Variant, seed: int, preset: Preset, kimg: float, files: DataFiles, bench: Bench) -> Step:
    """Trains a network, with the clinical term where the variant has one."""
    options = dataclasses.replace(preset.gan, cfg=variant.cfg, kimg=kimg, seed=seed)
    needs = ("data", TERM_CLASSIFIER) if variant.gamma else ("data",)
    settings = {"variant": variant.name, "gamma_clinical": variant.gamma, "options": _said(options)}

    def work(place: StepPlace) -> Outcome:
        files.prepare(place.log)  # results may come from another machine, whose phantoms are not here
        request = RunRequest(
            options=dataclasses.replace(options, resume="auto"),  # goes on where a killed attempt stopped
            data=str(files.train), cond=True, gamma_clinical=variant.gamma,
            classifier=str(place.folders[TERM_CLASSIFIER] / CLASSIFIER_FILE) if variant.gamma else None,
        )  # fmt: skip
        plan = choose_plan(request, Workplace(place.folder, bench.cache_dir, bench.device))
        run_dir = execute_run(plan, _no_distance, place.log)
        result = {"variant": variant.name, "seed": seed, "gamma_clinical": variant.gamma}
        result |= _described(run_dir, place.folder)
        return Outcome(result, tuple(snapshot["file"] for snapshot in result["snapshots"]))

    return Step(gan_name(variant, seed), "gan", settings, work, needs, round(kimg * 1000))


def _no_distance(*features: np.ndarray) -> float:
    raise RuntimeError("a run without test images measures nothing")


def network_of(place: StepPlace, variant: Variant, seed: int) -> Snapshot:
    """The last snapshot of a GAN that the step at `place` needs."""
    name = gan_name(variant, seed)
    return load(place.folders[name] / place.results[name]["snapshots"][-1]["file"])


def fakes_step(variant: Variant, seed: int, count: int) -> Step:
    """As many images of each class, without truncation, as a data set."""

    def work(place: StepPlace) -> Outcome:
        snapshot = network_of(place, variant, seed)
        G, names = snapshot.generator, snapshot.class_names
        classes = list(itertools.islice(itertools.cycle(range(G.c_dim)), count))
        progress = ProgressLine(f"images of {variant.name}", "image")
        notices = snapshot.config.notes
        metadata = {"synthetic": {"variant": variant.name, "seed": seed}}
        metadata |= {"notice": "; ".join(notices)} if notices else {}
        with DatasetWriter(place.folder / IMAGES, names, metadata, overwrite=True) as writer:
            for done, image in enumerate(images_of_seeds(G, range(count), classes, batch_size=32), start=1):
                pixels = image.pixels[0] if len(image.pixels) == 1 else image.pixels.transpose(1, 2, 0)
                writer.add(pixels, image.class_index)
                progress(done, count)
        by_class = np.bincount(classes, minlength=G.c_dim).tolist()
        return Outcome({"variant": variant.name, "seed": seed, "images": count, "by_class": by_class}, (IMAGES,))

    settings = {"variant": variant.name, "count": count}
    return Step(fakes_name(variant, seed), "fakes", settings, work, (gan_name(variant, seed),), count)


def samples_step(variant: Variant) -> Step:
    """A sheet of images without truncation, rows by class."""

    def work(place: StepPlace) -> Outcome:
        snapshot = network_of(place, variant, 0)
        G = snapshot.generator
        rows = ROWS_PER_CLASS if G.c_dim <= 2 else 1
        seeds = [seed for _ in range(G.c_dim) for seed in range(rows * COLUMNS)]
        classes = [one for one in range(G.c_dim) for _ in range(rows * COLUMNS)]
        names = snapshot.class_names or [f"class {one}" for one in range(G.c_dim)]
        shown = [image.pixels for image in images_of_seeds(G, seeds, classes, batch_size=COLUMNS)]
        _save_rows(place.folder / SHEET, shown, names, rows)
        return Outcome({"variant": variant.name, "seed": 0, "figure": SHEET, "class_names": list(names)}, (SHEET,))

    return Step(f"samples-{variant.name}", "samples", {"variant": variant.name}, work, (gan_name(variant, 0),))


def real_samples_step(files: DataFiles) -> Step:
    """The same of real images."""

    def work(place: StepPlace) -> Outcome:
        images: ImageDataset = files.training_set
        pixels, classes = real_grid(images, seed=0)
        names = names_of_classes(images)
        rows = ROWS_PER_CLASS
        shown = []
        for one in range(len(names)):
            cells = np.flatnonzero(classes == one)[: rows * COLUMNS]
            blank = [np.zeros_like(pixels[0])] * (rows * COLUMNS - len(cells))  # so that the next class begins a row
            shown += [*pixels[cells], *blank]
        _save_rows(place.folder / SHEET, shown, names, rows)
        return Outcome({"variant": "real", "seed": None, "figure": SHEET, "class_names": list(names)}, (SHEET,))

    return Step("samples-real", "samples", {}, work, ("data",))


def _save_rows(path: Path, images: list[np.ndarray], names: list[str], rows_per_class: int) -> None:
    labels = [name if row == 0 else "" for name in names for row in range(rows_per_class)]
    save_sheet(path, images, COLUMNS, labels)


def _said(options: object) -> dict:
    return {name: value for name, value in dataclasses.asdict(options).items() if value is not None}


def _described(run_dir: Path, folder: Path) -> dict:
    """What a run folder says of its run; paths relative to the step's folder."""
    config = json.loads((run_dir / "training_options.json").read_text(encoding="utf-8"))
    config["data"].pop("path", None)
    lines = read_statistics(run_dir)
    shown = ("Progress/kimg", *SHOWN_STATISTICS)
    stats = [{name: line[name] for name in shown if name in line} for line in lines]
    snapshots = sorted(run_dir.glob("network-snapshot-??????.safetensors"))
    return {
        "kimg": config["total_kimg"],
        "run": str(run_dir.relative_to(folder)),
        "snapshots": [
            {"kimg": int(path.stem.rpartition("-")[2]), "file": str(path.relative_to(folder))} for path in snapshots
        ],
        "training_sec": lines[-1].get("Timing/total_sec"),
        "stats": [{"kimg": line.pop("Progress/kimg")} | line for line in stats],
        "config": config,
    }

"""Does a lower precision cost quality? Trains the default run's GAN at each precision with the same seeds.

python -m benchmarks.precision_quality --kimg 4 --seeds 3

Prints the Frechet distance in the features of one classifier, the same for all runs, as a markdown table: per seed,
mean and spread. The phantoms and the classifier come from the cache of train.py, or are made first.
"""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from stylegan2ada.cli import Command
from stylegan2ada.devices import choose_device
from stylegan2ada.errors import UserError
from stylegan2ada.files import default_cache_dir
from stylegan2ada.progress import ProgressLine

from .machine import describe_machine

ROOT = Path(__file__).resolve().parent.parent
CLASSIFIER = "classifier.safetensors"  # in every run folder


@dataclass(frozen=True)
class Run:
    """`frechet`: of the trained generator against the test images. `folder`: of the run."""

    frechet: float
    sec: float
    folder: Path


@click.command(cls=Command, context_settings={"max_content_width": 110})
@click.option("--kimg", type=click.FloatRange(min=0, min_open=True), default=4.0,
              help="Thousands of images per run.  [4]")
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="Runs per precision, seeds 0, 1, ...  [3]")
@click.option("--precision", "precisions", type=click.Choice(["fp32", "bf16", "fp16"]), multiple=True,
              default=["fp32", "bf16"], help="Several times; the first is what others are compared with.  [fp32, bf16]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto",
              help="[auto: CUDA where there is one]")
@click.option("--phantom-train", type=click.IntRange(min=2), default=1500, help="Training phantoms.  [1500]")
@click.option("--phantom-test", type=click.IntRange(min=2), default=500, help="Test phantoms.  [500]")
@click.option("--classifier-epochs", type=click.IntRange(min=1), help="When it is trained here.  [as train.py]")
@click.option("--cache-dir", type=click.Path(path_type=Path),
              help="Where phantoms are kept.  [$SPINEGAN_CACHE, ~/.cache/spinegan]")
@click.option("--outdir", type=click.Path(path_type=Path), default="training-runs/precision-quality",
              help="Where the run folders go.  [training-runs/precision-quality]")
def main(
    kimg: float,
    seeds: int,
    precisions: tuple[str, ...],
    device: str,
    phantom_train: int,
    phantom_test: int,
    classifier_epochs: int | None,
    cache_dir: Path | None,
    outdir: Path,
) -> None:
    """Compare the quality that training reaches at several precisions."""
    precisions = tuple(dict.fromkeys(precisions))
    options = {
        "cfg": "spinegan",
        "gamma-clinical": "0",  # the judge is not also what the fakes were trained to please
        "kimg": f"{kimg:g}",
        "ema-kimg": f"{kimg / 20:g}",  # a longer average would still hold much of the untrained network
        "device": device,
        "phantom-train": str(phantom_train),
        "phantom-test": str(phantom_test),
        "cache-dir": str((cache_dir or default_cache_dir()).resolve()),
    }
    runs: dict[str, list[Run]] = {precision: [] for precision in precisions}
    progress, total = ProgressLine("precision", "run"), seeds * len(precisions)
    classifier: Path | None = None
    for seed in range(seeds):
        for precision in precisions:
            options |= {"seed": str(seed), "precision": precision}
            options |= {"outdir": str((outdir / f"{precision}-seed{seed}").resolve())}
            if classifier is not None:  # one judge for all: a run with another seed would train its own
                options |= {"classifier": str(classifier)}
            elif classifier_epochs is not None:
                options |= {"classifier-epochs": str(classifier_epochs)}
            run = _train(options)
            classifier = classifier or run.folder / CLASSIFIER
            runs[precision].append(run)
            note = f"{precision}, seed {seed}: Frechet distance {run.frechet:.2f}"
            progress(sum(map(len, runs.values())), total, note)
    click.echo(f"machine: {describe_machine(choose_device(device).type)}")
    click.echo(f"Frechet distance in classifier features after {kimg:g} kimg of the default run, "
               f"{phantom_train} training and {phantom_test} test phantoms drawn\n")  # fmt: skip
    for line in _table(runs):
        click.echo(line)


def _train(options: dict[str, str]) -> Run:
    """One run of train.py; raises UserError with its own last line where it fails."""
    outdir = Path(options["outdir"])
    before = set(outdir.glob("*/results.json"))
    command = [sys.executable, "train.py", *(f"--{name}={value}" for name, value in options.items())]
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it printed no error"]
        raise UserError(f"{' '.join(command[1:])} failed with status {done.returncode}: {lines[-1]}")
    (results,) = set(outdir.glob("*/results.json")) - before
    frechet = json.loads(results.read_text(encoding="utf-8"))["trained"]["frechet_classifier"]
    return Run(frechet, time.monotonic() - start, results.parent)


def _table(runs: dict[str, list[Run]]) -> list[str]:
    """One row per seed, then mean, spread and time; and how far each precision is from the first."""
    columns = {precision: [run.frechet for run in done] for precision, done in runs.items()}
    rows = [["seed", *columns], ["---"] * (len(columns) + 1)]
    for seed, values in enumerate(zip(*columns.values(), strict=True)):
        rows.append([str(seed), *(f"{value:.2f}" for value in values)])
    rows.append(["mean", *(f"{statistics.mean(values):.2f}" for values in columns.values())])
    rows.append(["least to most", *(f"{min(values):.2f} to {max(values):.2f}" for values in columns.values())])
    rows.append(["standard deviation", *(_deviation(values) for values in columns.values())])
    medians = [statistics.median(run.sec for run in done) for done in runs.values()]
    rows.append(["median sec per run", *(f"{sec:.0f}" for sec in medians)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    (first, reference), *others = columns.items()
    lines.append("")
    for name, values in others:
        differences = [value - other for value, other in zip(values, reference, strict=True)]
        lines.append(f"{name} less {first}: mean {statistics.mean(differences):+.2f}, "
                     f"{min(differences):+.2f} to {max(differences):+.2f} by seed")  # fmt: skip
    return lines


def _deviation(values: list[float]) -> str:
    return f"{statistics.stdev(values):.2f}" if len(values) > 1 else "one seed"


if __name__ == "__main__":
    main()

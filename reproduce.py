"""Repeats the SpineGAN paper: its tables and figures, on your data or, scaled down, on the built-in phantom."""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch

from metrics.choosing import choose_detectors
from metrics.detectors import Detectors, one_detector
from metrics.errors import MetricError
from metrics.feature_cache import FeatureCache
from metrics.features import Detector
from metrics.measure import measure
from metrics.names import parse_names
from metrics.sources import ImageSource
from spine_ext.measuring.detector_files import fetch_detector, open_classifier
from spine_ext.reproduction.gan_steps import Bench
from spine_ext.reproduction.materials import given_materials, phantom_materials
from spine_ext.reproduction.metric_steps import Measured, metric_names
from spine_ext.reproduction.plan import PARTS, make_steps, steps_of
from spine_ext.reproduction.preset import OWN, PRESETS, Preset
from spine_ext.reproduction.run import Reproduction, check_same_reproduction, cost_lines
from spine_ext.reproduction.steps import StepStore
from stylegan2ada.allocator import keep_freed_memory
from stylegan2ada.cli import Command
from stylegan2ada.devices import DEVICES, choose_device
from stylegan2ada.errors import UserError
from stylegan2ada.files import check_writable, default_cache_dir
from stylegan2ada.run_folder import locked
from stylegan2ada.stop_request import TrainingStopped


@click.command(cls=Command)
@click.option("--train", metavar="ZIP", help="Training data set, normal and abnormal.  [the phantom]")
@click.option("--test", metavar="ZIP", help="Test data set of other patients.  [the phantom's]")
@click.option("--lesion-train", metavar="ZIP", help="Training data set by lesion, for MultiConditional.  [left out]")
@click.option("--lesion-test", metavar="ZIP", help="Test data set by lesion.  [left out]")
@click.option("--outdir", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Results; the same "
              "command with the same folder goes on where it stopped.")
@click.option("--preset", "preset_name", type=click.Choice(list(PRESETS)),
              help="As published (256 px, 4,200 kimg), or scaled to two CPU cores.  [paper with --train, else phantom]")
@click.option("--seeds", type=click.IntRange(min=1), help="Networks and classifiers of each kind.  [1; phantom 2]")
@click.option("--detector", metavar="own|auto|inception|classifier:FILE|...", help="Of FID, precision and recall: own, "
              "a classifier of other phantoms; else as calc_metrics.py has it.  [auto; phantom own]")
@click.option("--weights", metavar="auto|imagenet|random|FILE",
              help="That classifiers start from.  [imagenet; phantom random]")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Only this part; may be repeated.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the steps and what they cost, and stop.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Where phantoms are kept.  [~/.cache/spinegan]")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
def main(
    train: str | None,
    test: str | None,
    lesion_train: str | None,
    lesion_test: str | None,
    outdir: Path,
    preset_name: str | None,
    seeds: int | None,
    detector: str | None,
    weights: str | None,
    only: tuple[str, ...],
    dry_run: bool,
    cache_dir: Path | None,
    device: str,
) -> None:
    """Repeat the tables and figures of the SpineGAN paper.

    The work is a set of steps, each with a JSON file of its results in DIR/steps. Stopped or killed at any moment, the
    same command goes on. The results: DIR/report.html, tables as markdown and CSV, figures as PNG.

    \b
    Examples:
      python reproduce.py --outdir phantom                                  on the built-in phantom
      python reproduce.py --outdir phantom --dry-run                        what that costs
      python reproduce.py --train train.zip --test test.zip --outdir paper  as published; for a GPU
      python reproduce.py --outdir phantom --only table2 --only figure2
    """
    if (train is None) != (test is None):
        raise UserError(f"{'--test' if test is None else '--train'} ZIP is missing: give both, or neither")
    if train is None and lesion_train is not None:
        raise UserError("--lesion-train needs --train and --test as well")
    check_writable(outdir, "--outdir")
    given = {"seeds": seeds, "detector": detector, "weights": weights}
    given = {name: value for name, value in given.items() if value is not None}
    preset = dataclasses.replace(PRESETS[preset_name or ("phantom" if train is None else "paper")], **given)
    cache = cache_dir or default_cache_dir()
    if train is not None and preset.detector == OWN:
        raise UserError("--detector own is the phantom's: give auto, or classifier:FILE of one trained on other images")
    if train is None:
        materials = phantom_materials(cache)
    else:
        materials = given_materials(train, test, lesion_train, lesion_test)
    if "agreement" in only and materials.lesions is None:
        raise UserError("--only agreement needs the data sets by lesion: give --lesion-train and --lesion-test")
    bench = Bench(cache, choose_device(device))
    measuring = Measuring(cache, bench.device, None if dry_run else _detectors(preset, bench.device))
    steps = make_steps(preset, materials, bench, measuring)
    reproduction = Reproduction(preset, StepStore(outdir, steps), steps_of(only, steps))
    check_same_reproduction(reproduction)
    if dry_run:
        click.echo("\n".join(cost_lines(reproduction.costs())))
        return
    outdir.mkdir(parents=True, exist_ok=True)
    if bench.device.type == "cpu":
        keep_freed_memory()
    again = f"the same command goes on where it stopped: {outdir}"
    try:
        with locked(outdir):
            written = reproduction.run(click.echo)
    except TrainingStopped as stopped:
        _stop(f"{stopped}; saved, {again}", 128 + stopped.signal_number)
    except OSError as error:  # such as a full disk
        _stop(f"Error: {error}. What was done before is kept; {again}", 1)
    except KeyboardInterrupt:
        _stop(f"Stopped; {again}", 130)
    click.echo(f"report: {next(path for path in written if path.suffix == '.html')}")


class Measuring:
    """What the steps call to compare images: metrics with their detectors, real features kept in `cache_dir`."""

    def __init__(self, cache_dir: Path, device: torch.device, detectors: Detectors | None = None) -> None:
        self._cache = FeatureCache(cache_dir / "features", click.echo)
        self._device, self._detectors = device, detectors

    def __call__(
        self, names: Sequence[str], reals: ImageSource, fakes: ImageSource, detector: Detector | None
    ) -> Measured:
        detectors = self._detectors if detector is None else one_detector(detector)
        try:
            found = measure(names, reals, fakes, detectors, seed=0, cache=self._cache, device=self._device)
        except MetricError as error:
            raise UserError(str(error)) from error
        numbers = {name: value for one in found for name, value in one.results.items()}
        return Measured(numbers, {name: digest for one in found for name, digest in one.detectors.items()})


def _detectors(preset: Preset, device: torch.device) -> Detectors | None:
    """Opened before any work: weeks later would be a bad time to find that they cannot be had."""
    if preset.detector == OWN:
        return None
    requests = parse_names(metric_names(preset.measured_images).at_end)
    try:
        return choose_detectors(
            requests, preset.detector, device, fetch_detector, functools.partial(open_classifier, device=device)
        )
    except MetricError as error:
        raise UserError(str(error)) from error


def _stop(message: str, status: int) -> None:
    click.echo(message, err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()

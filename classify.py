"""Trains SpineClassifiers on real images, with or without synthetic ones, and tests each once on other images."""

from pathlib import Path

import click

from spine_ext.downstream.comparison import compare_runs, read_run
from spine_ext.downstream.plots import write_plots
from spine_ext.downstream.predictions import Predictions, read_predictions
from spine_ext.downstream.request import check_test
from spine_ext.downstream.run import (
    CLASSIFIER,
    PREDICTIONS,
    RESULTS,
    DownstreamResult,
    DownstreamSettings,
    TrainingSets,
    run_downstream,
)
from spine_ext.downstream.seed_summary import comparison_of_seeds, summary_of_seeds
from spine_ext.downstream.shared_images import count_shared
from spine_ext.labelled_images import balanced_subset, classes_of
from stylegan2ada.cli import Command
from stylegan2ada.cli_values import parse_seeds
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.devices import choose_device
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import check_writable, write_json
from stylegan2ada.progress import ProgressLine

COMPARISON_NAME = "comparison.json"


@click.command(cls=Command)
@click.option("--train", "train_path", metavar="ZIP", help="Real training images; not needed with --synthetic-only.")
@click.option("--synthetic", "synthetic_path", metavar="ZIP", help="Generated images to train on as well.")
@click.option("--count", type=click.IntRange(min=2), help="Synthetic images to take, as many of each class.  [all]")
@click.option("--synthetic-only", is_flag=True, help="Train on the synthetic images alone.")
@click.option("--pretrain-synthetic", is_flag=True, help="Train on synthetic images first, then on real ones.")
@click.option("--test", "test_path", metavar="ZIP", required=True, help="Test images; used once, at the end.")
@click.option("--outdir", metavar="DIR", required=True, type=click.Path(path_type=Path),
              help="Where to write; the same command again goes on there.")  # fmt: skip
@click.option("--epochs", default=30, show_default=True, help="Passes over the training images.")
@click.option("--batch", default=32, show_default=True, help="Images per step.")
@click.option("--lr", default=1e-3, show_default=True, help="Highest learning rate of Adam; it rises and falls.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of all that is drawn.  [0]")
@click.option("--seeds", metavar="0-4", help="Several runs, one folder each, and the mean over them.")
@click.option(
    "--weights",
    default="auto",
    show_default=True,
    metavar="auto|imagenet|random|FILE",
    help="Weights to start from; auto: ImageNet's if they can be had, else random ones.",
)
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "fp32", "bf16"]),
              help="Of training; auto: bf16 where it is fast. The test is always fp32.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--threshold", type=float, help="Of the confusion table of two classes.  [Youden's, validation images]")
@click.option("--compare", "compare_dir", metavar="DIR", type=click.Path(path_type=Path),
              help="Another run on the same test images, for a paired comparison.")  # fmt: skip
def main(
    train_path: str | None,
    synthetic_path: str | None,
    count: int | None,
    synthetic_only: bool,
    pretrain_synthetic: bool,
    test_path: str,
    outdir: Path,
    epochs: int,
    batch: int,
    lr: float,
    seed: int | None,
    seeds: str | None,
    weights: str,
    precision: str,
    device: str,
    threshold: float | None,
    compare_dir: Path | None,
) -> None:
    """Train a SpineClassifier (DenseNet121) and measure its AUC on a test set.

    Writes classifier.safetensors, results.json, predictions.csv and three plots. The epoch is chosen on a part of the
    training images; the test images are used once.
    """
    check_writable(outdir, "--outdir")
    if seed is not None and seeds is not None:
        raise UserError("--seed and --seeds were both given: give one of them")
    folders = {seed or 0: outdir} if seeds is None else {each: outdir / f"seed{each}" for each in parse_seeds(seeds)}
    _check_outdir(outdir, several=seeds is not None)
    settings = {
        each: DownstreamSettings(epochs, batch, lr, each, weights, precision, threshold=threshold) for each in folders
    }
    real, synthetic = _open_training_sets(train_path, synthetic_path, count, synthetic_only, pretrain_synthetic)
    test = _open(test_path)
    _check_apart(test, [part for part in (real, synthetic) if part is not None])
    order = "pretrain" if pretrain_synthetic else "joined"
    training = {
        each: TrainingSets(real, synthetic if count is None else balanced_subset(synthetic, count, each), order)
        for each in folders
    }
    check_test(next(iter(training.values())).parts[0], test, threshold)
    others = {} if compare_dir is None else {
        each: read_run(compare_dir if seeds is None else compare_dir / folder.name, test)
        for each, folder in folders.items()
    }  # fmt: skip
    if not all((folder / RESULTS).exists() for folder in folders.values()):
        _warn_of_shared(test, [part for part in (real, synthetic) if part is not None])

    chosen = choose_device(device)
    results = {}
    for each, folder in folders.items():
        results[each] = _run(training[each], test, settings[each], folder, chosen)
        for note in results[each].results["notes"]:
            click.echo(f"These images: {note}.")
    if seeds is not None:
        predictions = {each: read_predictions(folder / PREDICTIONS) for each, folder in folders.items()}
        summary = summary_of_seeds(results, predictions)
        write_json(outdir / RESULTS, summary)
        click.echo(f"Mean test AUC {summary['mean_test_auc']:.4f}{_over_seeds(summary)}: {outdir}")
    for each, other in others.items():
        _compare(folders[each], other, compare_dir, each)
    if seeds is not None and others:
        summary = {"compared_with": str(compare_dir), **comparison_of_seeds(predictions, others)}
        write_json(outdir / COMPARISON_NAME, summary)
        click.echo(f"Mean of {outdir} minus {compare_dir}: {summary['mean_difference']:+.4f}{_over_seeds(summary)}")


def _run(
    training: TrainingSets, test: ImageDataset, settings: DownstreamSettings, folder: Path, device: object
) -> DownstreamResult:
    images = sum(len(part) for part in training.parts)
    click.echo(f"Training on {images} images ({training.protocol}), testing on {len(test)}: {folder}")
    line = ProgressLine("classifier", "image")
    try:
        result = run_downstream(
            training, test, settings, folder, device, lambda line: click.echo(line, err=True), line
        )
        write_plots(folder, read_predictions(folder / PREDICTIONS), result.results)
    except NonFiniteError as error:
        raise UserError(f"{error} (--lr {settings.learning_rate})") from error
    except OSError as error:  # such as a full disk
        raise UserError(f"{error}: files that were written before are whole; the same command goes on") from error
    found = result.results
    interval = f"[{result.low:.4f}, {result.high:.4f}] ({found['interval']}{_by_study(found, '.4f')})"
    click.echo(f"Test AUC {result.auc:.4f} {interval} on {len(test)} images; written to {folder}")
    return result


def _compare(folder: Path, other: Predictions, place: Path, seed: int) -> None:
    """Writes and tells all that is known of the difference of the AUCs."""
    found = compare_runs(read_predictions(folder / PREDICTIONS), other, seed)
    write_json(folder / COMPARISON_NAME, {"compared_with": str(place), **found})
    chance = f", p = {found['p']:.3g}" if "p" in found else ""
    interval = f"[{found['low']:+.4f}, {found['high']:+.4f}] ({found['method']}{chance}{_by_study(found, '+.4f')})"
    click.echo(f"AUC of {folder} minus {place}: {found['difference']:+.4f} {interval}")


def _by_study(found: dict, form: str) -> str:
    """The interval that does not take images of one study for independent, beside DeLong's."""
    interval = found.get("interval_by_study")
    if interval is None or "DeLong" not in (found.get("interval"), found.get("method")):
        return ""
    return f"; by study [{interval['low']:{form}}, {interval['high']:{form}}]"


def _over_seeds(summary: dict) -> str:
    return f" [{summary['low']:.4f}, {summary['high']:.4f}] {summary['interval']}; seeds: {len(summary['seeds'])}"


def _open_training_sets(
    train_path: str | None, synthetic_path: str | None, count: int | None, synthetic_only: bool, pretrain: bool
) -> tuple[ImageDataset | None, ImageDataset | None]:
    """(real, synthetic) training datasets, None where there are none."""
    needing = {"--synthetic-only": synthetic_only, "--pretrain-synthetic": pretrain, "--count": count is not None}
    for option, given in needing.items():
        if given and synthetic_path is None:
            raise UserError(f"{option} needs --synthetic ZIP")
    if synthetic_only and (pretrain or train_path is not None):
        other = "--pretrain-synthetic" if pretrain else "--train"
        raise UserError(f"--synthetic-only takes no real images: leave out {other} or --synthetic-only")
    if train_path is None and not synthetic_only:
        raise UserError("--train ZIP is missing: give it, or --synthetic ZIP with --synthetic-only")
    return None if train_path is None else _open(train_path), None if synthetic_path is None else _open(synthetic_path)


def _open(path: str) -> ImageDataset:
    dataset = ImageDataset(path, use_labels=True)
    classes_of(dataset)  # refuses a dataset without usable classes
    return dataset


def _check_apart(test: ImageDataset, parts: list[ImageDataset]) -> None:
    for part in parts:
        if part.path.resolve() == test.path.resolve() or part.fingerprint() == test.fingerprint():
            raise UserError(f"{test.path} is both training and test dataset: test on images kept out of training")


def _warn_of_shared(test: ImageDataset, parts: list[ImageDataset]) -> None:
    shared = count_shared(test, parts)
    if shared:
        click.echo(f"Warning: {shared} of {len(test)} test images are also training images", err=True)


def _check_outdir(outdir: Path, several: bool) -> None:
    """One run and several do not share a folder."""
    if several and (outdir / CLASSIFIER).exists():
        raise UserError(f"--outdir {outdir} holds a run of one seed: give another folder for --seeds")
    if not several and any(outdir.glob("seed*/*")):
        raise UserError(f"--outdir {outdir} holds runs of several seeds: give another folder, or --seeds")


if __name__ == "__main__":
    main()

"""Trains a SpineClassifier on a dataset, with or without synthetic images, and tests it once on another."""

import csv
import dataclasses
import io
from pathlib import Path

import click
import numpy as np

from spine_ext.classifier import save_classifier
from spine_ext.classifier_training import train_classifier
from spine_ext.default_run import NOTICE
from spine_ext.evaluation import area_under_roc, predict
from spine_ext.labelled_images import (
    Joined,
    LabelledImages,
    balanced_subset,
    check_test_classes,
    classes_of,
)
from stylegan2ada.cli import Command
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.devices import choose_device
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.files import check_writable, write_json, write_text
from stylegan2ada.progress import ProgressLine

RESULTS_NAME = "results.json"


@click.command(cls=Command)
@click.option("--train", "train_path", metavar="ZIP", help="Training dataset; not needed with --synthetic-only.")
@click.option("--synthetic", "synthetic_path", metavar="ZIP", help="Generated dataset to add to the training.")
@click.option("--count", type=click.IntRange(min=2), help="Synthetic images to add, as many of each class.  [all]")
@click.option("--synthetic-only", is_flag=True, help="Train on the synthetic images alone.")
@click.option("--test", "test_path", metavar="ZIP", required=True, help="Test dataset; used once, at the end.")
@click.option("--outdir", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where to write.")
@click.option("--epochs", default=30, show_default=True, help="Passes over the training images.")
@click.option("--batch", default=32, show_default=True, help="Images per step.")
@click.option("--lr", default=1e-3, show_default=True, help="Highest learning rate of Adam; it rises and falls.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of all that is drawn.")
@click.option(
    "--weights",
    default="auto",
    show_default=True,
    metavar="auto|imagenet|random|FILE",
    help="Weights to start from; auto: ImageNet's if they can be had, else random ones.",
)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def main(
    train_path: str | None,
    synthetic_path: str | None,
    count: int | None,
    synthetic_only: bool,
    test_path: str,
    outdir: Path,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
    weights: str,
    device: str,
) -> None:
    """Train a SpineClassifier (DenseNet121) and measure its AUC on a test set.

    Writes classifier.safetensors, results.json and predictions.csv. The epoch is chosen on a part of the training
    images; the test images are looked at once.
    """
    if (outdir / RESULTS_NAME).exists():
        raise UserError(f"{outdir} holds results already: give another --outdir, or remove them")
    check_writable(outdir, "--outdir")
    real, synthetic = _open_training_sets(train_path, synthetic_path, count, synthetic_only)
    test = _open(test_path)
    notes = sorted({dataset.notice for dataset in (real, synthetic, test) if dataset is not None and dataset.notice})
    if synthetic is not None and count is not None:
        synthetic = balanced_subset(synthetic, count, seed)
    parts = [part for part in (real, synthetic) if part is not None]
    _check_test(test, test_path, parts, [train_path, synthetic_path])
    train = Joined(parts)

    click.echo(f"Training on {len(train)} images of {train.resolution} px, testing on {len(test)}: {outdir}")
    try:
        classifier, history = train_classifier(
            train,
            epochs=epochs,
            batch_size=batch,
            learning_rate=lr,
            seed=seed,
            weights=weights,
            device=choose_device(device),
            notify=lambda line: click.echo(line, err=True),
            progress=ProgressLine("classifier", "image"),
        )
    except NonFiniteError as error:
        raise UserError(f"{error} (--lr {lr})") from error
    probabilities = predict(classifier, test)
    auc = area_under_roc(test.labels, probabilities)

    for note in notes:
        click.echo(f"These images: {note}.")
    classifier.provenance = dataclasses.replace(classifier.provenance, test_auc=auc, phantom=NOTICE in notes)
    save_classifier(classifier, outdir / "classifier.safetensors")
    write_text(outdir / "predictions.csv", _predictions_csv(classifier.class_names, test.labels, probabilities))
    write_json(
        outdir / RESULTS_NAME,
        {
            "test_auc": auc,
            "test_images": len(test),
            "real_images": 0 if real is None else len(real),
            "synthetic_images": 0 if synthetic is None else len(synthetic),
            "class_names": classifier.class_names,
            "input_size_px": classifier.input_size_px,
            "weights_origin": classifier.provenance.weights_origin,
            "training": classifier.provenance.training,
            "data": {"train": train_path, "synthetic": synthetic_path, "test": test_path},
            "notes": notes,
            "history": [dataclasses.asdict(epoch) for epoch in history],
        },
    )
    click.echo(f"Test AUC {auc:.4f} on {len(test)} images; written to {outdir}")


def _open_training_sets(
    train_path: str | None, synthetic_path: str | None, count: int | None, synthetic_only: bool
) -> tuple[ImageDataset | None, ImageDataset | None]:
    """(real, synthetic) training datasets, None where there are none."""
    if synthetic_path is None and (synthetic_only or count is not None):
        raise UserError(f"{'--synthetic-only' if synthetic_only else '--count'} needs --synthetic ZIP")
    if train_path is None and not synthetic_only:
        raise UserError("--train ZIP is missing: give it, or --synthetic ZIP with --synthetic-only")
    real = None if synthetic_only else _open(train_path)
    return real, None if synthetic_path is None else _open(synthetic_path)


def _open(path: str) -> ImageDataset:
    dataset = ImageDataset(path, use_labels=True)
    classes_of(dataset)  # refuses a dataset without usable classes
    return dataset


def _check_test(
    test: LabelledImages, test_path: str, parts: list[LabelledImages], training_paths: list[str | None]
) -> None:
    for path in training_paths:
        if path is not None and Path(path).resolve() == Path(test_path).resolve():
            raise UserError(f"{test_path} is both training and test dataset: test on images kept out of training")
    check_test_classes(parts[0], test, test_path)


def _predictions_csv(class_names: tuple[str, ...], labels: np.ndarray, probabilities: np.ndarray) -> str:
    """One row per test image, in the order of the dataset: its place, its class, the probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", *(f"probability of {name}" for name in class_names)])
    for index, (label, row) in enumerate(zip(labels.argmax(axis=1), probabilities, strict=True)):
        writer.writerow([index, class_names[label], *(f"{probability:.6f}" for probability in row)])
    return text.getvalue()


if __name__ == "__main__":
    main()

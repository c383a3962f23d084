"""Steps that train classifiers: the clinical term's, the rows of Table 1, and the judge of MultiConditional."""

import dataclasses
from pathlib import Path

import numpy as np
import scipy.stats
import sklearn.metrics

from stylegan2ada.dataset import ImageDataset
from stylegan2ada.progress import ProgressLine

from ..classifier import load_classifier
from ..downstream.predictions import read_predictions
from ..downstream.run import CLASSIFIER, PREDICTIONS, DownstreamSettings, TrainingSets, run_downstream
from ..evaluation import predict
from ..labelled_images import balanced_subset, classes_of, names_of_classes
from .gan_steps import IMAGES, MULTI, TERM_CLASSIFIER, Bench, Variant, fakes_name
from .materials import DataFiles, Materials
from .preset import Preset
from .steps import Outcome, Step, StepPlace

TERM_SEED, JUDGE_SEED = 1000, 2000  # a network must not be judged by the classifier it was trained to please
LESION_CLASSIFIER = "lesion-classifier"
JUDGE_CLASSIFIER = "judge-classifier"
ROC_POINTS = 200
ROW_PREFIXES = {"joined": "true+", "only": "only-", "pretrain": "pretrain-"}


def term_classifier_step(preset: Preset, files: DataFiles, bench: Bench) -> Step:
    settings = _settings(preset, preset.term_epochs, TERM_SEED)
    return _classifier_step(TERM_CLASSIFIER, files, files, settings, _said(settings), bench)


def judge_classifier_step(preset: Preset, materials: Materials, bench: Bench) -> Step:
    """Its features compare images. It has seen neither the training nor the test images: a classifier's features of
    what it was trained on are sharper than of anything else, and a network trained to please one resembles those."""
    settings = _settings(preset, preset.term_epochs, JUDGE_SEED)
    details = _said(settings) | {"data": materials.judge.identity}
    return _classifier_step(JUDGE_CLASSIFIER, materials.judge, materials.binary, settings, details, bench)


def lesion_classifier_step(preset: Preset, files: DataFiles, bench: Bench) -> Step:
    settings = _settings(preset, preset.epochs, 0)
    return _classifier_step(LESION_CLASSIFIER, files, files, settings, _said(settings), bench)


def _classifier_step(
    name: str, trained_on: DataFiles, tested_on: DataFiles, settings: DownstreamSettings, details: dict, bench: Bench
) -> Step:
    """A classifier of real images. details: the step's settings."""

    def work(place: StepPlace) -> Outcome:
        training = TrainingSets(real=trained_on.training_set)
        result = _downstream(place, training, tested_on.test_set, settings, bench)
        return Outcome({"epochs": settings.epochs, "file": CLASSIFIER} | result, (CLASSIFIER,))

    return Step(name, "classifier", details, work, ("data",), _images(trained_on, settings))


def steps_control_step(preset: Preset, files: DataFiles, bench: Bench, seed: int, count: int) -> Step:
    """Real images alone, for about as many steps as with `count` synthetic ones: more steps help, too."""
    epochs = round(preset.epochs * (files.num_train + count) / files.num_train)
    settings = _settings(preset, epochs, seed)
    row = f"true-steps-{count}"

    def work(place: StepPlace) -> Outcome:
        result = _downstream(place, TrainingSets(real=files.training_set), files.test_set, settings, bench)
        described = {"row": row, "variant": None, "synthetic": 0, "real": len(files.training_set), "order": "steps"}
        described |= {"seed": seed, "epochs": epochs} | result
        return Outcome(described | {"roc": roc(place.folder / PREDICTIONS)}, (CLASSIFIER,))

    return Step(auc_name(row, seed), "auc", _said(settings), work, ("data",), _images(files, settings))


def auc_name(row: str, seed: int) -> str:
    return f"auc-{row}-seed{seed}"


def auc_step(
    preset: Preset, files: DataFiles, bench: Bench, seed: int, variant: Variant | None, count: int, order: str
) -> Step:
    """One row of Table 1 and one seed. order: "true" (real images), "joined", "only" (synthetic ones) or "pretrain"."""
    row = "true" if variant is None else f"{ROW_PREFIXES[order]}{variant.name}-{count}"
    settings = _settings(preset, preset.epochs, seed)

    def work(place: StepPlace) -> Outcome:
        synthetic = None
        if variant is not None:
            made = ImageDataset(place.folders[fakes_name(variant, seed)] / IMAGES, use_labels=True)
            synthetic = balanced_subset(made, count, seed)
        real = None if order == "only" else files.training_set
        training = TrainingSets(real, synthetic, "pretrain" if order == "pretrain" else "joined")
        result = {
            "row": row, "variant": variant and variant.name, "synthetic": count,
            "real": 0 if real is None else len(real), "order": order, "seed": seed,
        }  # fmt: skip
        result |= _downstream(place, training, files.test_set, settings, bench)
        return Outcome(result | {"roc": roc(place.folder / PREDICTIONS)}, (CLASSIFIER,))

    needs = ("data",) if variant is None else ("data", fakes_name(variant, seed))
    images = count * preset.epochs + (0 if order == "only" else _images(files, settings))
    return Step(auc_name(row, seed), "auc", _said(settings) | {"count": count, "order": order}, work, needs, images)


def agreement_step(preset: Preset, materials: Materials, bench: Bench) -> Step:
    """What a classifier of lesions sees in the images that MultiConditional was asked for."""
    files = materials.lesions

    def work(place: StepPlace) -> Outcome:
        classifier = load_classifier(place.folders[LESION_CLASSIFIER] / CLASSIFIER, bench.device)
        fakes = ImageDataset(place.folders[fakes_name(MULTI, 0)] / IMAGES, use_labels=True)
        test = files.test_set
        names = names_of_classes(files.training_set)
        table = confusion_counts(classes_of(fakes), predict(classifier, fakes))
        share, low, high = wilson(np.diag(table), table.sum(axis=1))
        judged = place.results[LESION_CLASSIFIER]
        return Outcome({
            "variant": MULTI.name, "seed": 0, "class_names": list(names), "asked_seen": table.tolist(),
            "agreement": share, "per_class_low": low, "per_class_high": high,
            "images_per_class": preset.agreement_images,
            "classifier": {
                "macro_auc": judged["auc"], "low": judged["low"], "high": judged["high"],
                "per_class_auc": judged.get("per_class_auc"),
                "test_confusion": confusion_counts(classes_of(test), predict(classifier, test)).tolist(),
            },
        })  # fmt: skip

    needs = ("data", LESION_CLASSIFIER, fakes_name(MULTI, 0))
    return Step("agreement-multiconditional-seed0", "agreement", {}, work, needs)


def confusion_counts(classes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """int (K,K): row the true or wanted class, column the most probable one."""
    seen = probabilities.argmax(axis=1)
    return sklearn.metrics.confusion_matrix(classes, seen, labels=range(probabilities.shape[1]))


def wilson(hits: np.ndarray, totals: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Shares hits/totals, and the lower and upper ends of their 95% intervals."""
    tests = [scipy.stats.binomtest(int(hit), int(total)) for hit, total in zip(hits, totals, strict=True)]
    intervals = [test.proportion_ci(0.95, "wilson") for test in tests]
    return [test.statistic for test in tests], [one.low for one in intervals], [one.high for one in intervals]


def roc(predictions: Path) -> dict[str, list[float]]:
    """The ROC curve of a predictions file of two classes, at no more than ROC_POINTS points."""
    found = read_predictions(predictions)
    fpr, tpr, _ = sklearn.metrics.roc_curve(found.classes == 1, found.probabilities[:, 1])
    kept = np.unique(np.linspace(0, len(fpr) - 1, min(ROC_POINTS, len(fpr))).round().astype(int))
    return {"fpr": fpr[kept].round(5).tolist(), "tpr": tpr[kept].round(5).tolist()}


def _settings(preset: Preset, epochs: int, seed: int) -> DownstreamSettings:
    return DownstreamSettings(epochs=epochs, seed=seed, weights=preset.weights)


def _downstream(
    place: StepPlace, training: TrainingSets, test: ImageDataset, settings: DownstreamSettings, bench: Bench
) -> dict:
    line = ProgressLine(place.folder.name, "image")
    found = run_downstream(training, test, settings, place.folder, bench.device, place.log, line)
    relative = f"{place.folder.parent.name}/{place.folder.name}/{PREDICTIONS}"
    return {
        "auc": found.auc, "low": found.low, "high": found.high, "best_epoch": found.best_epoch,
        "validation_auc": found.validation_auc, "per_class_auc": found.per_class_auc, "predictions": relative,
    }  # fmt: skip


def _said(settings: DownstreamSettings) -> dict:
    return dataclasses.asdict(settings)


def _images(files: DataFiles, settings: DownstreamSettings) -> int:
    return settings.epochs * files.num_train

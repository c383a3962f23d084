"""What images are worth for a classifier: trained on real, on real and synthetic, or on synthetic ones, tested once.

The protocols of SpineGAN (2022), section 3.4 and Table 1, and synthetic pre-training beside them. The epoch is chosen
on images kept out of the training images, whole studies where these are known:

* real, or real and synthetic ("joined"): on real ones, so that synthetic images cannot choose themselves;
* synthetic alone: on synthetic ones, since no real image may be used;
* "pretrain": on real ones, in both phases.

The test images are decoded only when all training is over.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from stylegan2ada.errors import UserError

from ..classifier import Provenance, SpineClassifier, save_classifier
from ..classifier_training import Progress, Training, classifier_precision, new_classifier
from ..default_run import NOTICE
from ..evaluation import predict
from ..labelled_images import Joined, LabelledImages
from ..validation_split import split
from .folder import CLASSIFIER, PREDICTIONS, RESULTS, DownstreamFolder
from .judgement import judged
from .predictions import Predictions, write_predictions
from .request import DownstreamSettings, TrainingSets, check_test, request_of
from .shared_images import count_shared

__all__ = [
    "CLASSIFIER",
    "PREDICTIONS",
    "RESULTS",
    "DownstreamResult",
    "DownstreamSettings",
    "TrainingSets",
    "run_downstream",
]

FINE_TUNING_SHARE = 0.1  # of the learning rate, for real images after synthetic ones; our choice, not the paper's

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class DownstreamResult:
    """What a run came to; `results` is all of results.json.

    auc, low, high: of class 1 with DeLong's 95% interval for two classes; the macro mean of one class against the rest
    with a bootstrap interval for more. per_class_auc: in the order of the classes, empty for two.
    """

    folder: Path
    auc: float
    low: float
    high: float
    best_epoch: int
    validation_auc: float | None
    per_class_auc: list[float]
    results: dict

    @classmethod
    def of(cls, folder: Path, results: dict) -> "DownstreamResult":
        try:
            return cls(
                folder, results["test_auc"], results["low"], results["high"], results["best_epoch"],
                results["validation_auc"], [one["auc"] for one in results["per_class"]], results,
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise UserError(f"{folder / RESULTS} is not of this version: remove it, or give another folder") from error


@dataclasses.dataclass(frozen=True)
class _Phase:
    name: str
    fitted: LabelledImages
    learning_rate: float


def run_downstream(
    training: TrainingSets,
    test: LabelledImages,
    settings: DownstreamSettings,
    folder: Path,
    device: str | torch.device = "cpu",
    log: Log = lambda line: None,
    progress: Progress = lambda done, total, note: None,
) -> DownstreamResult:
    """Trains, tests once, and writes classifier.safetensors, predictions.csv and results.json into `folder`.

    The same call again goes on after the last saved epoch, to the same result as without a stop; where the folder
    holds the result, it is returned at once.

    Raises `UserError` for data that does not fit, or a folder of another run, and `NonFiniteError` for a loss that
    becomes NaN or Inf.
    """
    device = torch.device(device)
    check_test(training.parts[0], test, settings.threshold)
    precision = classifier_precision(settings.precision, device)
    files = DownstreamFolder(Path(folder), request_of(training, test, settings, precision))
    if (results := files.finished()) is not None:
        log(f"{folder} holds the result of this run already")
        return DownstreamResult.of(Path(folder), results)
    started = time.monotonic()
    phases, held_out = _phases(training, settings)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        classifier, state = _begun(phases[0].fitted, settings, files, device, log)
        with files.alone():
            history, best = _trained(classifier, state, phases, held_out, settings, precision, files, log, progress)
            trained = {
                "best_epoch": best["epoch"],
                "validation_auc": best["validation_auc"],
                "weights_origin": state["origin"],
                "training": dataclasses.asdict(settings) | {"precision": precision},
                "phases": [
                    {"name": one.name, "images": len(one.fitted), "learning_rate": one.learning_rate} for one in phases
                ],
                "history": history,
            }
            results = _tested(classifier.eval(), trained, training, held_out, test, settings, files.folder, log)
            files.finish(results | {"duration_sec": time.monotonic() - started})
    return DownstreamResult.of(files.folder, files.finished())


def _begun(
    images: LabelledImages, settings: DownstreamSettings, files: DownstreamFolder, device: torch.device, log: Log
) -> tuple[SpineClassifier, dict]:
    """A classifier to train, and where its training stands: at the start, or where it was stopped."""
    state = files.state()
    if state is not None:
        return new_classifier(images, "random", device, log)[0], state
    classifier, origin = new_classifier(images, settings.weights, device, log)
    return classifier, {"phase": 0, "history": [], "origin": origin, "training": None}


def _trained(
    classifier: SpineClassifier,
    state: dict,
    phases: list[_Phase],
    held_out: LabelledImages | None,
    settings: DownstreamSettings,
    precision: str,
    files: DownstreamFolder,
    log: Log,
    progress: Progress,
) -> tuple[list[dict], dict]:
    """Trains the classifier in all phases; every epoch, and the best one of the last phase."""
    history, origin = state["history"], state["origin"]
    for number, phase in enumerate(phases):
        if number < state["phase"]:
            continue
        run = Training(classifier, phase.fitted, held_out, settings.phase(precision, phase.learning_rate), progress)
        if number == state["phase"] and state["training"] is not None:
            run.restore(state["training"])
            log(f"{files.folder}: goes on after epoch {len(run.history)} of {settings.epochs}, {phase.name}")
        while not run.finished:
            run.run_epoch()
            if files.is_due():
                files.save({"phase": number, "history": history, "origin": origin, "training": run.state()})
        run.take_best()
        history = history + [{"phase": phase.name, **dataclasses.asdict(epoch)} for epoch in run.history]
    return history, dataclasses.asdict(run.best_epoch)


def _tested(
    classifier: SpineClassifier,
    trained: dict,
    training: TrainingSets,
    held_out: LabelledImages | None,
    test: LabelledImages,
    settings: DownstreamSettings,
    folder: Path,
    log: Log,
) -> dict:
    """All of results.json out of the one test; writes the classifier and what it says of each test image."""
    chosen_on = None if held_out is None else Predictions.of(held_out, predict(classifier, held_out))
    predictions = Predictions.of(test, predict(classifier, test))
    shared = count_shared(test, training.parts)
    if shared:
        log(f"{shared} of {len(test)} test images are also training images: the result is too good")
    results = {
        **judged(predictions, chosen_on, settings.threshold, settings.seed),
        **trained,
        "protocol": training.protocol,
        "real_images": 0 if training.real is None else len(training.real),
        "synthetic_images": 0 if training.synthetic is None else len(training.synthetic),
        "validation": _described_validation(training, held_out),
        "test_images": len(test),
        "test_images_in_training": shared,
        "class_names": list(classifier.class_names),
        "input_size_px": classifier.input_size_px,
        "notes": sorted({part.notice for part in (*training.parts, test) if part.notice}),
    }
    classifier.provenance = _provenance(results)
    save_classifier(classifier, folder / CLASSIFIER)
    write_predictions(folder / PREDICTIONS, predictions)
    return results


def _phases(training: TrainingSets, settings: DownstreamSettings) -> tuple[list[_Phase], LabelledImages | None]:
    """What is trained on, in order, and the images that choose the epoch."""
    rate = settings.learning_rate
    chosen_from = training.synthetic if training.real is None else training.real
    fitted, held_out = split(chosen_from, settings.validation_fraction, settings.seed)
    if training.order == "pretrain":
        fine = _Phase("fine-tuning on real images", fitted, rate * FINE_TUNING_SHARE)
        return [_Phase("pre-training on synthetic images", training.synthetic, rate), fine], held_out
    if training.real is not None and training.synthetic is not None:
        fitted = Joined([fitted, training.synthetic])
    return [_Phase("training", fitted, rate)], held_out


def _described_validation(training: TrainingSets, held_out: LabelledImages | None) -> dict:
    if held_out is None:
        return {"images": 0, "of": None, "by": None}
    return {
        "images": len(held_out),
        "of": "synthetic" if training.real is None else "real",
        "by": "image" if held_out.groups is None else "study",
    }


def _provenance(results: dict) -> Provenance:
    kept = ("protocol", "real_images", "synthetic_images", "best_epoch", "validation_auc", "validation")
    return Provenance(
        weights_origin=results["weights_origin"],
        training={**results["training"], **{name: results[name] for name in kept}},
        test_auc=results["test_auc"],
        phantom=any(NOTICE in note for note in results["notes"]),
    )

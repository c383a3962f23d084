"""A run of train.py: data, classifier, the GAN with its clinical term, and the closing numbers."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from stylegan2ada.allocator import keep_freed_memory
from stylegan2ada.checkpoint import make_generator
from stylegan2ada.config import TrainingConfig
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.files import write_json
from stylegan2ada.loop import train
from stylegan2ada.progress import ProgressLine
from stylegan2ada.run_folder import RunLog, locked, run_folder
from stylegan2ada.updates import GeneratorTerm

from .classifier import SpineClassifier, load_classifier, save_classifier
from .classifier_training import train_classifier
from .clinical import ClinicalTerm
from .default_run import NOTICE, PHANTOM_CLASSIFIER_EPOCHS, phantom_paths, prepare_phantom
from .evaluation import auc_on
from .labelled_images import check_test_classes, classes_of, names_of_classes, proportional_subset
from .run_plan import RunPlan, data_config, open_training_set
from .run_request import write_request
from .snapshot_evaluation import Frechet, SnapshotEvaluation

CLASSIFIER = "classifier.safetensors"  # the run's own copy
TERM_EPOCHS = 19  # of the paper's classifier for the loss term

Log = Callable[[str], None]


def execute_run(plan: RunPlan, frechet: Frechet, log: Log) -> Path:
    """Runs the plan and returns the run folder."""
    request, place = plan.request, plan.place
    if place.device.type == "cpu":
        keep_freed_memory()
    data_path, test_path = request.data, request.test_data
    if plan.phantom is not None:
        log(f"no --data given: training on the {NOTICE}")
        datasets = prepare_phantom(place.cache_dir, plan.phantom, log)
        data_path, test_path = str(datasets.train_zip), test_path or str(datasets.test_zip)
    dataset = open_training_set(request, data_path, plan.conditional)
    notes = () if dataset.notice is None else (dataset.notice,)
    config = plan.config
    if plan.run_dir is None:
        config = dataclasses.replace(config, data=data_config(dataset, request), notes=notes)
    test = None
    if test_path is not None and plan.conditional:  # without classes nothing of it could be judged
        test = ImageDataset(test_path, resolution=dataset.resolution, use_labels=True)
        check_test_classes(dataset, test, f"--test {test.path}")
        for images in (dataset, test):
            classes_of(images)  # the closing AUC needs images of every class; better said now than after the training
    classifier = _classifier(plan, dataset, test, log)

    with _folder(plan, dataset, config) as run_dir, locked(run_dir):
        log(f"run folder: {run_dir}")
        _train_in(run_dir, plan, config, dataset, test, classifier, frechet)
    return run_dir


def _folder(plan: RunPlan, dataset: ImageDataset, config: TrainingConfig) -> contextlib.AbstractContextManager[Path]:
    """That of the run to go on with, or a new one."""
    if plan.run_dir is not None:
        return contextlib.nullcontext(plan.run_dir)
    return run_folder(plan.place.outdir, _description(plan, dataset, config))


def _train_in(
    run_dir: Path,
    plan: RunPlan,
    config: TrainingConfig,
    dataset: ImageDataset,
    test: ImageDataset | None,
    classifier: SpineClassifier | None,
    frechet: Frechet,
) -> None:
    """The GAN with its clinical term, and the closing numbers, all into run_dir."""
    place, log = plan.place, RunLog(run_dir)
    terms, evaluations = [], []
    if plan.run_dir is None:
        write_request(run_dir, plan.request)
    if classifier is not None:
        if not (run_dir / CLASSIFIER).exists():
            save_classifier(classifier, run_dir / CLASSIFIER)
        if plan.gamma_clinical > 0:
            term = ClinicalTerm(classifier, plan.clinical_reduction, config.batch_size, config.precision)
            terms.append(GeneratorTerm("clinical", plan.gamma_clinical, term))
        if test is not None:
            evaluations.append(SnapshotEvaluation(classifier, test, frechet, config.seed))
    snapshot = train(
        config, dataset, run_dir, place.device, terms=terms, on_snapshot=evaluations,
        continues=plan.run_dir is not None,
    )  # fmt: skip
    for evaluation in evaluations:
        _closing_numbers(evaluation, snapshot, dataset, config, place.device, log)
    log(f"network: {snapshot}")
    if plan.phantom is not None:
        log(f"this was the {NOTICE}; for your own images give --data")


def _classifier(plan: RunPlan, dataset: ImageDataset, test: ImageDataset | None, log: Log) -> SpineClassifier | None:
    """The classifier of the clinical term and the closing numbers: given, cached, or trained now; None: not needed."""
    request, place = plan.request, plan.place
    kept = None if plan.run_dir is None else plan.run_dir / CLASSIFIER
    if kept is not None and kept.exists():
        return load_classifier(kept, place.device)
    if request.classifier is not None:
        classifier = load_classifier(request.classifier, place.device)
        classifier.check_classes(names_of_classes(dataset), str(dataset.path))
        return classifier
    if plan.gamma_clinical == 0 and test is None:
        return None
    epochs = request.classifier_epochs or (TERM_EPOCHS if plan.phantom is None else PHANTOM_CLASSIFIER_EPOCHS)
    cached = None
    if plan.phantom is not None and request.subset is None and not request.mirror:
        stem = phantom_paths(place.cache_dir, plan.phantom).train_zip.stem
        name = f"classifier-{stem}-epochs{epochs}-seed{plan.config.seed}-{plan.config.precision}.safetensors"
        cached = place.cache_dir / plan.phantom.name / name
        if cached.exists():
            log(f"classifier: {cached} (from an earlier run)")
            return load_classifier(cached, place.device)
    classifier = _train_classifier(plan, dataset, test, epochs, log)
    if cached is not None:
        save_classifier(classifier, cached)
    return classifier


def _train_classifier(
    plan: RunPlan, dataset: ImageDataset, test: ImageDataset | None, epochs: int, log: Log
) -> SpineClassifier:
    log(f"no --classifier given: training one on {len(dataset)} images, {epochs} epochs")
    line = ProgressLine("classifier", "image")
    classifier, _ = train_classifier(
        dataset, epochs=epochs, seed=plan.config.seed, device=plan.place.device, notify=log, progress=line,
        precision=plan.config.precision,
    )  # fmt: skip
    classifier.provenance = dataclasses.replace(classifier.provenance, phantom=dataset.notice == NOTICE)
    if test is not None:
        auc = auc_on(classifier, test)
        classifier.provenance = dataclasses.replace(classifier.provenance, test_auc=auc)
        log(f"  classifier AUC on {len(test)} test images: {auc:.3f}")
    return classifier


def _closing_numbers(
    evaluation: SnapshotEvaluation,
    snapshot: Path,
    dataset: ImageDataset,
    config: TrainingConfig,
    device: torch.device,
    log: Log,
) -> None:
    """Sets the last snapshot beside an untrained generator and beside real training images; writes results.json."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        untrained = make_generator(config).eval().to(device)
    reals = proportional_subset(dataset, evaluation.num_images, config.seed)
    results = {
        "trained": evaluation.latest,
        "untrained": evaluation.measure(untrained),
        "real_training_images": evaluation.measure_real(reals),
        "num_fake": evaluation.num_images,
        "num_real": evaluation.num_images,
        "snapshot": snapshot.name,
        "notes": list(config.notes),
    }
    write_json(snapshot.parent / "results.json", results)
    log(f"in the features of the run's own classifier, against {evaluation.num_images} test images (its AUC on fakes")
    log("shows whether the clinical term was obeyed, not how good the images are):")
    for name in ("untrained", "trained", "real_training_images"):
        row = results[name]
        log(f"  {name.replace('_', ' '):<22} Frechet distance {row['frechet_classifier']:8.2f}   "
            f"classifier AUC {row['auc']:.3f}")  # fmt: skip


def _description(plan: RunPlan, dataset: ImageDataset, config: TrainingConfig) -> str:
    """Name of the run folder after its number, as official: data, options that stand out, configuration."""
    parts = ["phantom" if plan.phantom else dataset.name]
    if plan.conditional:
        parts.append("cond")
    parts.append(plan.request.options.cfg or "auto")
    parts.append(f"batch{config.batch_size}")
    if plan.gamma_clinical > 0:
        parts.append(f"clinical{plan.gamma_clinical:g}")
    if config.augment.mode != "ada":
        parts.append(config.augment.mode)
    return "-".join(parts)

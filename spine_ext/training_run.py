"""A run of train.py: data, classifier, the GAN with its clinical term, and the closing numbers."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from stylegan2ada.allocator import keep_freed_memory
from stylegan2ada.checkpoint import make_generator
from stylegan2ada.config import TrainingConfig
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.files import write_json
from stylegan2ada.loop import train
from stylegan2ada.processes import ALONE, Processes
from stylegan2ada.progress import ProgressLine
from stylegan2ada.recorder import OnSnapshot
from stylegan2ada.run_folder import RunLog, locked, run_folder, write_options
from stylegan2ada.updates import GeneratorTerm

from .classifier import SpineClassifier, load_classifier, save_classifier
from .classifier_training import train_classifier
from .clinical import ClinicalTerm
from .default_run import NOTICE, PHANTOM_CLASSIFIER_EPOCHS, phantom_paths, prepare_phantom
from .evaluation import auc_on
from .labelled_images import check_test_classes, classes_of, names_of_classes, proportional_subset
from .measuring.process import Measure
from .measuring.snapshot_evaluation import Frechet, SnapshotEvaluation
from .measuring.snapshot_metrics import SnapshotMetrics, unfailing
from .run_plan import RunPlan, data_config, open_training_set
from .run_request import write_request

CLASSIFIER = "classifier.safetensors"  # the run's own copy
TERM_EPOCHS = 19  # of the paper's classifier for the loss term

Log = Callable[[str], None]
MakeMeasure = Callable[[ImageDataset, Path | None], Measure]
"""Out of the training images and the file of the run's classifier, if it has one."""


def execute_run(
    plan: RunPlan,
    frechet: Frechet,
    log: Log,
    processes: Processes = ALONE,
    make_measure: MakeMeasure | None = None,
) -> Path:
    """Runs the plan and returns the run folder. Of several processes, all are called, and the main one writes.

    make_measure: how the metrics of snapshots are measured; None: they are not.
    """
    if plan.place.device.type == "cpu":
        keep_freed_memory()
    log = log if processes.is_main else _say_nothing
    data_path, test_path = _prepare_data(plan, log, processes)
    dataset = open_training_set(plan.request, data_path, plan.conditional)
    config = plan.config
    if plan.run_dir is None:
        notes = () if dataset.notice is None else (dataset.notice,)
        config = dataclasses.replace(config, data=data_config(dataset, plan.request), notes=notes)
    if not processes.is_main:
        run_dir = Path(processes.broadcast_text(None))
        _train_in(run_dir, plan, config, dataset, (), processes)
        return run_dir

    test = _open_test(plan, dataset, test_path)
    classifier = _classifier(plan, dataset, test, log)
    evaluation = None
    if classifier is not None and test is not None:
        evaluation = SnapshotEvaluation(classifier, test, frechet, config.seed)
    with _folder(plan, dataset, config) as run_dir, locked(run_dir):
        log(f"run folder: {run_dir}")
        if plan.run_dir is None:
            write_options(run_dir, config)  # first, since a folder with a request is one to go on with
            write_request(run_dir, plan.request)
        if classifier is not None and not (run_dir / CLASSIFIER).exists():
            save_classifier(classifier, run_dir / CLASSIFIER)
        with _metrics(plan, dataset, run_dir, make_measure) as metrics:
            processes.broadcast_text(str(run_dir))
            callbacks = [] if metrics is None else [unfailing(metrics, "measuring")]
            callbacks += [] if evaluation is None else [unfailing(evaluation, "the judgement by the classifier")]
            snapshot = _train_in(run_dir, plan, config, dataset, callbacks, processes)
        log = RunLog(run_dir)
        if evaluation is not None:
            _closing_numbers(evaluation, snapshot, dataset, config, plan.place.device, log)
        log(f"network: {snapshot}")
        if plan.phantom is not None:
            log(f"this was the {NOTICE}; for your own images give --data")
    return run_dir


def _say_nothing(line: str) -> None:
    pass


def _prepare_data(plan: RunPlan, log: Log, processes: Processes) -> tuple[str | None, str | None]:
    """Paths of the training and test sets. The main process draws the phantoms; the others find them drawn."""
    if plan.phantom is None:
        return plan.request.data, plan.request.test_data
    log(f"no --data given: training on the {NOTICE}")
    if not processes.is_main:
        processes.barrier()
    datasets = prepare_phantom(plan.place.cache_dir, plan.phantom, log)
    if processes.is_main:
        processes.barrier()
    return str(datasets.train_zip), plan.request.test_data or str(datasets.test_zip)


def _open_test(plan: RunPlan, dataset: ImageDataset, path: str | None) -> ImageDataset | None:
    if path is None or not plan.conditional:  # without classes nothing of it could be judged
        return None
    test = ImageDataset(path, resolution=dataset.resolution, use_labels=True)
    check_test_classes(dataset, test, f"--test {test.path}")
    for images in (dataset, test):
        classes_of(images)  # the closing AUC needs images of every class; better said now than after the training
    return test


def _folder(plan: RunPlan, dataset: ImageDataset, config: TrainingConfig) -> contextlib.AbstractContextManager[Path]:
    """That of the run to go on with, or a new one."""
    if plan.run_dir is not None:
        return contextlib.nullcontext(plan.run_dir)
    return run_folder(plan.place.outdir, _description(plan, dataset, config))


def _metrics(
    plan: RunPlan, dataset: ImageDataset, run_dir: Path, make_measure: MakeMeasure | None
) -> contextlib.AbstractContextManager[SnapshotMetrics | None]:
    if make_measure is None:
        return contextlib.nullcontext()
    classifier = run_dir / CLASSIFIER
    measure = make_measure(dataset, classifier if classifier.exists() else None)
    return SnapshotMetrics(measure, plan.place.device, plan.request.metrics_process or "auto")


def _train_in(
    run_dir: Path,
    plan: RunPlan,
    config: TrainingConfig,
    dataset: ImageDataset,
    callbacks: Sequence[OnSnapshot],
    processes: Processes,
) -> Path:
    """The GAN with its clinical term, into run_dir; the path of the last snapshot."""
    terms = []
    if plan.gamma_clinical > 0:
        classifier = load_classifier(run_dir / CLASSIFIER, plan.place.device)
        term = ClinicalTerm(classifier, plan.clinical_reduction, config.batch_size, config.precision)
        terms.append(GeneratorTerm("clinical", plan.gamma_clinical, term))
    return train(
        config, dataset, run_dir, plan.place.device, terms=terms, on_snapshot=callbacks,
        continues=plan.run_dir is not None, processes=processes,
    )  # fmt: skip


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
    if not evaluation.latest:
        log("no closing numbers: the last snapshot could not be judged")
        return
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

"""Training of a SpineClassifier: class-weighted loss, augmentation, the best epoch on a validation split."""

import copy
import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader

from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.images import to_model_range

from .classifier import Provenance, SpineClassifier, classification_loss, input_size_for
from .classifier_augment import random_views
from .evaluation import area_under_roc, predict
from .labelled_images import LabelledImages, Selection, classes_of, names_of_classes
from .weights import load_starting_weights

WARM_UP = 0.2  # the part of all steps on which the learning rate rises


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What one pass over the training images came to. Validation is None where nothing was held out."""

    epoch: int
    training_loss: float
    validation_loss: float | None
    validation_auc: float | None
    duration_sec: float


Progress = Callable[[int, int, str], None]
"""Called after each step with images seen, images in all, and a note on the state of the training."""


def train_classifier(
    train: LabelledImages,
    *,
    epochs: int = 30,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    validation_fraction: float = 0.1,
    weights: str = "auto",
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    notify: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda done, total, note: None,
) -> tuple[SpineClassifier, list[Epoch]]:
    """A classifier trained on `train` (in eval mode), and its history.

    epochs, batch_size, learning_rate: the paper's 30, and 32 and 1e-3 (Adam) of its scripts. The rate rises to
        `learning_rate` and falls to nothing again, see `one_cycle`.
    seed: of the split, the weights, the order and the views; the global random state is left as it was.
    validation_fraction: of each class, at least one image; kept out of training, and the epoch with the best
        AUC on it is returned. 0 trains on everything and returns the last epoch.
    precision: "bf16" computes the convolutions of the training steps in bfloat16; anything else is float32.
    weights: see `weights.load_starting_weights`; `notify` gets its remarks.

    Raises `UserError` for unusable settings or data and `NonFiniteError` when the loss becomes NaN or Inf.
    """
    _check_settings(epochs, batch_size, learning_rate, validation_fraction)
    fitted, held_out = split(train, validation_fraction, seed)
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        classifier = SpineClassifier(names_of_classes(train), input_size_for(train.resolution))
        origin = load_starting_weights(classifier.backbone, weights, notify)
        classifier.to(device)
        run = _Run(classifier, fitted, held_out, batch_size, learning_rate, seed, epochs, progress, precision)
        history = [run.epoch(number) for number in range(1, epochs + 1)]
        classifier.load_state_dict(run.best_state)
    classifier.provenance = Provenance(
        weights_origin=origin,
        training={
            "images": len(train),
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "validation_fraction": validation_fraction,
            "precision": precision,
            "best_epoch": run.best_epoch.epoch,
            "validation_auc": run.best_epoch.validation_auc,
        },
    )
    return classifier.eval(), history


class _Run:
    """The parts of one training and the best state so far."""

    def __init__(
        self,
        classifier: SpineClassifier,
        fitted: LabelledImages,
        held_out: LabelledImages | None,
        batch_size: int,
        learning_rate: float,
        seed: int,
        epochs: int,
        progress: Progress,
        precision: str,
    ) -> None:
        self.classifier = classifier
        self.held_out = held_out
        self.epochs = epochs
        self.progress = progress
        self.precision = precision
        self.class_weights = balanced_class_weights(fitted.labels).to(classifier.device)
        self.optimizer = torch.optim.Adam(classifier.parameters(), lr=learning_rate, fused=True)
        self.generator = torch.Generator().manual_seed(seed)
        # Whole batches only, where there is one: a last batch of one image has no variance for batch norm.
        batch_size = min(batch_size, len(fitted))
        self.loader = DataLoader(fitted, batch_size, shuffle=True, generator=self.generator, drop_last=True)
        steps = epochs * len(self.loader)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: one_cycle(step / steps))
        self.images_seen, self.images_in_all = 0, steps * batch_size
        self.best_epoch: Epoch | None = None
        self.best_state: dict[str, torch.Tensor] = {}

    def epoch(self, number: int) -> Epoch:
        """One pass over the training images and one over the held-out ones."""
        started = time.monotonic()
        losses = []
        self.classifier.train()
        for step, (pixels, labels) in enumerate(self.loader, start=1):
            losses.append(self.step(pixels, labels, f"epoch {number}, step {step}"))
            self.images_seen += len(pixels)
            self.progress(self.images_seen, self.images_in_all, self.note(number, float(np.mean(losses))))
        loss, auc = (None, None) if self.held_out is None else self.validate()
        result = Epoch(number, float(np.mean(losses)), loss, auc, time.monotonic() - started)
        if self.best_epoch is None or _quality(result) >= _quality(self.best_epoch):
            self.best_epoch = result
            self.best_state = copy.deepcopy(self.classifier.state_dict())
        return result

    def step(self, pixels: torch.Tensor, labels: torch.Tensor, place: str) -> float:
        """One optimiser step on uint8 (N,C,H,W) pixels and (N,K) labels; returns the loss."""
        images = random_views(to_model_range(pixels.to(self.classifier.device)), self.generator)
        labels = labels.to(self.classifier.device)
        logits = self.classifier.logits_in(self.precision, images)
        loss = (classification_loss(logits, labels) * (labels @ self.class_weights)).mean()
        if not torch.isfinite(loss):
            raise NonFiniteError(f"the classifier's loss became {loss.item()} in {place}: lower the learning rate")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def validate(self) -> tuple[float, float]:
        """Class-weighted loss and AUC on the held-out images."""
        probabilities, labels = predict(self.classifier, self.held_out), self.held_out.labels
        likelihood = (probabilities * labels).sum(axis=1).clip(1e-12)
        weights = labels @ self.class_weights.cpu().numpy()
        return float((-np.log(likelihood) * weights).mean()), area_under_roc(labels, probabilities)

    def note(self, number: int, loss: float) -> str:
        best = self.best_epoch
        auc = "" if best is None or best.validation_auc is None else f", best validation AUC {best.validation_auc:.3f}"
        return f"epoch {number}/{self.epochs}, loss {loss:.3f}{auc}"


def one_cycle(progress: float) -> float:
    """The share of the highest learning rate at `progress` 0..1 of the training: up from a tenth, down to nothing.

    Smith and Topin 2018. With a constant rate, random weights and 1,500 images, the AUC jumps from epoch to epoch.
    """
    if progress < WARM_UP:
        return 0.1 + 0.9 * progress / WARM_UP
    return (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def split(
    dataset: LabelledImages, validation_fraction: float, seed: int
) -> tuple[LabelledImages, LabelledImages | None]:
    """(training part, validation part): the fraction of each class, at least one image; None for 0."""
    classes = classes_of(dataset)
    if validation_fraction == 0:
        return dataset, None
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(classes), dtype=bool)
    for label, name in enumerate(names_of_classes(dataset)):
        members = generator.permutation(np.flatnonzero(classes == label))
        if len(members) < 2:
            raise UserError(
                f"{dataset.name} has a single image of {name}, too few for training and validation: "
                "add images of this class"
            )
        held_out[members[: max(1, round(validation_fraction * len(members)))]] = True
    return Selection(dataset, np.flatnonzero(~held_out)), Selection(dataset, np.flatnonzero(held_out))


def balanced_class_weights(labels: np.ndarray) -> torch.Tensor:
    """(K,) weights N / (K N_k) of the classes of one-hot (N,K) labels: every class weighs the same in sum."""
    return torch.tensor(len(labels) / (labels.shape[1] * labels.sum(axis=0)), dtype=torch.float32)


def _quality(epoch: Epoch) -> tuple[float, float]:
    """Larger is better: AUC, then loss. All are equal without validation, so that the last one stays."""
    if epoch.validation_auc is None:
        return (0.0, 0.0)
    return (epoch.validation_auc, -epoch.validation_loss)


def _check_settings(epochs: int, batch_size: int, learning_rate: float, validation_fraction: float) -> None:
    problems = []
    if epochs < 1:
        problems.append(f"epochs is {epochs}, give 1 or more")
    if batch_size < 2:
        problems.append(f"the batch size is {batch_size}, batch norm needs 2 or more")
    if not 0 < learning_rate < 1:
        problems.append(f"the learning rate is {learning_rate}, give a number between 0 and 1")
    if not 0 <= validation_fraction <= 0.5:
        problems.append(f"the validation fraction is {validation_fraction}, give 0..0.5")
    if problems:
        raise UserError("the classifier cannot be trained: " + "; ".join(problems))

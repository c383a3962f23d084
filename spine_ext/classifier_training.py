"""Training of a SpineClassifier: class-weighted loss, augmentation, the best epoch on a validation split."""

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader

from stylegan2ada.devices import resolve_precision
from stylegan2ada.errors import NonFiniteError, UserError
from stylegan2ada.images import to_model_range
from stylegan2ada.optimizer_state import optimizer_state, restore_optimizer

from .classifier import Provenance, SpineClassifier, classification_loss, input_size_for
from .classifier_augment import random_views
from .decoded_images import DecodedImages
from .evaluation import area_under_roc, predict_decoded
from .labelled_images import LabelledImages, names_of_classes
from .validation_split import split
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


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Of one training. precision: "bf16" computes the convolutions in bfloat16, "fp32" all in float32.

    Raises `UserError` for numbers that cannot be trained with.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    precision: str = "fp32"

    def __post_init__(self) -> None:
        problems = []
        if self.epochs < 1:
            problems.append(f"epochs is {self.epochs}, give 1 or more")
        if self.batch_size < 2:
            problems.append(f"the batch size is {self.batch_size}, batch norm needs 2 or more")
        if not 0 < self.learning_rate < 1:
            problems.append(f"the learning rate is {self.learning_rate}, give a number between 0 and 1")
        if self.precision not in ("bf16", "fp32"):
            problems.append(f"the precision is {self.precision}, give bf16 or fp32")
        if problems:
            raise UserError("the classifier cannot be trained: " + "; ".join(problems))


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
    validation_fraction: of each class, at least one image, see `validation_split`; kept out of training, and the
        epoch with the best AUC on it is returned. 0 trains on everything and returns the last epoch.
    precision: "bf16" computes the convolutions of training and validation in bfloat16; anything else is float32.
    weights: see `weights.load_starting_weights`; `notify` gets its remarks.

    Raises `UserError` for unusable settings or data and `NonFiniteError` when the loss becomes NaN or Inf.
    """
    used = "bf16" if precision == "bf16" else "fp32"
    settings = TrainingSettings(epochs, batch_size, learning_rate, seed, used)
    check_validation_fraction(validation_fraction)
    fitted, held_out = split(train, validation_fraction, seed)
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        classifier, origin = new_classifier(train, weights, device, notify)
        training = Training(classifier, fitted, held_out, settings, progress)
        while not training.finished:
            training.run_epoch()
        training.take_best()
    classifier.provenance = Provenance(
        weights_origin=origin,
        training={
            "images": len(train),
            **dataclasses.asdict(settings),
            "validation_fraction": validation_fraction,
            "precision": precision,
            "best_epoch": training.best_epoch.epoch,
            "validation_auc": training.best_epoch.validation_auc,
        },
    )
    return classifier.eval(), training.history


def new_classifier(
    images: LabelledImages, weights: str, device: torch.device, notify: Callable[[str], None]
) -> tuple[SpineClassifier, str]:
    """A classifier of the classes and size of `images` with starting weights, and their origin."""
    classifier = SpineClassifier(names_of_classes(images), input_size_for(images.resolution))
    origin = load_starting_weights(classifier.backbone, weights, notify)
    return classifier.to(device), origin


def classifier_precision(name: str, device: torch.device) -> str:
    """"bf16" or "fp32": `auto` is bf16 where the device computes fast in it."""
    return "bf16" if resolve_precision(name, device) == "bf16" else "fp32"


class Training:
    """One training of a classifier, epoch by epoch, and the best state so far.

    A dropout layer draws from the global random state, everything else from `generator`.
    """

    def __init__(
        self,
        classifier: SpineClassifier,
        fitted: LabelledImages,
        held_out: LabelledImages | None,
        settings: TrainingSettings,
        progress: Progress,
    ) -> None:
        self.classifier = classifier
        self.settings = settings
        self.progress = progress
        self.fitted = DecodedImages(fitted, classifier.device)
        self.held_out = None if held_out is None else DecodedImages(held_out, classifier.device)
        self.class_weights = balanced_class_weights(fitted.labels).to(classifier.device)
        self.optimizer = torch.optim.Adam(classifier.parameters(), lr=settings.learning_rate, fused=True)
        self.generator = torch.Generator().manual_seed(settings.seed)
        # Whole batches only, where there is one: a last batch of one image has no variance for batch norm.
        self.batch_size = min(settings.batch_size, len(fitted))
        self.order = DataLoader(
            range(len(fitted)), self.batch_size, shuffle=True, generator=self.generator, drop_last=True
        )
        self.steps = settings.epochs * len(self.order)
        self.history: list[Epoch] = []
        self.best_epoch: Epoch | None = None
        self.best_state: dict[str, torch.Tensor] = {}

    @property
    def finished(self) -> bool:
        return len(self.history) == self.settings.epochs

    def run_epoch(self) -> Epoch:
        """One pass over the training images and one over the held-out ones."""
        started, number = time.monotonic(), len(self.history) + 1
        losses = []
        self.classifier.train()
        for step, indices in enumerate(self.order, start=1):
            done = (number - 1) * len(self.order) + step
            self._set_rate((done - 1) / self.steps)
            losses.append(self.step(*self.fitted.batch(indices), f"epoch {number}, step {step}"))
            self.progress(done * self.batch_size, self.steps * self.batch_size, self._note(number, losses))
        loss, auc = (None, None) if self.held_out is None else self.validate()
        result = Epoch(number, float(np.mean(losses)), loss, auc, time.monotonic() - started)
        self.history.append(result)
        if self.best_epoch is None or _quality(result) >= _quality(self.best_epoch):
            self.best_epoch = result
            self.best_state = {name: tensor.clone() for name, tensor in self.classifier.state_dict().items()}
        return result

    def step(self, pixels: torch.Tensor, labels: torch.Tensor, place: str) -> float:
        """One optimiser step on uint8 (N,C,H,W) pixels and (N,K) labels; returns the loss."""
        images = random_views(to_model_range(pixels), self.generator)
        logits = self.classifier.logits_in(self.settings.precision, images)
        loss = (classification_loss(logits, labels) * (labels @ self.class_weights)).mean()
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteError(f"the classifier's loss became {value} in {place}: lower the learning rate")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return value

    def validate(self) -> tuple[float, float]:
        """Class-weighted loss and AUC on the held-out images."""
        probabilities, labels = predict_decoded(self.classifier, self.held_out, self.settings.precision)
        likelihood = (probabilities * labels).sum(axis=1).clip(1e-12)
        weights = labels @ self.class_weights.cpu().numpy()
        return float((-np.log(likelihood) * weights).mean()), area_under_roc(labels, probabilities)

    def take_best(self) -> None:
        """Gives the classifier the weights of its best epoch."""
        self.classifier.load_state_dict(self.best_state)

    def state(self) -> dict:
        """Everything between two epochs, the global random state included, as plain values and tensors."""
        return {
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch.epoch,
            "best": self.best_state,
            "weights": self.classifier.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "generator": self.generator.get_state(),
            "random": global_random_state(self.classifier.device),
        }

    def restore(self, state: dict) -> None:
        """Goes on from what `state` gave."""
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best_epoch = self.history[state["best_epoch"] - 1]
        self.best_state = state["best"]
        self.classifier.load_state_dict(state["weights"])
        restore_optimizer(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])
        set_global_random_state(state["random"], self.classifier.device)

    def _set_rate(self, progress: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * one_cycle(progress)

    def _note(self, number: int, losses: list[float]) -> str:
        best = self.best_epoch
        auc = "" if best is None or best.validation_auc is None else f", best validation AUC {best.validation_auc:.3f}"
        return f"epoch {number}/{self.settings.epochs}, loss {sum(losses) / len(losses):.3f}{auc}"


def global_random_state(device: torch.device) -> list[torch.Tensor]:
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_device]


def set_global_random_state(states: list[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def one_cycle(progress: float) -> float:
    """The share of the highest learning rate at `progress` 0..1 of the training: up from a tenth, down to nothing.

    Smith and Topin 2018. With a constant rate, random weights and 1,500 images, the AUC jumps from epoch to epoch.
    """
    if progress < WARM_UP:
        return 0.1 + 0.9 * progress / WARM_UP
    return (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def balanced_class_weights(labels: np.ndarray) -> torch.Tensor:
    """(K,) weights N / (K N_k) of the classes of one-hot (N,K) labels: every class weighs the same in sum."""
    return torch.tensor(len(labels) / (labels.shape[1] * labels.sum(axis=0)), dtype=torch.float32)


def check_validation_fraction(fraction: float) -> None:
    if not 0 <= fraction <= 0.5:
        raise UserError(f"the classifier cannot be trained: the validation fraction is {fraction}, give 0..0.5")


def _quality(epoch: Epoch) -> tuple[float, float]:
    """Larger is better: AUC, then loss. All are equal without validation, so that the last one stays."""
    if epoch.validation_auc is None:
        return (0.0, 0.0)
    return (epoch.validation_auc, -epoch.validation_loss)

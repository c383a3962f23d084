"""Training: it learns, the same seed gives the same classifier, the held-out part stays out, NaN stops it."""

import numpy as np
import pytest
import sklearn.utils.class_weight
import torch

from spine_ext import classifier_training
from spine_ext.classifier_training import balanced_class_weights, one_cycle, train_classifier
from spine_ext.evaluation import auc_on
from spine_ext.labelled_images import LabelledImages
from spine_ext.validation_split import split
from stylegan2ada.errors import NonFiniteError, UserError
from tests.toy_images import ToyImages


def pixels_of(dataset: LabelledImages) -> set[bytes]:
    return {dataset[index][0].tobytes() for index in range(len(dataset))}


class TestTrain:
    def test_it_learns_two_classes(self) -> None:
        calls, lines = [], []
        classifier, history = train_classifier(
            ToyImages([0, 1] * 12),
            epochs=4,
            batch_size=8,
            weights="random",
            notify=lines.append,
            progress=lambda *call: calls.append(call),
        )
        assert auc_on(classifier, ToyImages([0, 1] * 10, seed=9)) == 1.0
        assert history[-1].training_loss < 0.3 < history[0].training_loss
        assert not classifier.training
        assert [epoch.epoch for epoch in history] == [1, 2, 3, 4]
        assert all(0 <= epoch.validation_auc <= 1 for epoch in history)
        assert [call[0] for call in calls] == list(range(8, 8 * len(calls) + 1, 8))
        assert calls[-1][0] == calls[-1][1]
        assert "epoch 4/4" in calls[-1][2]
        settings = classifier.provenance.training
        assert (settings["images"], settings["epochs"], settings["batch_size"]) == (24, 4, 8)
        assert settings["validation_auc"] == max(epoch.validation_auc for epoch in history)
        assert classifier.provenance.weights_origin == "random"
        assert not classifier.provenance.phantom

    def test_it_learns_in_bfloat16(self) -> None:
        seen = []
        classifier, history = train_classifier(
            ToyImages([0, 1] * 12), epochs=4, batch_size=8, weights="random", precision="bf16", notify=seen.append
        )
        assert auc_on(classifier, ToyImages([0, 1] * 10, seed=9)) == 1.0
        assert history[-1].training_loss < 0.3 < history[0].training_loss
        assert {parameter.dtype for parameter in classifier.parameters()} == {torch.float32}
        single, _ = train_classifier(ToyImages([0, 1] * 12), epochs=4, batch_size=8, weights="random")
        assert not torch.equal(single.linear.weight, classifier.linear.weight)  # it did compute in another type

    def test_it_learns_many_classes(self) -> None:
        names = ("none", "spur", "slip")
        classifier, _ = train_classifier(
            ToyImages([0, 1, 2] * 8, names), epochs=14, batch_size=8, weights="random", validation_fraction=0
        )
        assert classifier.class_names == names
        assert auc_on(classifier, ToyImages([0, 1, 2] * 6, names, seed=9)) > 0.95

    def test_the_seed_decides_and_the_global_random_state_is_left_alone(self) -> None:
        def trained(seed: int) -> torch.Tensor:
            dataset = ToyImages([0, 1] * 4, num_channels=3)
            classifier, _ = train_classifier(dataset, epochs=1, batch_size=4, seed=seed, weights="random")
            return torch.cat([parameter.detach().flatten() for parameter in classifier.parameters()])

        state = torch.get_rng_state()
        first = trained(3)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(99)
        assert torch.equal(first, trained(3))
        assert not torch.equal(first, trained(4))

    def test_the_best_epoch_is_returned_not_the_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        figures = iter([(0.5, 0.7), (0.4, 0.8), (0.3, 0.8), (0.9, 0.6)])
        states = []

        def validate(run: classifier_training.Training) -> tuple[float, float]:
            states.append(run.classifier.linear.weight.detach().clone())
            return next(figures)

        monkeypatch.setattr(classifier_training.Training, "validate", validate)
        classifier, _ = train_classifier(ToyImages([0, 1] * 4), epochs=4, batch_size=4, weights="random")
        assert classifier.provenance.training["best_epoch"] == 3
        assert torch.equal(classifier.linear.weight, states[2])

    def test_nan_stops_it_and_names_the_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, calls = classifier_training.classification_loss, []

        def poisoned(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return real(logits, labels) * (float("nan") if len(calls) == 2 else 1)

        monkeypatch.setattr(classifier_training, "classification_loss", poisoned)
        with pytest.raises(NonFiniteError, match="nan in epoch 1, step 2: lower the learning rate"):
            train_classifier(ToyImages([0, 1] * 8), epochs=1, batch_size=4, weights="random")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"epochs": 0}, "epochs is 0"),
            ({"batch_size": 1}, "batch size is 1"),
            ({"learning_rate": -1.0}, "learning rate is -1"),
            ({"learning_rate": float("nan")}, "learning rate is nan"),
            ({"validation_fraction": 0.9}, "validation fraction is 0.9"),
            ({"epochs": 0, "batch_size": 0}, "epochs is 0.*; the batch size is 0"),
        ],
    )
    def test_unusable_settings_raise(self, settings: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            train_classifier(ToyImages([0, 1] * 4), **settings)

    def test_too_small_images_raise(self) -> None:
        with pytest.raises(UserError, match="16 px are too small"):
            train_classifier(ToyImages([0, 1] * 4, resolution=16), epochs=1)


class TestOneCycle:
    def test_rises_from_a_tenth_and_falls_to_nothing(self) -> None:
        rates = [one_cycle(progress / 100) for progress in range(101)]
        assert rates[0] == pytest.approx(0.1)
        assert rates[20] == max(rates) == 1
        assert rates[60] == pytest.approx(0.5)
        assert rates[100] == pytest.approx(0)
        assert rates[:21] == sorted(rates[:21])
        assert rates[20:] == sorted(rates[20:], reverse=True)

    def test_each_step_takes_the_rate_of_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rates = []
        real = torch.optim.Adam.step

        def recorded(optimizer: torch.optim.Adam, *args: object) -> object:
            rates.append(optimizer.param_groups[0]["lr"])
            return real(optimizer, *args)

        monkeypatch.setattr(torch.optim.Adam, "step", recorded)
        train_classifier(ToyImages([0, 1] * 3), epochs=3, batch_size=2, learning_rate=0.01, weights="random")
        assert rates == pytest.approx([0.01 * one_cycle(step / 6) for step in range(6)])


class TestHeldOut:
    def test_the_training_never_sees_the_held_out_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dataset, seen = ToyImages([0, 1] * 8), set()
        real = classifier_training.Training.step

        def recorded(run, pixels: torch.Tensor, labels: torch.Tensor, place: str) -> float:
            seen.update(image.numpy().tobytes() for image in pixels)
            return real(run, pixels, labels, place)

        monkeypatch.setattr(classifier_training.Training, "step", recorded)
        train_classifier(dataset, epochs=2, batch_size=4, weights="random", validation_fraction=0.25, seed=5)
        training, held_out = split(dataset, 0.25, seed=5)
        assert seen
        assert seen <= pixels_of(training)
        assert not seen & pixels_of(held_out)


class TestWeights:
    @pytest.mark.parametrize("classes", [[0, 1], [0, 0, 0, 1], [0, 0, 1, 2, 2, 2, 2]])
    def test_equal_balanced_weights_of_scikit_learn(self, classes: list[int]) -> None:
        expected = sklearn.utils.class_weight.compute_class_weight("balanced", classes=np.unique(classes), y=classes)
        labels = np.eye(max(classes) + 1, dtype=np.float32)[classes]
        np.testing.assert_allclose(balanced_class_weights(labels).numpy(), expected, rtol=1e-6)

    def test_the_loss_of_a_step_is_weighted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With every image's loss 1, a step's loss is the mean of the weights of its classes."""
        monkeypatch.setattr(
            classifier_training, "classification_loss", lambda logits, labels: 1 + 0 * logits.sum(dim=1)
        )
        dataset = ToyImages([0, 0, 0, 1])
        _, (epoch,) = train_classifier(dataset, epochs=1, batch_size=4, weights="random", validation_fraction=0)
        assert epoch.training_loss == pytest.approx((3 * 4 / 6 + 4 / 2) / 4)

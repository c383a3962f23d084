"""Probabilities and AUC of a classifier on datasets."""

import itertools

import numpy as np
import pytest
import torch

from spine_ext.classifier import SpineClassifier
from spine_ext.evaluation import area_under_roc, predict
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_model_range
from tests.toy_images import ToyImages


@pytest.fixture(scope="module")
def classifier() -> SpineClassifier:
    torch.manual_seed(0)
    return SpineClassifier(("normal", "abnormal"), 32)


class TestPredict:
    def test_is_the_probability_of_every_image_whatever_the_batch(self, classifier: SpineClassifier) -> None:
        dataset = ToyImages([0, 1, 1, 0, 1])
        classifier.train()
        before = classifier.backbone.norm0.running_mean.clone()
        found = predict(classifier, dataset, batch_size=2)
        assert classifier.training
        assert torch.equal(classifier.backbone.norm0.running_mean, before)
        classifier.eval()
        images = torch.stack([torch.tensor(dataset[index][0]) for index in range(5)])
        with torch.no_grad():
            expected = classifier.probabilities(to_model_range(images))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)

    def test_other_classes_raise(self, classifier: SpineClassifier) -> None:
        with pytest.raises(UserError, match="toy has 2 classes"):
            predict(classifier, ToyImages([0, 1], ("a", "b")))


class TestAreaUnderRoc:
    def test_is_the_share_of_pairs_in_the_right_order(self) -> None:
        generator = np.random.default_rng(0)
        classes, scores = generator.integers(0, 2, 40), generator.random(40).round(1)  # rounded: with ties
        pairs = itertools.product(scores[classes == 1], scores[classes == 0])
        expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
        found = area_under_roc(np.eye(2)[classes], np.stack([1 - scores, scores], axis=1))
        assert found == pytest.approx(expected)

    def test_of_many_classes_is_the_mean_of_one_against_the_rest(self) -> None:
        generator = np.random.default_rng(1)
        labels, scores = np.eye(3)[generator.integers(0, 3, 50)], generator.random((50, 3))
        each = [
            area_under_roc(np.stack([1 - labels[:, k], labels[:, k]], 1), np.stack([-scores[:, k], scores[:, k]], 1))
            for k in range(3)
        ]
        assert area_under_roc(labels, scores) == pytest.approx(np.mean(each))

    def test_a_class_without_images_raises(self) -> None:
        with pytest.raises(UserError, match=r"\[3, 0\]: an AUC needs images of every class"):
            area_under_roc(np.eye(2)[[0, 0, 0]], np.full((3, 2), 0.5))

"""Judging a classifier: its probabilities on a dataset, and their AUC."""

import numpy as np
import sklearn.metrics
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.images import to_model_range

from .classifier import SpineClassifier
from .decoded_images import DecodedImages
from .labelled_images import LabelledImages, classes_of, names_of_classes


def predict(classifier: SpineClassifier, dataset: LabelledImages, batch_size: int = 64) -> np.ndarray:
    """The probability of each class for each image, float64 (N,K), with the classifier in eval mode.

    Raises `UserError` where the dataset has other classes than the classifier.
    """
    classifier.check_classes(names_of_classes(dataset), dataset.name)
    return predict_decoded(classifier, DecodedImages(dataset, classifier.device), "fp32", batch_size)[0]


def predict_decoded(
    classifier: SpineClassifier, images: DecodedImages, precision: str, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities as `predict` gives them, and the labels (N,K); convolutions in bfloat16 for "bf16"."""
    was_training = classifier.training
    classifier.eval()
    probabilities, labels = [], []
    with torch.inference_mode():
        for indices in torch.arange(len(images)).split(batch_size):
            pixels, of_batch = images.batch(indices)
            found = classifier.probabilities_in(precision, to_model_range(pixels))
            probabilities.append(found.double().cpu().numpy())
            labels.append(of_batch.cpu().numpy())
    classifier.train(was_training)
    return np.concatenate(probabilities), np.concatenate(labels)


def area_under_roc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """AUC of probabilities (N,K) for one-hot labels (N,K): of class 1 for two classes, for more the mean of each
    class against the rest. Raises `UserError` where a class has no image or all images, since no AUC exists then."""
    counts = labels.sum(axis=0)
    if not ((counts > 0) & (counts < len(labels))).all():
        raise UserError(f"the images per class are {counts.astype(int).tolist()}: an AUC needs images of every class")
    if labels.shape[1] == 2:
        return float(sklearn.metrics.roc_auc_score(labels[:, 1], probabilities[:, 1]))
    return float(sklearn.metrics.roc_auc_score(labels, probabilities, average="macro"))


def auc_on(classifier: SpineClassifier, dataset: LabelledImages) -> float:
    """AUC of the classifier on a labelled dataset."""
    classes_of(dataset)
    return area_under_roc(dataset.labels, predict(classifier, dataset))

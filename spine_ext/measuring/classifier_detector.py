"""The SpineClassifier as a detector of metrics: needs no download, and knows what matters in a radiograph."""

import copy
import hashlib

import torch

from stylegan2ada.images import to_model_range

from ..classifier import SpineClassifier
from ..classifier_features import perceptual_features


class ClassifierDetector:
    """uint8 (N,3,H,W) or (N,1,H,W) pixels to float32 (N,1024): what the classifier's last layer sees.

    Always float32 and in eval mode, on the classifier's device: numbers of two machines should be those of one. Works
    on a copy. Distances in these features compare with each other for one `sha256` only, and a classifier that was
    trained on few images gives features that say less than an ImageNet network's.
    """

    name = "spine-classifier"

    def __init__(self, classifier: SpineClassifier) -> None:
        self._classifier = copy.deepcopy(classifier).float().eval().requires_grad_(False)
        self._perceptual = perceptual_features(self._classifier)
        self.sha256 = hash_of_tensors(self._classifier.state_dict())
        self.class_names = classifier.class_names

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._classifier.features(self._images(pixels)).float()

    @torch.no_grad()
    def probabilities(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same pixels to the probability of each class, float32 (N,K)."""
        return self._classifier.probabilities(self._images(pixels)).float()

    @torch.no_grad()
    def perceptual(self, images: torch.Tensor) -> torch.Tensor:
        """float (N,3,H,W) images in about 0..255 to (N,D), whose squared differences say how different they look."""
        return self._perceptual(to_model_range(images.to(self._classifier.device)))

    def _images(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise ValueError(f"pixels must be uint8 (N,C,H,W), not {pixels.dtype} {tuple(pixels.shape)}")
        return to_model_range(pixels.to(self._classifier.device))


def hash_of_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of names, shapes, types and values: the same wherever the tensors lie, and in whatever file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

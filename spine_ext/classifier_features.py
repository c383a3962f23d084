"""What a SpineClassifier sees in an image, at several depths: features for comparing two images."""

import torch
from torch.nn import functional

from stylegan2ada.perceptual import Features, normalised_maps

from .classifier import SpineClassifier

# Of DenseNet121: after the first convolution, after each dense block but the last, and the end.
_DEPTHS = ("relu0", "denseblock1", "denseblock2", "denseblock3", "norm5")


def perceptual_features(classifier: SpineClassifier) -> Features:
    """float (N,C,H,W) in [-1, 1] to (N,D), differentiable; what LPIPS takes from VGG16, from the classifier."""

    def features(images: torch.Tensor) -> torch.Tensor:
        x, maps = classifier.preprocess(images), []
        for name, layer in classifier.backbone.named_children():
            x = layer(x)
            if name in _DEPTHS:
                maps.append(functional.relu(x))
        return normalised_maps(maps)

    classifier.eval().requires_grad_(False)
    return features

"""What a SpineClassifier sees in an image, at several depths: features for comparing two images of one size."""

import torch
from torch.nn import functional

from stylegan2ada.perceptual import Features, normalised_maps, pixel_pyramid

from .classifier import SpineClassifier

# Of DenseNet121: after the first convolution, after each dense block but the last, and the end.
_DEPTHS = ("relu0", "denseblock1", "denseblock2", "denseblock3", "norm5")

# The features hardly know how bright an image is. With this share of pixels, of 0, 1, 4 and 16 tried on a phantom
# network, searches came nearest to a radiograph that the network had not made, by features and by pixels.
_PIXEL_WEIGHT = 16.0


def perceptual_features(classifier: SpineClassifier) -> Features:
    """float (N,C,H,W) in [-1, 1] to (N,D), differentiable: the maps, as LPIPS takes them of VGG16, and pixels."""

    def features(images: torch.Tensor) -> torch.Tensor:
        x, maps = classifier.preprocess(images), []
        for name, layer in classifier.backbone.named_children():
            x = layer(x)
            if name in _DEPTHS:
                maps.append(functional.relu(x))
        return torch.cat([normalised_maps(maps), _PIXEL_WEIGHT**0.5 * pixel_pyramid(images)], dim=1)

    classifier.eval().requires_grad_(False)
    return features

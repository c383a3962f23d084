"""The classifier's features tell how alike images are, at every depth, and let gradients through."""

import pytest
import torch

from spine_ext.classifier import SpineClassifier
from spine_ext.classifier_features import perceptual_features
from stylegan2ada.perceptual import distance, pixel_pyramid


@pytest.fixture(scope="module")
def features():
    torch.manual_seed(0)
    return perceptual_features(SpineClassifier(["normal", "abnormal"], 32))


def test_distance_grows_with_the_difference(features):
    image, other = torch.rand(1, 1, 32, 32) * 2 - 1, torch.rand(1, 1, 32, 32) * 2 - 1
    steps = torch.cat([image.lerp(other, share) for share in (0.0, 0.1, 0.3, 1.0)])
    distances = distance(features(steps), features(image))
    assert distances[0] < 1e-9 and (distances.diff() > 0).all()


def test_every_depth_counts(features):
    """Five depths of unit vectors; of random images each differs. Behind them the pixels."""
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    sizes = (64 * 16 * 16, 256 * 8 * 8, 512 * 4 * 4, 1024 * 2 * 2, 1024)
    *depths, pixels = features(images).split((*sizes, 32 * 32 + 16 * 16 + 8 * 8), dim=1)
    for part in depths:
        assert part.square().sum(dim=1).tolist() == pytest.approx([1, 1], abs=0.02)
        assert distance(part[:1], part[1:]) > 1e-3
    torch.testing.assert_close(pixels, 16**0.5 * pixel_pyramid(images))


def test_brightness_counts(features):
    """It hardly does in the maps, whose channels are normalised."""
    image = torch.rand(1, 1, 32, 32) - 0.5
    assert distance(features(image + 0.5), features(image)) > 16 * 0.5**2 * 0.99


def test_gradients_reach_the_image_and_no_weight(features):
    images = torch.zeros(1, 3, 48, 48, requires_grad=True)  # another size, in color
    distance(features(images), features(torch.rand(1, 3, 48, 48))).sum().backward()
    assert images.grad.isfinite().all() and images.grad.abs().max() > 0


def test_classifier_is_frozen():
    classifier = SpineClassifier(["a", "b"], 32).train()
    perceptual_features(classifier)
    assert not classifier.training and not any(weight.requires_grad for weight in classifier.parameters())

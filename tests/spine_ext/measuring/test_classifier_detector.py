"""The classifier as a detector: its features, whatever batch, and a hash of what it is."""

import pytest
import torch

from spine_ext.classifier import NUM_FEATURES, SpineClassifier, load_classifier, save_classifier
from spine_ext.classifier_features import perceptual_features
from spine_ext.measuring.classifier_detector import ClassifierDetector, hash_of_tensors
from stylegan2ada.images import to_model_range


@pytest.fixture(scope="module")
def classifier() -> SpineClassifier:
    torch.manual_seed(0)
    return SpineClassifier(["normal", "abnormal", "implant"], 32).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (5, 1, 32, 32), dtype=torch.uint8).expand(-1, 3, -1, -1)


def test_features_and_probabilities_are_the_classifiers(classifier, pixels):
    detector = ClassifierDetector(classifier)
    with torch.no_grad():
        expected = classifier.features(to_model_range(pixels))
    assert detector(pixels).shape == (5, NUM_FEATURES)
    torch.testing.assert_close(detector(pixels), expected)
    torch.testing.assert_close(detector(pixels[:, :1]), expected, msg="grey and RGB are the same to it")
    torch.testing.assert_close(detector.probabilities(pixels), classifier.probabilities_from(expected))
    torch.testing.assert_close(torch.cat([detector(part) for part in pixels.split(2)]), expected)


def test_perceptual_features_are_of_float_images_in_the_range_of_bytes(classifier, pixels):
    detector = ClassifierDetector(classifier)
    found = detector.perceptual(pixels.float())
    torch.testing.assert_close(found, perceptual_features(classifier)(to_model_range(pixels)))
    near = detector.perceptual(pixels.float() + 0.01)
    assert 0 < (near - found).square().sum(dim=1).max() < (found - found.flip(0)).square().sum(dim=1)[0] / 100


def test_is_float32_in_eval_mode_and_apart_from_the_classifier(classifier, pixels):
    before = ClassifierDetector(classifier)(pixels)
    ours = SpineClassifier(classifier.class_names, 32)
    ours.load_state_dict(classifier.state_dict())
    detector = ClassifierDetector(ours.train())
    ours.linear.weight.data.zero_()
    ours.bfloat16()
    assert detector(pixels).dtype == torch.float32
    torch.testing.assert_close(detector(pixels), before)
    assert ours.training


def test_the_hash_is_of_the_tensors(classifier, tmp_path):
    """Not of the file: the header tells where a classifier came from, which does not change what it sees."""
    save_classifier(classifier, tmp_path / "classifier.safetensors")
    again = load_classifier(tmp_path / "classifier.safetensors")
    expected = ClassifierDetector(classifier).sha256
    assert ClassifierDetector(again).sha256 == expected
    assert len(expected) == 64
    again.backbone.conv0.weight.data[0, 0, 0, 0] += 1
    assert ClassifierDetector(again).sha256 != expected


def test_hashes_of_names_shapes_and_types():
    tensors = {"a": torch.zeros(4), "b": torch.tensor(3)}
    others = [
        {"c": torch.zeros(4), "b": torch.tensor(3)},
        {"a": torch.zeros(2, 2), "b": torch.tensor(3)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.tensor(3)},
        {"a": torch.zeros(4), "b": torch.tensor(4)},
    ]
    hashes = {hash_of_tensors(other) for other in [tensors, *others]}
    assert len(hashes) == 5
    assert hash_of_tensors(dict(reversed(tensors.items()))) == hash_of_tensors(tensors)


@pytest.mark.parametrize("pixels", [torch.zeros(2, 3, 32, 32), torch.zeros(3, 32, 32, dtype=torch.uint8)])
def test_other_inputs_are_refused(classifier, pixels):
    with pytest.raises(ValueError, match="uint8"):
        ClassifierDetector(classifier)(pixels)

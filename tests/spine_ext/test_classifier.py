"""SpineClassifier: shapes, preprocessing against torchvision's, the loss against its formula, the file."""

import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors
import safetensors.torch
import torch

from spine_ext.classifier import (
    Provenance,
    SpineClassifier,
    classification_loss,
    input_size_for,
    load_classifier,
    save_classifier,
)
from spine_ext.torchvision_compat import import_torchvision
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_model_range

import_torchvision()
from torchvision.transforms.v2 import functional as reference  # noqa: E402

TWO = ("normal", "abnormal")
THREE = ("none", "spur", "slip")
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def binary() -> SpineClassifier:
    torch.manual_seed(1)
    return SpineClassifier(TWO, 32).eval()


@pytest.fixture(scope="module")
def lesions() -> SpineClassifier:
    torch.manual_seed(2)
    return SpineClassifier(THREE, 32).eval()


class TestForward:
    @torch.no_grad()
    def test_one_logit_for_two_classes(self, binary: SpineClassifier) -> None:
        images = torch.rand(3, 1, 32, 32) * 2 - 1
        logits = binary(images)
        assert logits.shape == (3, 1)
        expected = torch.cat([1 - logits.sigmoid(), logits.sigmoid()], dim=1)
        torch.testing.assert_close(binary.probabilities(images), expected)

    @torch.no_grad()
    def test_a_logit_per_class_for_more(self, lesions: SpineClassifier) -> None:
        images = torch.rand(2, 3, 32, 32) * 2 - 1
        assert lesions(images).shape == (2, 3)
        torch.testing.assert_close(lesions.probabilities(images), lesions(images).softmax(dim=1))

    @torch.no_grad()
    def test_the_features_are_densenet_s_and_feed_one_linear_layer(self, binary: SpineClassifier) -> None:
        network = import_torchvision().models.densenet121(weights=None).eval()
        network.features.load_state_dict(binary.backbone.state_dict())
        network.classifier = torch.nn.Identity()
        images = torch.rand(2, 1, 32, 32) * 2 - 1
        features = binary.features(images)
        assert features.shape == (2, 1024)
        torch.testing.assert_close(features, network(binary.preprocess(images)))
        torch.testing.assert_close(features @ binary.linear.weight.T + binary.linear.bias, binary(images))

    @torch.no_grad()
    def test_grey_equals_the_same_grey_in_three_channels(self, binary: SpineClassifier) -> None:
        grey = torch.rand(2, 1, 40, 40) * 2 - 1
        torch.testing.assert_close(binary(grey), binary(grey.repeat(1, 3, 1, 1)))

    @pytest.mark.parametrize("shape", [(1, 2, 32, 32), (1, 32, 32)])
    def test_other_shapes_raise(self, binary: SpineClassifier, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="must be float"):
            binary(torch.zeros(shape))

    def test_bytes_raise(self, binary: SpineClassifier) -> None:
        with pytest.raises(ValueError, match="uint8"):
            binary(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))


class TestPreprocess:
    @pytest.mark.parametrize("resolution", [32, 48, 64, 256, 24])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_equals_the_transforms_of_torchvision(
        self, binary: SpineClassifier, resolution: int, channels: int
    ) -> None:
        pixels = torch.randint(0, 256, (2, channels, resolution, resolution), dtype=torch.uint8)
        scaled = reference.to_dtype(pixels, torch.float32, scale=True).expand(-1, 3, -1, -1)
        expected = reference.normalize(reference.resize(scaled, [32, 32], antialias=True), MEAN, STD)
        torch.testing.assert_close(binary.preprocess(to_model_range(pixels)), expected, atol=2e-5, rtol=1e-5)

    def test_equals_pillow_to_its_8_bit_rounding(self, binary: SpineClassifier) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (70, 70), dtype=np.uint8)
        small = np.asarray(PIL.Image.fromarray(pixels).resize((32, 32), PIL.Image.Resampling.BILINEAR))
        ours = binary.preprocess(to_model_range(torch.tensor(pixels)[None, None]))
        back = ours[0] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        assert (back * 255 - torch.tensor(small)).abs().max() < 1.01

    def test_differentiates(self, binary: SpineClassifier) -> None:
        images = torch.rand(1, 1, 40, 40, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: binary.preprocess(x)[:, :, 5:8, 9:12], images)


class TestLoss:
    def test_two_classes_equals_the_formula(self) -> None:
        logits, labels = torch.tensor([[2.0], [-0.5], [0.3]]), torch.tensor([[1.0, 0], [0, 1], [0, 1]])
        sigmoid = [1 / (1 + math.exp(-x)) for x in (2.0, -0.5, 0.3)]
        expected = [-math.log(1 - sigmoid[0]), -math.log(sigmoid[1]), -math.log(sigmoid[2])]
        torch.testing.assert_close(classification_loss(logits, labels), torch.tensor(expected))

    def test_more_classes_equals_the_formula(self) -> None:
        logits, labels = torch.randn(4, 3), torch.eye(3)[[0, 2, 1, 1]]
        expected = [
            -math.log(math.exp(row[k]) / sum(map(math.exp, row)))
            for row, k in zip(logits.tolist(), [0, 2, 1, 1], strict=True)
        ]
        torch.testing.assert_close(classification_loss(logits, labels), torch.tensor(expected))

    def test_finite_where_the_sigmoid_is_0_or_1(self) -> None:
        loss = classification_loss(torch.tensor([[200.0], [-200.0]]), torch.tensor([[1.0, 0], [0, 1]]))
        torch.testing.assert_close(loss, torch.tensor([200.0, 200.0]))

    @pytest.mark.parametrize(("outputs", "classes"), [(1, 3), (3, 2), (3, 4), (1, 1)])
    def test_labels_of_another_number_of_classes_raise(self, outputs: int, classes: int) -> None:
        with pytest.raises(UserError, match=f"tells {max(2, outputs)} classes apart.*same classes"):
            classification_loss(torch.zeros(2, outputs), torch.zeros(2, classes))


class TestClasses:
    def test_the_same_names_or_plain_numbers_pass(self, lesions: SpineClassifier) -> None:
        lesions.check_classes(list(THREE), "data.zip")
        lesions.check_classes(["0", "1", "2"], "data.zip")

    @pytest.mark.parametrize("names", [TWO, ("none", "slip", "spur"), ("0", "1")])
    def test_other_names_raise_and_name_both(self, lesions: SpineClassifier, names: tuple[str, ...]) -> None:
        with pytest.raises(UserError, match=f"none, spur, slip.*data.zip has .*{', '.join(names)}"):
            lesions.check_classes(names, "data.zip")

    @pytest.mark.parametrize("names", [["one"], ["a", "a"], [], ["a", ""], "ab", [1, 2]])
    def test_unusable_names_raise(self, names: list) -> None:
        with pytest.raises(UserError, match="class"):
            SpineClassifier(names, 32)

    def test_input_size(self) -> None:
        assert [input_size_for(px) for px in (32, 64, 256, 1024)] == [32, 64, 224, 224]
        with pytest.raises(UserError, match="16 px are too small"):
            input_size_for(16)


def _tampered(path: Path, header: dict | str | None = None, **tensors: torch.Tensor) -> None:
    """Rewrites a classifier file with other header fields (a text: instead of the header) or tensors."""
    with safetensors.safe_open(path, "pt") as file:
        old, state = json.loads(file.metadata()["spine_classifier"]), {k: file.get_tensor(k) for k in file.keys()}
    text = header if isinstance(header, str) else json.dumps({**old, **(header or {})})
    state.update({name.replace("__", "."): tensor for name, tensor in tensors.items()})
    safetensors.torch.save_file(state, path, {"spine_classifier": text})


class TestFile:
    @torch.no_grad()
    def test_round_trip(self, lesions: SpineClassifier, tmp_path: Path) -> None:
        lesions.provenance = Provenance("imagenet", {"epochs": 3}, 0.91, phantom=True)
        save_classifier(lesions, tmp_path / "c.safetensors")
        loaded = load_classifier(tmp_path / "c.safetensors")
        images = torch.rand(2, 1, 32, 32) * 2 - 1
        assert torch.equal(loaded(images), lesions(images))
        assert (loaded.class_names, loaded.input_size_px) == (THREE, 32)
        assert loaded.provenance == lesions.provenance
        assert not loaded.training
        assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]

    def test_a_failed_write_leaves_nothing(self, binary: SpineClassifier, tmp_path: Path, monkeypatch) -> None:
        def fail(*_: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(safetensors.torch, "save_file", fail)
        with pytest.raises(OSError, match="disk full"):
            save_classifier(binary, tmp_path / "c.safetensors")
        assert list(tmp_path.iterdir()) == []

    def test_what_is_no_file_of_tensors_raises(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("not tensors")
        for path in (tmp_path / "text", tmp_path / "missing", tmp_path):
            with pytest.raises(UserError, match=f"cannot read the classifier {path}"):
                load_classifier(path)

    def test_a_file_of_other_tensors_raises(self, tmp_path: Path) -> None:
        safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "other", {"format": "pt"})
        with pytest.raises(UserError, match=r"not a classifier of this program.*spine_classifier"):
            load_classifier(tmp_path / "other")

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("{", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("[]", "exactly"),
            ({"more": 1}, "exactly"),
            ({"format": 2}, "format is 2"),
            ({"class_names": ["a"]}, "two different classes"),
            ({"class_names": 7}, "list of texts"),
            ({"class_names": list("abcd")}, "'linear.bias'|'linear.weight'"),
            ({"input_size_px": "32"}, "input_size_px is '32'"),
            ({"input_size_px": 10**9}, "32..224"),
            ({"test_auc": 2}, "test_auc is 2"),
            ({"weights_origin": "moon"}, "weights_origin"),
            ({"phantom": "yes"}, "phantom"),
        ],
    )
    def test_a_wrong_header_raises(self, saved: Path, header: dict | str, message: str) -> None:
        _tampered(saved, header)
        with pytest.raises(UserError, match=message):
            load_classifier(saved)

    @pytest.mark.parametrize(
        ("tensor", "message"),
        [
            (torch.zeros(1, 7), r"'linear.weight' is \(1, 7\), not \(1, 1024\)"),
            (torch.zeros(1, 1024, dtype=torch.float64), "float64"),
            (torch.full((1, 1024), math.nan), "NaN"),
        ],
    )
    def test_wrong_tensors_raise(self, saved: Path, tensor: torch.Tensor, message: str) -> None:
        _tampered(saved, linear__weight=tensor)
        with pytest.raises(UserError, match=message):
            load_classifier(saved)

    def test_unknown_tensors_raise(self, saved: Path) -> None:
        _tampered(saved, novel=torch.zeros(1))
        with pytest.raises(UserError, match="missing or unknown, such as 'novel'"):
            load_classifier(saved)

    @pytest.fixture
    def saved(self, binary: SpineClassifier, tmp_path: Path) -> Path:
        save_classifier(binary, tmp_path / "c.safetensors")
        return tmp_path / "c.safetensors"

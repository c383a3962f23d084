"""The clinical term: its value by the formula, its gradient by finite differences, a classifier that stays frozen."""

import math

import pytest
import torch
from torch import nn

from spine_ext.classifier import SpineClassifier
from spine_ext.clinical import ClinicalTerm
from stylegan2ada.errors import UserError


@pytest.fixture(scope="module")
def binary() -> SpineClassifier:
    torch.manual_seed(1)
    return SpineClassifier(("normal", "abnormal"), 32)


@pytest.fixture(scope="module")
def lesions() -> SpineClassifier:
    torch.manual_seed(2)
    return SpineClassifier(("none", "spur", "slip"), 32)


def draw(count: int, channels: int = 1, px: int = 32) -> torch.Tensor:
    return torch.rand(count, channels, px, px) * 2 - 1


class TestValue:
    @torch.no_grad()
    def test_two_classes_equals_the_formula(self, binary: SpineClassifier) -> None:
        term, images, labels = ClinicalTerm(binary), draw(4), torch.eye(2)[[0, 1, 1, 0]]
        expected = []
        for image, label in zip(images, labels, strict=True):
            score = term.classifier(image[None]).sigmoid().item()
            expected.append(-(label[1] * math.log(score) + (1 - label[1]) * math.log(1 - score)).item())
        losses = term(images, labels)
        assert losses.shape == (4,)
        torch.testing.assert_close(losses, torch.tensor(expected), atol=1e-4, rtol=1e-4)

    @torch.no_grad()
    def test_many_classes_is_cross_entropy(self, lesions: SpineClassifier) -> None:
        term, images = ClinicalTerm(lesions), draw(3)
        expected = -term.classifier(images).softmax(dim=1).log()[range(3), [2, 0, 1]]
        torch.testing.assert_close(term(images, torch.eye(3)[[2, 0, 1]]), expected)

    @torch.no_grad()
    def test_sum_is_the_batch_size_times_mean(self, binary: SpineClassifier) -> None:
        images, labels = draw(2), torch.eye(2)
        torch.testing.assert_close(
            ClinicalTerm(binary, "sum", batch_size=48)(images, labels), 48 * ClinicalTerm(binary)(images, labels)
        )

    @torch.no_grad()
    @pytest.mark.parametrize(("channels", "px"), [(3, 32), (1, 64), (3, 40)])
    def test_any_channels_and_resolution(self, binary: SpineClassifier, channels: int, px: int) -> None:
        assert ClinicalTerm(binary)(draw(2, channels, px), torch.eye(2)).isfinite().all()

    @torch.no_grad()
    def test_half_precision_images(self, binary: SpineClassifier) -> None:
        term, images = ClinicalTerm(binary), draw(2).half()
        assert torch.equal(term(images, torch.eye(2)), term(images.float(), torch.eye(2)))


class TestGradient:
    @pytest.mark.parametrize("px", [32, 48])
    def test_reaches_the_images_and_equals_finite_differences(self, binary: SpineClassifier, px: int) -> None:
        term = ClinicalTerm(binary).double()
        images = draw(2, px=px).double().requires_grad_(True)
        labels = torch.eye(2, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(term(images, labels).sum(), images)
        assert (gradient.flatten(1).norm(dim=1) > 0).all()
        step = 1e-6
        for direction in torch.randn(3, *images.shape, dtype=torch.float64):
            with torch.no_grad():
                ahead, behind = (term(images + sign * step * direction, labels).sum() for sign in (1, -1))
            expected = (gradient * direction).sum()
            torch.testing.assert_close((ahead - behind) / (2 * step), expected, rtol=1e-4, atol=1e-7)

    def test_following_it_makes_the_image_its_class(self, binary: SpineClassifier) -> None:
        term, images = ClinicalTerm(binary), draw(2).requires_grad_(True)
        labels, optimizer = torch.eye(2), torch.optim.Adam([images], lr=0.05)
        before = term(images, labels).detach()
        for _ in range(4):
            optimizer.zero_grad()
            term(images, labels).sum().backward()
            optimizer.step()
        assert (term(images, labels) < before).all()


class TestPrecision:
    def test_bfloat16_points_the_same_way(self, binary: SpineClassifier) -> None:
        labels, found = torch.eye(2)[[0, 1, 1, 0]], {}
        torch.manual_seed(0)
        pixels = draw(4, px=64)
        for precision in ("fp32", "bf16", "fp16"):
            images = pixels.clone().requires_grad_(True)
            losses = ClinicalTerm(binary, precision=precision)(images, labels)
            (gradient,) = torch.autograd.grad(losses.sum(), images)
            assert losses.dtype == gradient.dtype == torch.float32
            found[precision] = losses.detach(), gradient.flatten()
        torch.testing.assert_close(found["bf16"][0], found["fp32"][0], rtol=0.05, atol=0.05)
        assert torch.cosine_similarity(found["bf16"][1], found["fp32"][1], 0) > 0.9
        assert not torch.equal(found["bf16"][0], found["fp32"][0])
        assert torch.equal(found["fp16"][0], found["fp32"][0])  # too coarse for it: stays float32


class TestFrozen:
    def test_nothing_of_it_learns_or_changes(self, binary: SpineClassifier) -> None:
        term = ClinicalTerm(binary)
        before = {name: tensor.clone() for name, tensor in term.state_dict().items()}
        parent = nn.ModuleDict({"term": term, "other": nn.BatchNorm1d(2)}).train()
        assert parent["other"].training
        assert not any(module.training for module in term.modules())
        images = draw(2).requires_grad_(True)
        term(images, torch.eye(2)).sum().backward()
        assert images.grad is not None
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in term.parameters())
        assert all(torch.equal(tensor, before[name]) for name, tensor in term.state_dict().items())

    def test_one_image_s_loss_does_not_depend_on_the_others(self, binary: SpineClassifier) -> None:
        term, images, labels = ClinicalTerm(binary).train(), draw(3), torch.eye(2)[[0, 1, 1]]
        alone = torch.cat([term(images[i : i + 1], labels[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(term(images, labels), alone, atol=1e-5, rtol=1e-5)

    def test_the_caller_s_classifier_stays_as_it_was(self, binary: SpineClassifier) -> None:
        binary.train()
        ClinicalTerm(binary)
        assert binary.training
        assert all(parameter.requires_grad for parameter in binary.parameters())


class TestMistakes:
    def test_labels_of_other_classes_raise(self, binary: SpineClassifier) -> None:
        with pytest.raises(UserError, match=r"2 classes apart, but the labels are \(2, 8\)"):
            ClinicalTerm(binary)(draw(2), torch.eye(8)[:2])

    @pytest.mark.parametrize("batch_size", [None, 0, -4])
    def test_sum_without_a_batch_size_raises(self, binary: SpineClassifier, batch_size: int | None) -> None:
        with pytest.raises(UserError, match=f"needs the batch size.*not {batch_size}"):
            ClinicalTerm(binary, "sum", batch_size)

    def test_an_unknown_reduction_raises(self, binary: SpineClassifier) -> None:
        with pytest.raises(UserError, match="'max': give mean or sum"):
            ClinicalTerm(binary, "max")

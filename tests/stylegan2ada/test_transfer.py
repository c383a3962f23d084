"""Transfer: what fits is taken over, grey and RGB become each other exactly, and the report says what was done."""

import pytest
import torch
from torch import nn

from stylegan2ada.checkpoint import make_discriminator, make_generator
from stylegan2ada.config import DataConfig, NetworkConfig, TrainingConfig
from stylegan2ada.transfer import copy_matching

SMALL = {"channel_base": 128, "channel_max": 8, "z_dim": 6, "w_dim": 8, "mapping_layers": 2}


def config(resolution_px: int = 16, channels: int = 1, classes: int = 0, **network) -> TrainingConfig:
    return TrainingConfig(
        DataConfig("set.zip", resolution_px, channels, 100, classes), NetworkConfig(**SMALL | network)
    )


@torch.no_grad()
def generator(settings: TrainingConfig, seed: int) -> nn.Module:
    """In float64, with biases that matter."""
    torch.manual_seed(seed)
    network = make_generator(settings).double().requires_grad_(False)
    for name, tensor in network.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            tensor.add_(torch.randn_like(tensor))
    return network


@torch.no_grad()
def discriminator(settings: TrainingConfig, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = make_discriminator(settings).double().requires_grad_(False)
    for name, tensor in network.named_parameters():
        if name.endswith("bias"):
            tensor.add_(torch.randn_like(tensor))
    return network


def latents() -> torch.Tensor:
    return torch.randn(4, 6, dtype=torch.float64)


class TestGreyAndRgb:
    @pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
    def test_the_grey_image_is_the_mean_of_the_rgb_image(self, architecture):
        rgb = generator(config(channels=3, g_architecture=architecture), 1)
        grey = generator(config(channels=1, g_architecture=architecture), 2)
        report = copy_matching(grey, rgb.state_dict())
        z = latents()
        expected = rgb(z, None, noise_mode="const").mean(dim=1, keepdim=True)
        torch.testing.assert_close(grey(z, None, noise_mode="const"), expected, rtol=1e-12, atol=1e-12)
        assert not report.left
        assert {name.split(".")[-2] for name, _ in report.adapted} == {"torgb"}

    def test_the_rgb_image_is_the_grey_image_thrice(self):
        grey, rgb = generator(config(channels=1), 1), generator(config(channels=3), 2)
        copy_matching(rgb, grey.state_dict())
        z = latents()
        expected = grey(z, None, noise_mode="const").expand(-1, 3, -1, -1)
        torch.testing.assert_close(rgb(z, None, noise_mode="const"), expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
    def test_a_grey_discriminator_judges_as_the_rgb_one_judges_grey_images(self, architecture):
        rgb = discriminator(config(channels=3, d_architecture=architecture), 1)
        grey = discriminator(config(channels=1, d_architecture=architecture), 2)
        report = copy_matching(grey, rgb.state_dict())
        images = torch.randn(4, 1, 16, 16, dtype=torch.float64)
        torch.testing.assert_close(grey(images), rgb(images.expand(-1, 3, -1, -1)), rtol=1e-12, atol=1e-12)
        assert not report.left

    def test_an_rgb_discriminator_judges_as_the_grey_one_judges_the_mean(self):
        grey, rgb = discriminator(config(channels=1), 1), discriminator(config(channels=3), 2)
        copy_matching(rgb, grey.state_dict())
        images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
        torch.testing.assert_close(rgb(images), grey(images.mean(dim=1, keepdim=True)), rtol=1e-12, atol=1e-12)

    def test_layers_that_differ_in_more_than_channels_are_left(self):
        source, target = generator(config(channels=3), 1), generator(config(channels=1, channel_max=4), 2)
        report = copy_matching(target, source.state_dict())
        assert dict(report.left)["synthesis.b4.torgb.weight"] == "(3, 8, 1, 1) there, (1, 4, 1, 1) here"
        assert {name for name, _ in report.adapted} == {f"synthesis.b{r}.torgb.bias" for r in (4, 8, 16)}


def check(module: nn.Module, source: dict[str, torch.Tensor]):
    """The report of a copy, every entry of which was looked at in the networks."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    report = copy_matching(module, source)
    after = module.state_dict()
    told = [*report.taken, *(name for name, _ in (*report.adapted, *report.left))]
    assert sorted(told) == sorted(after)
    assert all(torch.equal(after[name], source[name]) for name in report.taken)
    assert all(torch.equal(after[name], before[name]) for name, _ in report.left)
    assert set(report.unused) == source.keys() - after.keys()
    return report


class TestOtherData:
    def test_a_higher_resolution_takes_the_lower_blocks(self):
        report = check(generator(config(32), 1), generator(config(16), 2).state_dict())
        assert {name.split(".")[1] for name, reason in report.left if reason == "not in the source"} == {"b32"}
        assert {name.split(".")[1] for name in report.taken} >= {"b4", "b8", "b16", "fc0"}

    def test_a_higher_resolution_needs_a_new_layer_next_to_the_image(self):
        report = check(discriminator(config(32), 1), discriminator(config(16), 2).state_dict())
        assert {name.split(".")[0] for name, _ in report.left} == {"b32"}
        assert set(report.unused) == {f"b16.fromrgb.{name}" for name in ("weight", "bias", "resample_filter")}

    def test_a_lower_resolution(self):
        report = check(discriminator(config(16), 1), discriminator(config(32), 2).state_dict())
        assert {name.rpartition(".")[0] for name, _ in report.left} == {"b16.fromrgb"}
        assert {name.split(".")[0] for name in report.unused} == {"b32"}

    @pytest.mark.parametrize(("there", "here"), [(3, 2), (0, 2), (2, 0)])
    def test_other_classes_leave_the_layers_of_the_label(self, there, here):
        report = check(generator(config(classes=here), 1), generator(config(classes=there), 2).state_dict())
        left = {name for name, _ in report.left}
        assert (
            left
            == {
                (3, 2): {"mapping.embed.weight"},
                (0, 2): {"mapping.embed.weight", "mapping.embed.bias", "mapping.fc0.weight"},
                (2, 0): {"mapping.fc0.weight"},
            }[there, here]
        )

    def test_the_report_is_short_whatever_happens(self):
        """FFHQ's network on grey images of two classes, of another size: some hundred tensors, a few lines."""
        source = generator(config(64, 3), 1).state_dict()
        lines = check(generator(config(16, 1, classes=2, channel_max=4), 2), source).summary().splitlines()
        assert len(lines) <= 5
        assert max(map(len, lines)) < 300


class TestSummary:
    def test_nothing_left(self):
        report = copy_matching(nn.Linear(2, 3), nn.Linear(2, 3).state_dict())
        assert report.summary() == "2 tensors taken over, 0 left at their initial values"

    def test_another_shape(self):
        report = copy_matching(nn.Linear(2, 3), {"weight": torch.zeros(3, 2), "bias": torch.zeros(9)})
        assert [line.strip() for line in report.summary().splitlines()] == [
            "1 tensors taken over, 1 left at their initial values",
            "left, of another shape: bias (1); such as bias, (9,) there, (3,) here",
        ]

    def test_every_reason_has_a_line(self):
        report = check(generator(config(16, 1, classes=2), 1), generator(config(32, 3, classes=3), 2).state_dict())
        lines = [line.strip() for line in report.summary().splitlines()]
        assert lines[0].endswith(f"{len(report.taken)} tensors taken over, 1 left at their initial values")
        assert lines[1] == ("adapted, grey is the mean of RGB: synthesis.b4 (2), synthesis.b8 (2), synthesis.b16 (2)")
        assert lines[2].startswith("left, of another shape: mapping.embed (1); such as mapping.embed.weight, (8, 3)")
        assert lines[3].startswith("in the source alone: synthesis.b32 (")
        assert len(lines) == 4

    def test_a_network_that_the_file_does_not_have(self):
        report = copy_matching(nn.Linear(2, 3), {})
        assert report.summary() == (
            "0 tensors taken over, 2 left at their initial values: the source does not have this network"
        )

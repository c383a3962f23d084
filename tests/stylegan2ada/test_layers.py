"""The layers of both networks: scale, noise, minibatch statistics, clamping."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.layers import (
    Conv2dLayer,
    FullyConnectedLayer,
    MinibatchStdLayer,
    SynthesisLayer,
    ToRGBLayer,
    normalize_second_moment,
)

pytestmark = pytest.mark.usefixtures("implementation")


class TestNormalizeSecondMoment:
    def test_each_row_gets_unit_mean_square(self):
        y = normalize_second_moment(torch.randn(5, 32) * torch.tensor([1e-2, 1, 3, 50, 1e4])[:, None])
        torch.testing.assert_close(y.square().mean(1), torch.ones(5), rtol=1e-3, atol=1e-3)

    def test_a_zero_row_stays_finite(self):
        assert normalize_second_moment(torch.zeros(1, 4)).tolist() == [[0, 0, 0, 0]]


class TestFullyConnectedLayer:
    def test_by_its_formula(self):
        layer = FullyConnectedLayer(3, 2, lr_multiplier=0.01, bias_init=0.5)
        x = torch.randn(4, 3)
        expected = x @ (layer.weight * 0.01 / math.sqrt(3)).t() + layer.bias * 0.01
        torch.testing.assert_close(layer(x), expected)

    @pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
    def test_unit_variance_in_unit_variance_out(self, lr_multiplier):
        """Equalised learning rate: the weight's scale is put in at run time, whatever the multiplier."""
        layer = FullyConnectedLayer(256, 256, lr_multiplier=lr_multiplier)
        assert layer.weight.std().item() == pytest.approx(1 / lr_multiplier, rel=0.02)
        assert layer(torch.randn(256, 256)).std().item() == pytest.approx(1, rel=0.05)


class TestConv2dLayer:
    def test_unit_variance_in_unit_variance_out(self):
        layer = Conv2dLayer(32, 32, 3)
        assert layer(torch.randn(4, 32, 32, 32)).std().item() == pytest.approx(1, rel=0.05)

    @pytest.mark.parametrize(("up", "down", "side"), [(1, 1, 8), (2, 1, 16), (1, 2, 4)])
    @pytest.mark.parametrize("kernel_size", [1, 3])
    def test_sizes(self, kernel_size, up, down, side):
        layer = Conv2dLayer(3, 5, kernel_size, up=up, down=down)
        assert layer(torch.randn(2, 3, 8, 8)).shape == (2, 5, side, side)

    def test_the_clamp_scales_with_the_gain(self):
        layer = Conv2dLayer(2, 2, 1, conv_clamp=0.1)
        x = torch.randn(1, 2, 8, 8) * 100
        assert layer(x).abs().max().item() == pytest.approx(0.1)
        assert layer(x, gain=3).abs().max().item() == pytest.approx(0.3)

    def test_a_frozen_layer_keeps_its_names_and_takes_no_gradient(self):
        frozen, free = Conv2dLayer(2, 2, 3, trainable=False), Conv2dLayer(2, 2, 3)
        assert list(frozen.state_dict()) == list(free.state_dict())
        assert not any(parameter.requires_grad for parameter in frozen.parameters())


class TestSynthesisLayer:
    @pytest.fixture
    def layer(self) -> SynthesisLayer:
        layer = SynthesisLayer(3, 4, w_dim=6, resolution=8, up=2)
        torch.nn.init.constant_(layer.noise_strength, 0.5)
        return layer

    @pytest.fixture
    def inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(2, 3, 4, 4), torch.randn(2, 6)

    def test_constant_noise_repeats_and_random_noise_does_not(self, layer, inputs):
        assert layer(*inputs).shape == (2, 4, 8, 8)
        assert torch.equal(layer(*inputs, noise_mode="const"), layer(*inputs, noise_mode="const"))
        assert not torch.equal(layer(*inputs), layer(*inputs))
        assert not torch.equal(layer(*inputs, noise_mode="none"), layer(*inputs, noise_mode="const"))

    def test_each_image_has_noise_of_its_own_the_same_in_all_channels(self, layer, inputs):
        noise = layer._noise(inputs[0], "random")
        assert noise.shape == (2, 1, 8, 8)
        assert not torch.equal(noise[0], noise[1])

    def test_without_strength_noise_changes_nothing(self, layer, inputs):
        torch.nn.init.zeros_(layer.noise_strength)
        assert torch.equal(layer(*inputs, noise_mode="random"), layer(*inputs, noise_mode="none"))

    def test_an_unknown_noise_mode_raises(self, layer, inputs):
        with pytest.raises(ValueError, match="'random', 'const' or 'none', got 'loud'"):
            layer(*inputs, noise_mode="loud")

    def test_random_noise_has_the_precision_of_the_network(self):
        layer = SynthesisLayer(2, 3, 4, 8).double()
        for mode in ("random", "const"):
            assert layer._noise(torch.zeros(2, 3, 8, 8, dtype=torch.float64), mode).dtype == torch.float64


def test_torgb_by_its_formula():
    """Per image a weighted sum of the channels, no demodulation."""
    layer, x, w = ToRGBLayer(3, 1, w_dim=4), torch.randn(2, 3, 5, 5), torch.randn(2, 4)
    torch.nn.init.constant_(layer.bias, 0.3)
    scale = layer.affine(w) * layer.weight[0, :, 0, 0] / math.sqrt(3)
    torch.testing.assert_close(layer(x, w), torch.einsum("nchw,nc->nhw", x, scale)[:, None] + 0.3)


def slow_minibatch_std(x: torch.Tensor, group: int, num_channels: int) -> torch.Tensor:
    """Image by image: standard deviation of each feature over the image's group, averaged per block of channels."""
    batch, channels, height, width = x.shape
    stride, block = batch // group, channels // num_channels
    result = torch.zeros(batch, num_channels, height, width, dtype=x.dtype)
    for image in range(batch):
        members = [x[image % stride + k * stride] for k in range(group)]
        for k in range(num_channels):
            values = [member[k * block : (k + 1) * block] for member in members]
            mean = sum(values) / group
            deviation = (sum((value - mean) ** 2 for value in values) / group + 1e-8).sqrt()
            result[image, k] = deviation.mean()
    return torch.cat([x, result], dim=1)


class TestMinibatchStd:
    @pytest.mark.parametrize(
        ("batch", "group", "num_channels"), [(4, 4, 1), (6, 3, 1), (8, 2, 2), (8, 4, 4), (2, 4, 1), (6, None, 2)]
    )
    def test_equals_a_slow_loop(self, batch, group, num_channels):
        x = torch.randn(batch, 8, 3, 3)
        expected = slow_minibatch_std(x, batch if group is None else min(group, batch), num_channels)
        torch.testing.assert_close(MinibatchStdLayer(group, num_channels)(x), expected)

    def test_equal_images_have_no_deviation(self):
        y = MinibatchStdLayer(4)(torch.randn(1, 2, 4, 4).expand(4, -1, -1, -1))
        assert y[:, 2].max().item() == pytest.approx(1e-4, rel=1e-3)  # the root of epsilon

    def test_both_derivatives(self):
        x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
        layer = MinibatchStdLayer(2)
        assert gradcheck(layer, x)
        assert gradgradcheck(lambda x: layer(x).pow(3), x)

    def test_a_batch_that_does_not_divide_raises(self):
        with pytest.raises(ValueError, match="a batch of 6 images does not divide into minibatch-std groups of 4"):
            MinibatchStdLayer(4)(torch.randn(6, 2, 4, 4))

"""The discriminator in all its shapes: sizes, frozen layers, labels, minibatch groups, derivatives."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.discriminator import Discriminator
from stylegan2ada.generator import ARCHITECTURES
from stylegan2ada.losses import r1_penalty

# Layers from the image inwards, as FreezeD counts them.
LAYERS = {
    "orig": ["b16.fromrgb", "b16.conv0", "b16.conv1", "b8.conv0", "b8.conv1"],
    "resnet": ["b16.fromrgb", "b16.conv0", "b16.conv1", "b16.skip", "b8.conv0", "b8.conv1", "b8.skip"],
    "skip": ["b16.fromrgb", "b16.conv0", "b16.conv1", "b8.fromrgb", "b8.conv0", "b8.conv1"],
}


def tiny(resolution=16, c_dim=0, channels=1, architecture="resnet", frozen=0, group=None, **sizes) -> Discriminator:
    sizes = {"channel_base": 128, "channel_max": 8, **sizes}
    return Discriminator(
        c_dim, resolution, channels, architecture, block_kwargs={"freeze_layers": frozen},
        epilogue_kwargs={"mbstd_group_size": group}, mapping_kwargs={"num_layers": 2}, **sizes,
    )  # fmt: skip


class TestShapes:
    @pytest.mark.parametrize("resolution", [4, 8, 64])
    @pytest.mark.parametrize("c_dim", [0, 3])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_logits(self, architecture, channels, c_dim, resolution):
        D = tiny(resolution, c_dim, channels, architecture)
        logits = D(torch.randn(3, channels, resolution, resolution), torch.eye(3)[:, :c_dim])
        assert logits.shape == (3, 1)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_every_parameter_gets_a_gradient(self, architecture):
        D = tiny(16, c_dim=2, architecture=architecture)
        D(torch.randn(3, 1, 16, 16), torch.eye(2)[[0, 1, 0]]).square().sum().backward()
        assert [name for name, p in D.named_parameters() if p.grad is None or not p.grad.any()] == []

    def test_the_official_1024_px_network(self):
        """Sizes of the StyleGAN2 paper: 29 M parameters."""
        D = Discriminator(0, 1024, 3)
        assert sum(parameter.numel() for parameter in D.parameters()) == pytest.approx(29.0e6, rel=0.01)

    @pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 8, 8), (1, 16, 16), (2, 1, 16, 8)])
    def test_images_of_another_shape_raise(self, shape):
        with pytest.raises(ValueError, match=r"images must have shape \(N, 1, 16, 16\)"):
            tiny()(torch.zeros(shape))

    def test_labels_of_another_shape_raise(self):
        with pytest.raises(ValueError, match=r"label must have shape \(N, 3\), got \(2, 4\)"):
            tiny(c_dim=3)(torch.zeros(2, 1, 16, 16), torch.zeros(2, 4))

    def test_an_unknown_architecture_raises(self):
        with pytest.raises(ValueError, match="one of orig, skip, resnet, got 'vgg'"):
            tiny(architecture="vgg")


class TestFreezeLayers:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    @pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 20])
    def test_the_layers_next_to_the_image_are_frozen(self, architecture, count):
        D = tiny(architecture=architecture, frozen=count)
        frozen = [name.rsplit(".", 1)[0] for name, p in D.named_parameters() if not p.requires_grad]
        assert sorted(set(frozen)) == sorted(LAYERS[architecture][:count])

    def test_names_stay(self):
        assert list(tiny(frozen=4).state_dict()) == list(tiny().state_dict())


class TestLabels:
    def test_the_label_decides_on_the_logit(self):
        D, images = tiny(c_dim=2), torch.randn(1, 1, 16, 16).expand(2, -1, -1, -1)
        logits = D(images, torch.eye(2))
        assert not torch.allclose(logits[0], logits[1])

    def test_the_width_of_the_projection(self):
        assert tiny(c_dim=2).b4.out.weight.shape[0] == 8
        assert tiny(c_dim=2, cmap_dim=5).b4.out.weight.shape[0] == 5
        assert tiny(c_dim=0, cmap_dim=5).b4.out.weight.shape[0] == 1


class TestMinibatchStd:
    def test_logits_depend_on_the_group_only(self):
        """Image i is grouped with i + N/group: in a batch of 4 and groups of 2, 0 with 2 and 1 with 3."""
        D, images = tiny(group=2), torch.randn(4, 1, 16, 16)
        before = D(images)
        changed = images.clone()
        changed[3] += 1
        difference = (D(changed) - before).abs().squeeze(1)
        assert (difference[[1, 3]] > 1e-4).all()
        torch.testing.assert_close(difference[[0, 2]], torch.zeros(2), atol=1e-6, rtol=0)

    def test_without_the_layer_images_do_not_mix(self):
        """What a private discriminator needs."""
        D = Discriminator(0, 16, 1, channel_base=128, channel_max=8, epilogue_kwargs={"mbstd_num_channels": 0})
        images = torch.randn(4, 1, 16, 16)
        torch.testing.assert_close(D(images), torch.cat([D(image[None]) for image in images]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_r1_differentiates_by_image_and_weight(architecture):
    """R1 is a first derivative, so its gradient is the second derivative of the whole network."""
    D = tiny(8, c_dim=2, architecture=architecture, channel_base=16, channel_max=2).double()
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    c = torch.eye(2, dtype=torch.float64)

    def penalty(images, weight):
        return r1_penalty(images, torch.func.functional_call(D, {"b8.conv1.weight": weight}, (images, c)))

    weight = D.b8.conv1.weight.detach().clone().requires_grad_()
    assert gradcheck(penalty, (images, weight))
    assert gradgradcheck(lambda images: D(images, c), images)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_per_sample_gradients_with_r1_equal_a_loop(architecture):
    """vmap over images of loss and penalty, by all parameters at once: the way of a private update."""
    D = Discriminator(
        2, 16, 1, architecture, channel_base=128, channel_max=8, conv_clamp=256,
        epilogue_kwargs={"mbstd_num_channels": 0},
    ).double()  # fmt: skip
    images, c = torch.randn(3, 1, 16, 16, dtype=torch.float64), torch.eye(2, dtype=torch.float64)[[0, 1, 1]]
    parameters = {name: p.detach() for name, p in D.named_parameters()}

    def loss(parameters, image, label):
        def logit(image):
            return torch.func.functional_call(D, parameters, (image[None], label[None])).sum()

        gradient, value = torch.func.grad_and_value(logit)(image)
        return torch.nn.functional.softplus(-value) + 5 * gradient.square().sum()

    mapped = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, images, c)
    for i in range(3):
        looped = torch.func.grad(loss)(parameters, images[i], c[i])
        for name, gradient in looped.items():
            torch.testing.assert_close(mapped[name][i], gradient, msg=lambda m, name=name: f"{name}: {m}")

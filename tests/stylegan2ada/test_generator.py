"""The generator in all its shapes: sizes, truncation, noise, names, derivatives."""

import pytest
import torch
from torch.autograd import gradgradcheck

from stylegan2ada.generator import (
    ARCHITECTURES,
    Generator,
    MappingNetwork,
    SynthesisNetwork,
    channels_at,
)
from stylegan2ada.losses import path_lengths


def tiny(resolution=16, c_dim=0, channels=1, architecture="skip", num_layers=2, **synthesis) -> Generator:
    synthesis = {"channel_base": 128, "channel_max": 8, "architecture": architecture, **synthesis}
    return Generator(6, c_dim, 10, resolution, channels, {"num_layers": num_layers}, synthesis)


def one_hot(count: int, c_dim: int) -> torch.Tensor:
    return torch.eye(c_dim)[torch.arange(count) % c_dim] if c_dim else torch.zeros(count, 0)


class TestShapes:
    @pytest.mark.parametrize("resolution", [4, 8, 64])
    @pytest.mark.parametrize("c_dim", [0, 3])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_images(self, architecture, channels, c_dim, resolution):
        G = tiny(resolution, c_dim, channels, architecture)
        z, c = torch.randn(2, 6), one_hot(2, c_dim)
        ws = G.mapping(z, c)
        assert ws.shape == (2, G.num_ws, 10)
        images = G.synthesis(ws)
        assert images.shape == (2, channels, resolution, resolution)
        assert images.dtype == torch.float32
        assert images.isfinite().all()

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_every_parameter_gets_a_gradient(self, architecture):
        """A layer that were built but not used would stay without one."""
        G = tiny(16, c_dim=2, architecture=architecture)
        G(torch.randn(3, 6), one_hot(3, 2)).square().sum().backward()
        missing = [name for name, p in G.named_parameters() if p.grad is None or not p.grad.any()]
        assert missing == []

    @pytest.mark.parametrize(("resolution", "num_ws"), [(4, 2), (8, 4), (256, 14), (1024, 18)])
    def test_latents_per_image(self, resolution, num_ws):
        """Two per resolution, one at 4 px, and one more for the last ToRGB (StyleGAN2: 18 at 1024)."""
        assert SynthesisNetwork(4, resolution, 3, channel_base=1024, channel_max=1).num_ws == num_ws

    def test_the_official_1024_px_network(self):
        """Sizes of the StyleGAN2 paper: 30 M parameters for its configuration F."""
        G = Generator(512, 0, 512, 1024, 3)
        assert sum(parameter.numel() for parameter in G.parameters()) == pytest.approx(30.4e6, rel=0.01)
        assert G.synthesis.b1024.conv1.weight.shape == (32, 32, 3, 3)
        assert G.synthesis.b64.conv1.weight.shape == (512, 512, 3, 3)

    @pytest.mark.parametrize("resolution", [0, 2, 3, 48, 100])
    def test_a_side_that_is_no_power_of_two_raises(self, resolution):
        with pytest.raises(ValueError, match=f"power of two and at least 4, got {resolution}"):
            tiny(resolution)

    def test_an_unknown_architecture_raises(self):
        with pytest.raises(ValueError, match="one of orig, skip, resnet, got 'transformer'"):
            tiny(architecture="transformer")

    def test_channels(self):
        assert [channels_at(r, 16384, 512) for r in (4, 32, 64, 256)] == [512, 512, 256, 64]


class TestWrongInputs:
    @pytest.mark.parametrize("z", [torch.zeros(2, 5), torch.zeros(6), None], ids=["width", "one dimension", "none"])
    def test_latents(self, z):
        with pytest.raises(ValueError, match=r"z must have shape \(N, 6\)"):
            tiny()(z, None)

    @pytest.mark.parametrize("c", [torch.zeros(2, 2), torch.zeros(3), None], ids=["width", "one dimension", "none"])
    def test_labels(self, c):
        with pytest.raises(ValueError, match=r"label must have shape \(N, 3\)"):
            tiny(c_dim=3)(torch.zeros(2, 6), c)

    def test_ws(self):
        with pytest.raises(ValueError, match=r"ws must have shape \(N, 6, 10\), got \(1, 5, 10\)"):
            tiny().synthesis(torch.zeros(1, 5, 10))


class TestMapping:
    def test_the_scale_of_z_does_not_matter(self):
        G, z = tiny(), torch.randn(2, 6)
        torch.testing.assert_close(G.mapping(z, None), G.mapping(z * 7, None))

    def test_the_label_matters(self):
        G, z = tiny(c_dim=2), torch.randn(1, 6)
        assert not torch.allclose(G.mapping(z, torch.eye(2)[:1]), G.mapping(z, torch.eye(2)[1:]))

    def test_truncation_pulls_towards_the_mean(self):
        mapping, z = tiny().mapping, torch.randn(3, 6)
        mapping.w_avg.normal_()
        full = mapping(z, None)
        torch.testing.assert_close(mapping(z, None, 0.3), mapping.w_avg + 0.3 * (full - mapping.w_avg))
        torch.testing.assert_close(mapping(z, None, 0.0), mapping.w_avg.expand(3, 6, 10))
        assert torch.equal(mapping(z, None, 1.0), full)

    @pytest.mark.parametrize("cutoff", [0, 2, 6])
    def test_truncation_up_to_a_cutoff(self, cutoff):
        mapping, z = tiny().mapping, torch.randn(3, 6)
        ws = mapping(z, None, 0.5, truncation_cutoff=cutoff)
        assert torch.equal(ws[:, :cutoff], mapping(z, None, 0.5)[:, :cutoff])
        assert torch.equal(ws[:, cutoff:], mapping(z, None)[:, cutoff:])

    def test_the_mean_follows_with_its_decay(self):
        mapping = MappingNetwork(4, 0, 4, num_ws=2, num_layers=1, w_avg_decay=0.75)
        mapping.w_avg.fill_(1)
        mapping.update_average(torch.tensor([[2.0, 2, 2, 2], [4, 4, 4, 4]]))
        assert mapping.w_avg.tolist() == [0.75 * 1 + 0.25 * 3] * 4

    def test_generating_leaves_the_mean_alone(self):
        G = tiny()
        G(torch.randn(4, 6), None)
        assert not G.mapping.w_avg.any()


class TestNoise:
    @pytest.fixture
    def G(self) -> Generator:
        G = tiny()
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                torch.nn.init.constant_(parameter, 0.3)
        return G

    def test_modes(self, G):
        z = torch.randn(1, 6)
        const, none = G(z, None, noise_mode="const"), G(z, None, noise_mode="none")
        assert torch.equal(const, G(z, None, noise_mode="const"))
        assert not torch.equal(const, none)
        assert not torch.equal(G(z, None), G(z, None))

    def test_random_noise_follows_the_seed(self, G):
        z = torch.randn(1, 6)
        images = []
        for _ in range(2):
            torch.manual_seed(5)
            images.append(G(z, None))
        assert torch.equal(*images)

    def test_an_image_does_not_depend_on_its_neighbours(self, G):
        z = torch.randn(4, 6)
        together = G(z, None, noise_mode="const")
        alone = torch.cat([G(row[None], None, noise_mode="const") for row in z])
        torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_path_length_differentiates_twice(architecture):
    """The penalty's gradient needs the second derivative of all of the synthesis network."""
    G = tiny(8, architecture=architecture, num_layers=1, channel_base=16, channel_max=2).double()
    torch.nn.init.constant_(G.synthesis.b8.conv1.noise_strength, 0.2)
    ws = torch.randn(2, G.num_ws, 10, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 1, 8, 8, dtype=torch.float64)

    def lengths(ws, weight):
        state = {"synthesis.b8.conv0.weight": weight}
        images = torch.func.functional_call(G, state, (ws,))
        return path_lengths(images, ws, noise)

    G.forward = lambda ws: G.synthesis(ws, noise_mode="const")
    weight = G.synthesis.b8.conv0.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lengths, (ws, weight))
    assert gradgradcheck(lambda ws: G.synthesis(ws, noise_mode="const"), ws)

"""The losses against plain arithmetic."""

import math

import pytest
import torch

from stylegan2ada import losses
from stylegan2ada.dealing import UNDIVIDED
from stylegan2ada.generator import MappingNetwork

LOGITS = [-3.0, 0.0, 0.5, 20.0]


class TestLogistic:
    @pytest.mark.parametrize(
        ("loss", "by_hand"),
        [
            (losses.generator_loss, lambda x: -math.log(1 / (1 + math.exp(-x)))),
            (losses.real_loss, lambda x: -math.log(1 / (1 + math.exp(-x)))),
            (losses.fake_loss, lambda x: -math.log(1 - 1 / (1 + math.exp(-x)))),
        ],
        ids=["generator", "real", "fake"],
    )
    def test_by_hand_one_value_per_image(self, loss, by_hand):
        values = loss(torch.tensor(LOGITS, dtype=torch.float64)[:, None])
        assert values.shape == (4,)
        torch.testing.assert_close(values, torch.tensor([by_hand(x) for x in LOGITS], dtype=torch.float64))

    def test_extreme_logits_stay_finite(self):
        extreme = torch.tensor([[-1e4], [1e4]])
        for loss in (losses.generator_loss, losses.fake_loss, losses.real_loss):
            assert loss(extreme).isfinite().all()


class TestR1:
    def test_of_a_known_function(self):
        """D(x) = sum of x^3: the gradient is 3 x^2, its squared norm the sum of 9 x^4 over each image."""
        x = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
        penalty = losses.r1_penalty(x, x.pow(3).sum([1, 2, 3])[:, None])
        torch.testing.assert_close(penalty, 9 * x.pow(4).sum([1, 2, 3]))

    def test_its_gradient_reaches_the_weights(self):
        x, scale = torch.randn(2, 1, 2, 2, requires_grad=True), torch.tensor(1.5, requires_grad=True)
        penalty = losses.r1_penalty(x, (scale * x).sum([1, 2, 3])[:, None])
        penalty.sum().backward()
        assert penalty.tolist() == [1.5**2 * 4] * 2
        assert scale.grad.item() == 2 * 1.5 * 4 * 2


class TestPathLengths:
    def test_of_a_linear_generator(self):
        """images = A w: J^T y = A^T y / sqrt(H W), summed squares over W, mean over the latents."""
        A = torch.randn(16, 3 * 5, dtype=torch.float64)
        ws = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
        images = (ws.flatten(1) @ A.t()).reshape(2, 1, 4, 4)
        noise = torch.randn_like(images)
        gradient = (noise.flatten(1) @ A / 4).reshape(2, 3, 5)
        expected = gradient.square().sum(2).mean(1).sqrt()
        torch.testing.assert_close(losses.path_lengths(images, ws, noise), expected)

    def test_doubling_the_image_doubles_the_length(self):
        ws = torch.randn(1, 2, 3, requires_grad=True)
        noise = torch.randn(1, 1, 2, 3)
        short = losses.path_lengths(ws.square()[:, None], ws, noise)
        torch.testing.assert_close(losses.path_lengths(2 * ws.square()[:, None], ws, noise), 2 * short)


class TestStyleMixing:
    @pytest.fixture
    def mapping(self) -> MappingNetwork:
        return MappingNetwork(4, 2, 6, num_ws=5, num_layers=1)

    def test_never(self, mapping):
        z, c = torch.randn(3, 4), torch.eye(2)[[0, 1, 0]]
        state = torch.get_rng_state()
        ws, w = losses.mixed_latents(mapping, z, c, 0.0)
        torch.testing.assert_close(ws, mapping(z, c))
        assert torch.equal(w, ws[:, 0])
        assert torch.equal(torch.get_rng_state(), state), "no random number is spent where nothing is mixed"

    def test_always_changes_the_layers_from_one_cutoff_on(self, mapping):
        z, c = torch.randn(3, 4), torch.eye(2)[[0, 1, 0]]
        plain = mapping(z, c)
        cutoffs = set()
        for _ in range(60):
            ws, w = losses.mixed_latents(mapping, z, c, 1.0)
            torch.testing.assert_close(w, plain[:, 0])
            same = (ws - plain).abs().amax(2) < 1e-6  # (N, L)
            assert (same == same[0]).all(), "one cutoff for the whole batch"
            cutoff = int(same[0].sum())
            assert same[0, :cutoff].all()
            assert torch.equal(ws[:, cutoff:], ws[:, cutoff : cutoff + 1].expand(-1, 5 - cutoff, -1))
            cutoffs.add(cutoff)
        assert cutoffs == {1, 2, 3, 4}

    def test_frequency(self, mapping):
        z, c = torch.randn(1, 4), torch.eye(2)[:1]
        plain = mapping(z, c)
        mixed = sum(not torch.equal(losses.mixed_latents(mapping, z, c, 0.9)[0], plain) for _ in range(400))
        assert 0.9 * 400 == pytest.approx(mixed, abs=4 * math.sqrt(400 * 0.9 * 0.1))

    @pytest.mark.parametrize("probability", [0.5, 1.0])
    def test_the_way_of_other_devices_gives_the_same_latents_for_the_same_draws(self, mapping, probability):
        """Bit for bit; it only spends random numbers on a second latent where none is used."""
        z, c = torch.randn(3, 4), torch.eye(2)[[0, 1, 0]]
        ws = mapping(z, c)
        mixed = set()
        for seed in range(40):
            by_mask, if_drawn = (
                mix(mapping, ws, z, c, probability, UNDIVIDED)
                for mix in (losses._mix_by_mask, losses._mix_if_drawn)
                if torch.manual_seed(seed)
            )
            assert torch.equal(by_mask, if_drawn)
            mixed.add(not torch.equal(by_mask, ws))
        assert mixed == ({True} if probability == 1 else {True, False})

    def test_the_way_of_other_devices_has_the_same_gradient(self, mapping):
        z, c = torch.randn(2, 4), torch.eye(2)
        gradients = []
        for mix in (losses._mix_by_mask, losses._mix_if_drawn):
            torch.manual_seed(3)
            ws = mix(mapping, mapping(z, c), z, c, 1.0, UNDIVIDED)
            gradients.append(torch.autograd.grad((ws * torch.arange(60.0).reshape(2, 5, 6)).sum(), mapping.fc0.weight))
        torch.testing.assert_close(*gradients)

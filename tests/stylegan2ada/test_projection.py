"""Projection finds the latent of an image that the network can make, the class too, and the same with a seed."""

import math

import numpy as np
import pytest
import torch

from stylegan2ada.errors import NonFiniteError
from stylegan2ada.generator import Generator
from stylegan2ada.perceptual import pixel_pyramid
from stylegan2ada.projection import (
    ProjectionSettings,
    autocorrelation,
    distances_of_classes,
    learning_rate,
    project,
    w_noise,
    w_statistics,
)
from stylegan2ada.sampling import labels_of_classes, ws_of_seeds

SETTINGS = ProjectionSettings(num_steps=20, num_samples=500)


@pytest.fixture(scope="module")
def conditional() -> Generator:
    """Three classes that look different: each has an embedding of its own, and labels count more than z."""
    torch.manual_seed(0)
    synthesis = {"channel_base": 512, "channel_max": 32}
    G = Generator(8, 3, 16, 16, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=synthesis)
    G.mapping.embed.weight.data *= 10
    G.mapping.fc0.weight.data[:, 8:] *= 2
    return G.eval().requires_grad_(False)


def target_of(G: Generator, seed: int, class_index: int | None) -> torch.Tensor:
    return G.synthesis(ws_of_seeds(G, [seed], None if class_index is None else [class_index]), "const")


@pytest.mark.parametrize(("space", "num_steps", "times_nearer"), [("w", 100, 500), ("w+", 150, 40)])
def test_finds_an_image_of_the_network(conditional, space, num_steps, times_nearer):
    target = target_of(conditional, 3, 1)
    found = project(conditional, target, pixel_pyramid, 1, ProjectionSettings(num_steps, space, num_samples=500))
    assert found.distance < found.start_distance / times_nearer
    contrast = float((target - target.mean()).square().mean().sqrt())
    assert float((found.image - target).square().mean().sqrt()) < 0.1 * contrast
    torch.testing.assert_close(found.image, conditional.synthesis(found.ws, "const"))
    layers_differ = bool((found.ws != found.ws[:, :1]).any())
    assert found.ws.shape == (1, conditional.num_ws, 16) and layers_differ == (space == "w+")


def test_starts_at_the_mean_of_the_class(conditional):
    target, seen = target_of(conditional, 3, 1), []
    found = project(conditional, target, pixel_pyramid, 2, SETTINGS, lambda *step: seen.append(step))
    mean = w_statistics(conditional, 2, SETTINGS).mean
    torch.testing.assert_close(seen[0][2], mean.expand(1, conditional.num_ws, -1))  # the first step has length 0
    assert [step for step, _, _ in seen] == list(range(1, 21))
    assert seen[0][1] == pytest.approx(found.start_distance, rel=0.5)  # but for the noise in W
    assert not torch.equal(seen[0][2], seen[-1][2])


@pytest.mark.parametrize("class_index", [0, 1, 2])
def test_class_with_the_nearest_mean_image(conditional, class_index):
    for seed in range(5):
        target = target_of(conditional, seed, class_index)
        distances = distances_of_classes(conditional, target, pixel_pyramid, SETTINGS)
        assert int(np.argmin(distances)) == class_index


def test_same_seed_same_result(conditional):
    target, settings = target_of(conditional, 3, 1), ProjectionSettings(20, fit_noise_maps=True, num_samples=100)
    first, second = (project(conditional, target, pixel_pyramid, 1, settings) for _ in range(2))
    assert torch.equal(first.ws, second.ws) and first.distance == second.distance
    other = project(conditional, target, pixel_pyramid, 1, ProjectionSettings(20, True, seed=1, num_samples=100))
    assert not torch.equal(first.ws, other.ws)


def test_unconditional():
    G = Generator(8, 0, 16, 8, 3, mapping_kwargs={"num_layers": 1}, synthesis_kwargs={"channel_base": 128})
    G.eval().requires_grad_(False)
    found = project(G, target_of(G, 1, None), pixel_pyramid, None, ProjectionSettings(100, num_samples=500))
    assert found.distance < found.start_distance / 10 and found.image.shape == (1, 3, 8, 8)


def test_the_network_is_left_alone(conditional):
    before = {name: value.clone() for name, value in conditional.state_dict().items()}
    settings = ProjectionSettings(5, fit_noise_maps=True, num_samples=100)
    project(conditional, target_of(conditional, 3, 1), pixel_pyramid, 1, settings)
    assert all(torch.equal(value, before[name]) for name, value in conditional.state_dict().items())


def test_nan_raises(conditional):
    target = target_of(conditional, 3, 1).clone()
    with pytest.raises(NonFiniteError, match="distance is nan in step 0"):
        project(conditional, target * math.nan, pixel_pyramid, 1, SETTINGS)


class TestNoiseMaps:
    def test_are_fitted_and_stay_white(self, conditional):
        G = conditional
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.data.fill_(0.3)
        try:
            target = target_of(G, 3, 1)
            settings = ProjectionSettings(40, fit_noise_maps=True, num_samples=100)
            found = project(G, target, pixel_pyramid, 1, settings)
            names = {name for name, _ in G.named_buffers() if name.endswith("noise_const")}
            assert set(found.noise_maps) == names
            for noise_map in found.noise_maps.values():
                assert noise_map.mean().abs() < 1e-5 and noise_map.square().mean().item() == pytest.approx(1, abs=1e-4)
                assert autocorrelation(noise_map) < 0.5
            replaced = {name.removeprefix("synthesis."): value for name, value in found.noise_maps.items()}
            image = torch.func.functional_call(G.synthesis, replaced, (found.ws, "const"))
            torch.testing.assert_close(image, found.image)
        finally:
            for name, parameter in G.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.data.zero_()

    def test_autocorrelation_sees_structure_on_every_scale(self):
        white = torch.randn(64, 64)
        shapes = torch.nn.functional.interpolate(torch.randn(1, 1, 16, 16), scale_factor=4)[0, 0]
        assert autocorrelation(white) < 0.1 < 0.5 < autocorrelation(shapes)

    def test_autocorrelation_by_hand(self):
        """Stripes on 8x8: rows agree with their neighbours, columns alternate; (1)^2 + (-1)^2."""
        stripes = torch.tensor([1.0, -1.0]).repeat(8, 4)
        assert autocorrelation(stripes).item() == pytest.approx(2)


class TestSchedule:
    """StyleGAN2, appendix D, at 1000 steps."""

    @pytest.mark.parametrize(
        ("step", "expected"), [(0, 0), (25, 0.05), (50, 0.1), (750, 0.1), (875, 0.05), (1000, 0)]
    )
    def test_learning_rate(self, step, expected):
        assert learning_rate(step / 1000) == pytest.approx(expected)

    @pytest.mark.parametrize(("step", "expected"), [(0, 0.05), (375, 0.0125), (750, 0), (900, 0)])
    def test_noise(self, step, expected):
        assert w_noise(step / 1000) == pytest.approx(expected)

    def test_statistics_are_of_the_class(self, conditional):
        settings = ProjectionSettings(num_samples=2500)  # mapped in three portions
        found = w_statistics(conditional, 2, settings)
        z = torch.from_numpy(np.random.RandomState(0).randn(2500, 8).astype(np.float32))
        w = conditional.mapping.map(z, labels_of_classes([2] * 2500, 3))
        torch.testing.assert_close(found.mean, w.mean(dim=0), rtol=1e-4, atol=1e-5)
        assert found.spread == pytest.approx(float((w - w.mean(dim=0)).norm(dim=1).square().mean().sqrt()), rel=1e-4)

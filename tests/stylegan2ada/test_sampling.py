"""Images by seed do not depend on what is generated beside them."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylegan2ada.compute import set_kernels
from stylegan2ada.errors import NonFiniteError
from stylegan2ada.generator import Generator
from stylegan2ada.images import to_uint8
from stylegan2ada.sampling import (
    images_of_seeds,
    images_of_ws,
    labels_of_classes,
    latents_of_seeds,
    pixels_of_latents,
    ws_of_seeds,
)


@pytest.fixture(scope="module")
def conditional() -> Generator:
    """Two classes; noise strengths and mean of W away from zero, so that noise and truncation show."""
    torch.manual_seed(0)
    G = Generator(8, 2, 16, 16, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_base": 256})
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    G.mapping.w_avg.normal_()
    return G.eval()


def pixels_of(G: Generator, seeds: list[int], **options) -> np.ndarray:
    options = {"classes": [seed % 2 for seed in seeds], **options}
    return np.stack([image.pixels for image in images_of_seeds(G, seeds, **options)])


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_latents_follow_the_official_convention():
    z = latents_of_seeds([0, 7], 512)
    np.testing.assert_array_equal(z[1:].numpy(), np.random.RandomState(7).randn(1, 512).astype(np.float32))
    assert (z.dtype, z.shape) == (torch.float32, (2, 512))


def test_equals_the_network_called_by_hand(conditional):
    z, c = latents_of_seeds([5], 8), torch.tensor([[0.0, 1.0]])
    by_hand = to_uint8(conditional(z, c, truncation_psi=0.7, noise_mode="const"))[0].numpy()
    image = next(images_of_seeds(conditional, [5], [1], truncation_psi=0.7))
    assert (image.seed, image.class_index, image.pixels.dtype) == (5, 1, np.uint8)
    np.testing.assert_array_equal(image.pixels, by_hand)


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_batch_and_neighbours_do_not_matter(conditional, noise_mode):
    whole = pixels_of(conditional, list(range(10)), noise_mode=noise_mode, batch_size=4)
    assert largest_difference(whole, pixels_of(conditional, list(range(10)), noise_mode=noise_mode, batch_size=7)) <= 1
    assert largest_difference(whole[[9, 2]], pixels_of(conditional, [9, 2], noise_mode=noise_mode)) <= 1


def test_random_noise_leaves_the_global_state_alone(conditional):
    before = torch.get_rng_state()
    pixels_of(conditional, [1, 2], noise_mode="random")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("change", [{"noise_mode": "none"}, {"noise_mode": "random"}, {"truncation_psi": 0.5}])
def test_options_reach_the_network(conditional, change):
    assert largest_difference(pixels_of(conditional, [1, 2]), pixels_of(conditional, [1, 2], **change)) > 1


def test_seed_and_class_matter(conditional):
    images = pixels_of(conditional, [1, 2, 1], classes=[0, 0, 1])
    assert largest_difference(images[0], images[1]) > 1
    assert largest_difference(images[0], images[2]) > 1


def test_unconditional():
    G = Generator(8, 0, 16, 16, 3, mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_base": 256})
    images = list(images_of_seeds(G, [3, 4, 5], batch_size=2))
    assert [(image.seed, image.class_index, image.pixels.shape) for image in images] == [
        (seed, None, (3, 16, 16)) for seed in (3, 4, 5)
    ]


def test_nan_raises_and_names_the_seed():
    G = Generator(8, 0, 16, 16, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_base": 256})
    G.synthesis.b16.torgb.bias.data.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="seed 3"):
        list(images_of_seeds(G, [3, 4]))


class TestLatentsInW:
    @pytest.mark.parametrize("noise_mode", ["const", "none"])
    def test_give_the_images_of_their_seeds(self, conditional, noise_mode):
        ws = ws_of_seeds(conditional, [4, 5, 6], [1, 0, 1], truncation_psi=0.6)
        images = np.stack(list(images_of_ws(conditional, ws, noise_mode, batch_size=2)))
        classes = [1, 0, 1]
        expected = pixels_of(conditional, [4, 5, 6], classes=classes, truncation_psi=0.6, noise_mode=noise_mode)
        assert largest_difference(images, expected) <= 1

    def test_random_noise_is_the_same_for_every_image(self, conditional):
        ws = ws_of_seeds(conditional, [4, 4], [1, 1])
        first, second = images_of_ws(conditional, ws, "random")
        np.testing.assert_array_equal(first, second)

    def test_nan_names_the_latent(self, conditional):
        ws = ws_of_seeds(conditional, [1, 2, 3, 4, 5], [0] * 5).clone()
        ws[3] = float("nan")
        with pytest.raises(NonFiniteError, match="latent 3"):
            list(images_of_ws(conditional, ws, batch_size=2))


def test_labels():
    assert labels_of_classes([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert labels_of_classes([None, None], 0).shape == (2, 0)


class NoDoubles(TorchDispatchMode):
    """Raises where an operation makes float64, which Apple's GPUs do not have."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        made = [leaf.dtype for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        assert torch.float64 not in made, f"{function} makes float64"
        return result


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_images_need_no_double_precision(conditional, noise_mode):
    set_kernels(conditional, "reference")  # there are no fused kernels on such devices
    try:
        with NoDoubles():
            pixels_of(conditional, [1, 2], noise_mode=noise_mode, truncation_psi=0.7)
    finally:
        set_kernels(conditional, "auto")


def test_latents_of_a_broken_network_are_no_black_images():
    G = Generator(8, 0, 16, 16, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_base": 256})
    G.synthesis.get_submodule("b16").torgb.bias.data.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="latent 0 holds NaN or Inf"):
        list(pixels_of_latents(G, torch.zeros(3, 8), torch.zeros(3, 0), 2))

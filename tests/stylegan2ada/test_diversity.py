"""Diversity: zero for copies, the textbook value for noise, blind to brightness and fine noise."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_ext.phantom import draw_patient, draw_phantom
from stylegan2ada.diversity import class_diversity, diversity_statistics

RNG = np.random.default_rng(0)


def noise(count: int, side: int = 32, channels: int = 1, low: int = 0, high: int = 256) -> np.ndarray:
    return RNG.integers(low, high, (count, channels, side, side)).astype(np.uint8)


def pairwise(pixels: np.ndarray) -> float:
    """The slow way, for images of 32 px."""
    features = pixels.astype(np.float64)
    features = features - features.mean(axis=(2, 3), keepdims=True)
    distances = [np.sqrt(np.mean((features[i] - features[j]) ** 2)) for i in range(len(features)) for j in range(i)]
    return float(np.mean(distances))


@pytest.mark.parametrize("side", [8, 32, 64, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_copies_of_one_image_have_none(side, channels):
    copies = np.repeat(noise(1, side, channels), 5, axis=0)
    assert class_diversity(copies, [0] * 5) == {0: 0.0}


def test_brightness_alone_is_no_diversity():
    image = noise(1, 64, low=0, high=100)
    brighter = np.concatenate([image + offset for offset in range(0, 150, 30)]).astype(np.uint8)
    assert class_diversity(brighter, [0] * 5)[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_slow_way(channels):
    pixels = noise(7, 32, channels)
    assert class_diversity(pixels, [2] * 7)[2] == pytest.approx(pairwise(pixels))


def test_independent_noise_differs_by_the_root_of_two():
    """Standard deviation s in each image: two of them differ by s times the root of two."""
    expected = np.sqrt(2) * np.sqrt((256**2 - 1) / 12)
    assert class_diversity(noise(20), [0] * 20)[0] == pytest.approx(expected, rel=0.02)


def test_noise_of_single_pixels_is_averaged_out():
    """At 256 px a block has 64 pixels, which leave an eighth of the noise."""
    coarse, fine = noise(20, 32), noise(20, 256)
    assert class_diversity(fine, [0] * 20)[0] == pytest.approx(class_diversity(coarse, [0] * 20)[0] / 8, rel=0.03)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_order_does_not_matter_and_classes_are_apart(count, seed):
    rng = np.random.default_rng(seed)
    pixels, classes = noise(2 * count, 16), np.repeat([0, 3], count)
    order = rng.permutation(2 * count)
    found = class_diversity(pixels, classes)
    assert class_diversity(pixels[order], classes[order]) == pytest.approx(found)
    assert found == {
        **class_diversity(pixels[:count], [0] * count),
        **class_diversity(pixels[count:], [3] * count),
    }


def test_a_class_of_one_image_and_empty_cells_are_left_out():
    assert list(class_diversity(noise(5), [0, 0, 1, -1, -1])) == [0]
    assert class_diversity(noise(2), [-1, -1]) == {}


def test_phantoms_differ_and_a_repeated_one_does_not():
    rng = np.random.default_rng(1)
    films = [draw_phantom(draw_patient(rng), "lateral", rng, (64, 64)).pixels for _ in range(6)]
    phantoms = (255 * np.stack(films)[:, None]).astype(np.uint8)
    noisy_copies = (phantoms[:1] + RNG.integers(0, 5, phantoms.shape)).clip(0, 255).astype(np.uint8)
    whole = class_diversity(phantoms, [0] * 6)
    collapsed = diversity_statistics(class_diversity(noisy_copies, [0] * 6), whole)
    assert whole[0] > 10
    assert 0 < collapsed["Diversity/0"] < 0.1
    assert diversity_statistics(whole, whole) == {"Diversity/0": 1.0}


def test_the_statistics_leave_out_what_cannot_be_compared():
    assert diversity_statistics({0: 1.0, 1: 2.0, 2: 3.0}, {0: 4.0, 2: 0.0, 5: 1.0}) == {"Diversity/0": 0.25}


def test_no_global_random_state_is_touched_and_it_is_quick():
    pixels, classes = noise(72, 256), np.repeat([0, 1], 36)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        class_diversity(pixels, classes)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])

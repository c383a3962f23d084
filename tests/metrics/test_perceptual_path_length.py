"""Perceptual path lengths against closed forms."""

import numpy as np
import pytest
import torch

from metrics.errors import MetricError
from metrics.perceptual_path_length import mean_path_length, squared_path_lengths


def test_a_length_is_the_squared_difference_over_that_of_the_step():
    a = torch.zeros(2, 3, 2, 2)
    b = a.clone()
    b[0, 0, 0, 0], b[1] = 0.5, 0.1
    (found,) = squared_path_lengths([(a, b)], lambda images: 2 * images.flatten(1), epsilon=0.01)
    np.testing.assert_allclose(found, [1 / 1e-4, 12 * 0.04 / 1e-4], rtol=1e-6)
    assert found.dtype == np.float64


def test_both_images_of_a_pair_are_looked_at_together():
    seen = []
    pairs = [(torch.zeros(n, 3, 1, 1), torch.ones(n, 3, 1, 1)) for n in (2, 5)]
    lengths = list(squared_path_lengths(pairs, lambda x: seen.append(len(x)) or x.flatten(1), epsilon=1.0))
    assert seen == [4, 10]
    assert [one.tolist() for one in lengths] == [[3.0] * 2, [3.0] * 5]


def test_outliers_are_left_out():
    """Of 1..1000, the 1st percentile is between 10 and 11 and the 99th between 990 and 991: 10..991 stay."""
    lengths = np.random.default_rng(0).permutation(np.arange(1.0, 1001))
    assert mean_path_length(lengths) == pytest.approx(np.arange(10, 992).mean())
    lengths[lengths > 992] = 1e9
    lengths[lengths < 9] = -1e9
    assert mean_path_length(lengths) == pytest.approx(np.arange(10, 992).mean())


def test_one_length_and_equal_lengths_stay():
    assert mean_path_length(np.array([4.0])) == 4
    assert mean_path_length(np.full(50, 2.5)) == 2.5


@pytest.mark.parametrize("lengths", [np.zeros(0), np.array([1.0, np.nan]), np.array([np.inf]), np.zeros((2, 2))])
def test_unusable_lengths_raise(lengths):
    with pytest.raises(ValueError, match="finite numbers"):
        mean_path_length(lengths)


def test_unusable_features_raise():
    with pytest.raises(MetricError, match=r"\(N,D\), not \(4, 3, 2, 2\)"):
        list(squared_path_lengths([(torch.zeros(2, 3, 2, 2),) * 2], lambda x: x))

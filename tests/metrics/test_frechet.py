"""Frechet distance against closed forms and a plain evaluation of its formula."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg

from metrics.frechet import fit_gaussian, frechet_distance


def plain(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is printed, with covariances and a matrix square root."""
    covariances = [np.cov(x, rowvar=False, bias=True) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(covariances[0] + covariances[1]) - 2 * np.trace(root).real)


def with_covariance(covariance: np.ndarray, mean: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Samples whose mean and covariance (divided by N) are exactly these."""
    noise = np.random.default_rng(seed).normal(size=(count, len(mean)))
    orthonormal = np.linalg.qr(noise - noise.mean(axis=0))[0]
    return orthonormal * np.sqrt(count) @ scipy.linalg.sqrtm(covariance).T + mean


def test_one_dimension() -> None:
    a = with_covariance(np.array([[4.0]]), np.array([1.0]), 50, 0)
    b = with_covariance(np.array([[9.0]]), np.array([3.0]), 80, 1)
    assert frechet_distance(a, b) == pytest.approx((1 - 3) ** 2 + (2 - 3) ** 2)


def test_commuting_covariances() -> None:
    """For diagonal covariances: squared difference of the means plus that of the standard deviations."""
    stds = np.array([[1.0, 2, 0.1], [3, 2, 5]])
    means = np.array([[0.0, 1, 2], [4, 1, -2]])
    a, b = (with_covariance(np.diag(s**2), m, 200, i) for i, (s, m) in enumerate(zip(stds, means, strict=True)))
    assert frechet_distance(a, b) == pytest.approx(
        ((stds[0] - stds[1]) ** 2).sum() + ((means[0] - means[1]) ** 2).sum()
    )


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_formula_for_any_covariances(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = (generator.normal(size=(60, 12)) @ generator.normal(size=(12, 12)) + generator.normal(size=12) for _ in "ab")
    assert frechet_distance(a, b) == pytest.approx(plain(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_more_dimensions_than_samples() -> None:
    """Singular covariances: the same numbers as in the few dimensions that the samples span."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(40, 5)), generator.normal(size=(30, 5)) * 2 + 1
    into_many = np.linalg.qr(generator.normal(size=(1024, 5)))[0].T
    assert frechet_distance(a @ into_many, b @ into_many) == pytest.approx(plain(a, b), rel=1e-6)


def test_of_a_set_with_itself_is_zero_and_of_a_shifted_one_the_shift() -> None:
    features = np.random.default_rng(0).normal(size=(100, 2000)) * 30
    assert abs(frechet_distance(features, features)) < 1e-7 * np.square(features).sum() / 100
    assert frechet_distance(features, features + 0.5) == pytest.approx(2000 * 0.25, rel=1e-6)


def test_tiny_and_huge_scales_keep_their_digits() -> None:
    a = with_covariance(np.diag([1e-8, 1e8]), np.zeros(2), 100, 0)
    b = with_covariance(np.diag([4e-8, 1e8]), np.zeros(2), 100, 1)
    assert frechet_distance(a[:, :1], b[:, :1]) == pytest.approx(1e-8, rel=1e-6)


@pytest.mark.parametrize(("count", "dimensions"), [(103, 7), (60, 30), (21, 40)])
@pytest.mark.parametrize("block", [1, 2, 10, 50])
def test_blocks_change_nothing(count: int, dimensions: int, block: int) -> None:
    """Also blocks of one row, whose scatter is zero, and fewer rows than dimensions."""
    generator = np.random.default_rng(1)
    a, b = (generator.normal(size=(count, dimensions)) * s + s * 100 for s in (1, 2))
    expected = frechet_distance(a, b, block=1000)
    assert frechet_distance(a, b, block=block) == pytest.approx(expected, rel=1e-9)
    fit = fit_gaussian(a, block)
    assert fit.count == count
    np.testing.assert_allclose(fit.mean, a.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fit.root.T @ fit.root, np.cov(a, rowvar=False, bias=True) * count, atol=1e-8)


def test_no_copy_of_all_features_in_float64() -> None:
    a = np.random.default_rng(0).normal(size=(40_000, 16)).astype(np.float32)
    tracemalloc.start()
    frechet_distance(a, a, block=500)
    assert tracemalloc.get_traced_memory()[1] < 0.3 * a.nbytes
    tracemalloc.stop()


def test_float32_is_computed_in_float64() -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(50, 8)).astype(np.float32) + 1000 for _ in "ab")
    assert frechet_distance(a, b) == frechet_distance(a.astype(np.float64), b.astype(np.float64))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), "1 real images are too few: at least 2"),
        (np.zeros(4), np.zeros((5, 4)), r"must be numbers \(N,D\)"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "3 .real. and 2 .fake. dimensions"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "NaN or Inf"),
        (np.zeros((4, 3)), np.full((4, 3), np.inf), "NaN or Inf"),
    ],
)
def test_unusable_features_raise(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)

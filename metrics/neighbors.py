"""Balls around features that reach to the k-th nearest neighbor, and who lies in them, block by block.

A set of balls stands for the manifold that the features come from (Kynkaanniemi et al. 2019, section 2).
Memory beyond the features: a few matrices of block x block and block x D in float64. Features may be float16 or
float32; what is computed with them is float64.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 2048

# Distances come from |x|^2 + |y|^2 - 2 x.y, whose rounding error stays below this part of |x|^2 + |y|^2 for some
# thousand dimensions. A point on a sphere must count as inside whichever way its distance was rounded, else
# duplicates, and results at another block size, would depend on chance.
ROUNDING = 1e-12


class BallCounts(NamedTuple):
    """per_point (M,): how many balls hold each point. per_ball (N,): how many points each ball holds."""

    per_point: np.ndarray
    per_ball: np.ndarray


def squared_radii(features: np.ndarray, k: int, block: int = BLOCK) -> np.ndarray:
    """Squared distance of each row to the k-th nearest other row. features: (N,D), N > k, to float64 (N,).

    A row is no neighbor of itself; a duplicate of it is, at distance zero.
    """
    center = _center(features)
    radii = np.empty(len(features))
    for rows, x in _blocks(features, center, block):
        nearest = np.full((len(x), k), np.inf)
        for columns, y in _blocks(features, center, block):
            squared, _ = _squared_distances(x, y)
            if rows == columns:
                np.fill_diagonal(squared, np.inf)
            nearest = np.partition(np.concatenate([nearest, squared], axis=1), k - 1, axis=1)[:, :k]
        radii[rows] = nearest.max(axis=1)
    return radii


def count_in_balls(
    points: np.ndarray, centers: np.ndarray, ball_squared_radii: np.ndarray, block: int = BLOCK
) -> BallCounts:
    """Which points lie in which balls, the sphere included, counted both ways.

    points: (M,D), centers: (N,D), ball_squared_radii: (N,).
    """
    origin = _center(centers)
    per_point, per_ball = np.zeros(len(points), dtype=np.int64), np.zeros(len(centers), dtype=np.int64)
    for rows, x in _blocks(points, origin, block):
        for columns, y in _blocks(centers, origin, block):
            squared, error = _squared_distances(x, y)
            inside = squared <= ball_squared_radii[columns] + error
            per_point[rows] += inside.sum(axis=1)
            per_ball[columns] += inside.sum(axis=0)
    return BallCounts(per_point, per_ball)


def _squared_distances(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every row of x (m,D) to every row of y (n,D), and a bound of their rounding error: both (m,n)."""
    norms = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    return np.maximum(norms - 2 * (x @ y.T), 0), norms * ROUNDING


def _blocks(features: np.ndarray, center: np.ndarray, block: int) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(features), block):
        rows = slice(start, min(start + block, len(features)))
        yield rows, features[rows] - center


def _center(features: np.ndarray) -> np.ndarray:
    """The mean, float64 (D,). Distances from it are short, so that fewer digits cancel."""
    return features.mean(axis=0, dtype=np.float64)

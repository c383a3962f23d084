"""Features, class probabilities and predictions on which implementations of a metric are compared."""

from typing import NamedTuple

import numpy as np


class Features(NamedTuple):
    """real (N,D), fake (M,D)."""

    name: str
    real: np.ndarray
    fake: np.ndarray

    def doubled(self) -> "Features":
        """The same values in float64, for implementations that compute in the type they are given."""
        return self._replace(real=self.real.astype(np.float64), fake=self.fake.astype(np.float64))

    def of_equal_counts(self) -> "Features":
        count = min(len(self.real), len(self.fake))
        return self._replace(real=self.real[:count], fake=self.fake[:count])


class Paths(NamedTuple):
    """lengths (N,) of single paths, squared."""

    name: str
    lengths: np.ndarray


class Predictions(NamedTuple):
    """labels (N,) of 0 and 1, and the probabilities (N,) that two classifiers give class 1."""

    name: str
    labels: np.ndarray
    scores: np.ndarray
    other_scores: np.ndarray


class Classes(NamedTuple):
    """logits (N,K), labels int (N,)."""

    name: str
    logits: np.ndarray
    labels: np.ndarray


def plain_features(seed: int) -> list[Features]:
    """More images than dimensions, no two alike, nothing extreme."""
    random = np.random.default_rng(seed)
    rectified = _rectified(random, 260, 96), _rectified(random, 240, 96) * 1.1
    return [
        Features("normal, 400 and 300 x 16", *_normal(random)),
        Features("rectified and pooled, 260 and 240 x 96", *rectified),
        Features("rectified, float32", *(each.astype(np.float32) for each in rectified)),
        Features("rectified, float16", *(each.astype(np.float16) for each in rectified)),
    ]


def extreme_features(seed: int) -> list[Features]:
    """Neither duplicates nor singular, but hard on arithmetic; features far from zero are apart."""
    random = np.random.default_rng(seed)
    normal, _ = _normal(random)
    mixing = random.normal(size=(64, 64)) * np.geomspace(10, 0.01, 64)
    heavy = random.standard_t(4, size=(300, 64)) @ mixing, random.standard_t(4, size=(350, 64)) @ mixing + 1
    return [
        Features("heavy tails, correlated, 300 and 350 x 64", *heavy),
        Features("the reals with a little noise, 400 x 16", normal, normal + random.normal(size=(400, 16)) * 1e-3),
    ]


def far_features(seed: int) -> list[Features]:
    random = np.random.default_rng(seed)
    return [Features("1000 from zero, 400 and 300 x 16", *(each + 1000 for each in _normal(random)))]


def wide_features(seed: int) -> list[Features]:
    """Fewer images than dimensions: covariances are singular."""
    random = np.random.default_rng(seed)
    return [
        Features("60 and 50 x 200", random.normal(size=(60, 200)), random.normal(size=(50, 200)) + 0.2),
        Features("rectified, 40 and 45 x 300", _rectified(random, 40, 300), _rectified(random, 45, 300) * 1.2),
        Features("7 and 6 x 12", random.normal(size=(7, 12)), random.normal(size=(6, 12)) * 2),
    ]


def repeated_features(seed: int) -> list[Features]:
    """Duplicates within and across the sets, and points on spheres."""
    random = np.random.default_rng(seed)
    lattice = random.integers(-2, 3, size=(300, 3)).astype(np.float64), random.integers(-2, 4, size=(250, 3)) * 1.0
    few = random.normal(size=(30, 40))
    return [
        Features("points of a lattice, 300 and 250 x 3", *lattice),
        Features("30 images, each 6 times, and the 30", np.repeat(few, 6, axis=0), few),
        Features("a set and itself, 30 x 40", few, few),
    ]


def large_features(seed: int) -> list[Features]:
    """As wide as Inception's."""
    random = np.random.default_rng(seed)
    return [Features("rectified, 2500 x 2048", _rectified(random, 2500, 2048), _rectified(random, 2500, 2048) * 1.1)]


def _normal(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return random.normal(size=(400, 16)), random.normal(size=(300, 16)) * 0.8 + 0.3


def _rectified(random: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """As of a detector's last layer: correlated, not negative, many zeros."""
    mixing = random.normal(size=(dimensions // 4, dimensions))
    return np.maximum(random.normal(size=(count, dimensions // 4)) @ mixing - 2, 0)


def path_cases(seed: int) -> list[Paths]:
    random = np.random.default_rng(seed)
    lengths = random.lognormal(3, 2, size=50_000)
    return [
        Paths("50,000 paths", lengths),
        Paths("101 paths", lengths[:101]),
        Paths("100 paths", lengths[:100]),
        Paths("5 paths", lengths[:5]),
        Paths("640 paths, many alike", lengths[:640].round(-2)),
    ]


def class_cases(seed: int) -> list[Classes]:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(403) % 8)
    informed = random.normal(size=(403, 8)) + 1.5 * np.eye(8)[labels]
    return [
        Classes("403 images, 8 classes", informed, labels),
        Classes("403 images, 8 classes, nearly certain", informed * 20, labels),
        Classes("1,000 images, 1,008 classes", random.normal(size=(1000, 1008)) * 3, np.arange(1000)),
        Classes("50 images, 2 classes", random.normal(size=(50, 2)), np.arange(50) % 2),
    ]


def prediction_cases(seed: int) -> list[Predictions]:
    random = np.random.default_rng(seed)
    return [
        _predictions(random, "half abnormal, 500 images", 250, 250),
        _predictions(random, "2,077 images", 1007, 1070),
        _predictions(random, "12 abnormal of 400 images", 12, 388),
        _predictions(random, "many ties, 300 images", 150, 150, decimals=1),
        _predictions(random, "little better than chance, 60 images", 30, 30, gap=0.1),
    ]


def _predictions(
    random: np.random.Generator, name: str, positives: int, negatives: int, gap: float = 1.0, decimals: int = 9
) -> Predictions:
    labels = np.repeat([1, 0], [positives, negatives])
    shared = random.normal(size=len(labels)) + gap * labels
    logits = [shared + random.normal(size=len(labels)) + extra * labels for extra in (0.5 * gap, 0.0)]
    scores = [(1 / (1 + np.exp(-each))).round(decimals) for each in logits]
    return Predictions(name, labels, *scores)

"""Improved precision and recall (Kynkaanniemi et al. 2019, section 2, equations 1 and 2)."""

from typing import NamedTuple

import numpy as np
import torch

from .feature_sets import check_at_least_one, check_feature_sets
from .neighbors import BLOCK, distance_blocks, in_any_process, squared_radii
from .shards import ALONE, Shards
from .sources import Progress


class PrecisionRecall(NamedTuple):
    precision: float
    recall: float


def precision_recall(
    real: np.ndarray,
    fake: np.ndarray,
    k: int = 3,
    block: int = BLOCK,
    device: torch.device | str = "cpu",
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> PrecisionRecall:
    """Precision: the part of the fakes on the manifold of the reals. Recall: of the reals on that of the fakes.

    real: (N,D), fake: (M,D), more than k rows each; in several processes, each has all of them. A manifold is the
    balls around its features, each as large as the distance to the k-th nearest other feature of its own set; a
    point on the sphere is inside. Both numbers are in [0, 1], and depend on N and M: compare only values of the same
    counts. `block` rows are compared with `block` rows at a time; it changes memory and speed, not the result;
    so does `device`.
    ValueError for unusable features or counts.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    check_at_least_one(k=k, block=block)
    check_feature_sets(real, fake, min_real=k + 1, min_fake=k + 1)
    real_radii, fake_radii = (squared_radii(each, k, block, device, shards, progress) for each in (real, fake))
    fake_on_manifold, real_on_manifold = (
        torch.zeros(len(each), dtype=torch.bool, device=device) for each in (fake, real)
    )
    for part in distance_blocks(fake, real, block, device, shards, progress):
        fake_on_manifold[part.rows] |= part.inside(real_radii[part.columns]).any(dim=1)
        real_on_manifold[part.columns] |= part.inside(fake_radii[part.rows, None]).any(dim=0)
    fake_on_manifold, real_on_manifold = (in_any_process(mask, shards) for mask in (fake_on_manifold, real_on_manifold))
    return PrecisionRecall(float(fake_on_manifold.mean()), float(real_on_manifold.mean()))

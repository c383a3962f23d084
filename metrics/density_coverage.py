"""Density and coverage (Naeem et al. 2020, "Reliable fidelity and diversity metrics", section 3)."""

from typing import NamedTuple

import numpy as np
import torch

from .feature_sets import check_at_least_one, check_feature_sets
from .neighbors import BLOCK, distance_blocks, in_any_process, squared_radii
from .shards import ALONE, Shards
from .sources import Progress


class DensityCoverage(NamedTuple):
    density: float
    coverage: float


def density_coverage(
    real: np.ndarray,
    fake: np.ndarray,
    k: int = 5,
    block: int = BLOCK,
    device: torch.device | str = "cpu",
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> DensityCoverage:
    """Density: how many balls of reals hold a fake, on average, over k. Coverage: the part of them that hold one.

    real: (N,D), more than k rows; fake: (M,D), at least one. A ball reaches from a real feature to its k-th
    nearest other real; a point on the sphere is inside. For equal distributions density is expected to be 1 (it
    may exceed it) and coverage 1 - 1/2^k for many images, N = M. Unlike recall, neither trusts the outliers of
    the fakes. `block` rows are compared with `block` rows at a time; it changes memory and speed, not the result; so
    does `device`.
    ValueError for unusable features or counts.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    check_at_least_one(k=k, block=block)
    check_feature_sets(real, fake, min_real=k + 1, min_fake=1)
    radii = squared_radii(real, k, block, device, shards, progress)
    held, covered = 0, torch.zeros(len(real), dtype=torch.bool, device=device)
    for part in distance_blocks(fake, real, block, device, shards, progress):
        inside = part.inside(radii[part.columns])
        held += int(inside.sum())
        covered[part.columns] |= inside.any(dim=0)
    held, covered = sum(shards.gather(np.array([held])))[0], in_any_process(covered, shards)
    return DensityCoverage(float(held / (k * len(fake))), float(covered.mean()))

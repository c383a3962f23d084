"""Walks through latent space: a closed, smooth loop through given points, for videos."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.interpolate
import torch

from .generator import Generator
from .sampling import labels_of_classes, latents_of_seeds, ws_of_seeds


class Station(NamedTuple):
    """A point that a walk passes: a seed, and a class in a conditional model."""

    seed: int
    class_index: int | None


def plan_stations(seeds: Sequence[int], classes: Sequence[int]) -> list[Station]:
    """Every seed in every class (none: unconditional), so that only one of the two changes from station to station."""
    stations = []
    for seed in seeds:
        stations += [Station(seed, class_index) for class_index in classes or [None]]
        classes = classes[::-1]
    return stations


def closed_loop(points: torch.Tensor, frames_between: int) -> torch.Tensor:
    """points (K, ...) to (K * frames_between, ...): a periodic cubic spline, which returns to where it began.

    Frame k * frames_between is point k. Position, velocity and acceleration are continuous, also at the seam.
    """
    count = len(points)
    closed = torch.cat([points, points[:1]]).double().cpu().numpy()
    spline = scipy.interpolate.CubicSpline(np.arange(count + 1), closed, bc_type="periodic")
    return torch.from_numpy(spline(np.arange(count * frames_between) / frames_between)).float()


@torch.no_grad()
def walk_in_w(G: Generator, stations: Sequence[Station], frames_between: int, truncation_psi: float) -> torch.Tensor:
    """float32 (frames, L, W): a loop in W, where equal steps look most alike (StyleGAN, section 4.1)."""
    seeds, classes = zip(*stations, strict=True)
    return closed_loop(ws_of_seeds(G, seeds, classes, truncation_psi), frames_between)


@torch.no_grad()
def walk_in_z(G: Generator, stations: Sequence[Station], frames_between: int, truncation_psi: float) -> torch.Tensor:
    """float32 (frames, L, W): a loop through z and the label vectors, mapped to W frame by frame.

    The label's embedding is linear, so between two classes the network is given a mixture of their embeddings.
    """
    device = next(G.parameters()).device
    seeds, classes = zip(*stations, strict=True)
    z = closed_loop(latents_of_seeds(seeds, G.z_dim), frames_between).to(device)
    c = closed_loop(labels_of_classes(classes, G.c_dim), frames_between).to(device)
    return G.mapping(z, c, truncation_psi=truncation_psi).cpu()

"""Homogeneous transforms, one per image: (N, 3, 3) for the plane, (N, 4, 4) for the colors.

Arguments are tensors (N,) or numbers. A transform by "nothing" (shift 0, factor 1, angle 0) is the identity exactly.
"""

import torch

Scalar = torch.Tensor | float


def identity(batch: int, size: int, device: torch.device) -> torch.Tensor:
    """(N, size, size)."""
    return torch.eye(size, device=device).expand(batch, size, size)


def compose(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """outer @ inner, in full precision: a GPU that may use TF32 for `@` would displace pixels."""
    return (outer[..., :, :, None] * inner[..., None, :, :]).sum(-2)


def from_rows(*rows: tuple[Scalar, ...]) -> torch.Tensor:
    """Stacks rows of tensors (N,) and numbers, at least one of them a tensor, to (N, len(rows), columns)."""
    sample = next(entry for row in rows for entry in row if isinstance(entry, torch.Tensor))
    entries = [e if isinstance(e, torch.Tensor) else torch.full_like(sample, e) for row in rows for e in row]
    return torch.stack(entries, dim=-1).unflatten(-1, (len(rows), -1))


def translate_2d(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return from_rows((1, 0, x), (0, 1, y), (0, 0, 1))


def scale_2d(x: Scalar, y: Scalar) -> torch.Tensor:
    return from_rows((x, 0, 0), (0, y, 0), (0, 0, 1))


def rotate_2d(angle: torch.Tensor) -> torch.Tensor:
    """By `angle` in radians, from the x axis towards the y axis."""
    cos, sin = angle.cos(), angle.sin()
    return from_rows((cos, -sin, 0), (sin, cos, 0), (0, 0, 1))


def translate_colors(shift: torch.Tensor) -> torch.Tensor:
    """The same shift for red, green and blue."""
    return from_rows((1, 0, 0, shift), (0, 1, 0, shift), (0, 0, 1, shift), (0, 0, 0, 1))


def around_gray(diagonal: torch.Tensor, gray: torch.Tensor, cross: Scalar = 0) -> torch.Tensor:
    """Color transforms that have the gray axis v = (1, 1, 1) / sqrt(3) as their axis of symmetry:
    diagonal * I + gray * v v^T + cross * [v]x, where [v]x is the cross product with v.
    """
    along, across = gray / 3, cross / 3**0.5
    before, after = along - across, along + across
    middle = diagonal + along
    return from_rows((middle, before, after, 0), (after, middle, before, 0), (before, after, middle, 0), (0, 0, 0, 1))

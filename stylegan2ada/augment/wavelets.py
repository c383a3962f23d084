"""The two fixed filters of the augmentations, both from Daubechies' "symlet" wavelets (ADA paper, appendix B)."""

import torch

# Low-pass filter of the sym6 wavelet (Daubechies 1992, "Ten Lectures on Wavelets"): orthonormal, sum sqrt(2).
SYM6 = (
    +0.015404109327027373, +0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    +0.4910559419267466, +0.787641141030194, +0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, +0.04472490177066578, +0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip

# The low-pass filter of sym2 convolved with its own mirror image, scaled to unit sum. For sym2 these are exact.
SYM2_SMOOTHING = tuple(tap / 32 for tap in (-1, 0, 9, 16, 9, 0, -1))


def band_filters() -> torch.Tensor:
    """(4, 43) float32 zero-phase filters, lowest band first, that sum to the identity (a single 1 in the middle).

    With L(z) the smoothing filter, the bands peel off one octave after the other from the fine end:
    1 - L(z), then L(z) (1 - L(z^2)), L(z) L(z^2) (1 - L(z^4)), and what is left, L(z) L(z^2) L(z^4).
    """
    smooth = torch.tensor(SYM2_SMOOTHING, dtype=torch.float64)
    remaining = torch.ones(1, dtype=torch.float64)
    bands = []
    for octave in range(3):
        smoother = _convolve(remaining, _dilate(smooth, 2**octave))
        bands.append(_center(remaining, len(smoother)) - smoother)
        remaining = smoother
    bands.append(remaining)
    return torch.stack([_center(band, len(remaining)) for band in reversed(bands)]).float()


def _dilate(taps: torch.Tensor, step: int) -> torch.Tensor:
    """H(z) -> H(z^step)."""
    dilated = taps.new_zeros((len(taps) - 1) * step + 1)
    dilated[::step] = taps
    return dilated


def _convolve(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    full = torch.nn.functional.conv1d(a[None, None], b.flip(0)[None, None], padding=len(b) - 1)
    return full[0, 0]


def _center(taps: torch.Tensor, length: int) -> torch.Tensor:
    """Zeros on both sides up to `length` taps."""
    side = (length - len(taps)) // 2
    return torch.nn.functional.pad(taps, [side, side])

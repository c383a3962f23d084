"""Collecting features over batches."""

import numpy as np
import pytest
import torch

from metrics.features import collect_features


def test_rows_are_in_order_whatever_the_batches() -> None:
    pixels = torch.randint(0, 256, (7, 3, 4, 4), dtype=torch.uint8)
    features = collect_features((pixels[i : i + 3] for i in range(0, 7, 3)), lambda x: x.float().flatten(1))
    assert features.dtype == np.float64
    np.testing.assert_array_equal(features, pixels.flatten(1).numpy())


def test_grey_is_repeated_and_nothing_is_differentiated() -> None:
    weight = torch.ones(1, requires_grad=True)

    def detector(pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[1:] == (3, 4, 4)
        assert not (pixels * weight).requires_grad
        return pixels.float().mean(dim=(2, 3))

    assert np.ptp(collect_features([torch.full((2, 1, 4, 4), 9, dtype=torch.uint8)], detector)) == 0


def test_no_images_raise() -> None:
    with pytest.raises(ValueError, match="no images"):
        collect_features([], lambda x: x)


@pytest.mark.parametrize(
    "batch", [torch.zeros(1, 3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, 4, 4).byte()]
)
def test_other_batches_raise(batch: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="batches must be uint8"):
        collect_features([batch], lambda x: x)

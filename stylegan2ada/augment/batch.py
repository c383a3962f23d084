"""Working on the part of a batch that an augmentation changes."""

from collections.abc import Callable

import torch


def where_changed(
    changed: torch.Tensor,
    transform: Callable[..., torch.Tensor],
    images: torch.Tensor,
    *parameters: torch.Tensor,
) -> torch.Tensor:
    """`transform(images, *parameters)` for the images marked in `changed` (N,) bool; the others pass untouched.

    Untouched to the last bit, so p = 0 is the identity. On the CPU the others cost nothing, which matters for the
    small p at the start of a run. Elsewhere all are computed and selected: reading the marks would stall the device.
    """
    if images.device.type != "cpu":
        return torch.where(changed[:, None, None, None], transform(images, *parameters), images)
    index = changed.nonzero().squeeze(1)
    if len(index) == 0:
        return images
    if len(index) == len(images):
        return transform(images, *parameters)
    return images.index_copy(0, index, transform(images[index], *(values[index] for values in parameters)))

"""Style mixing (StyleGAN, section 3.1): some layers take their latents from one source, the others from another."""

from collections.abc import Sequence

import torch


def mix_styles(row_ws: torch.Tensor, column_ws: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """(R, L, W) and (C, L, W) to (R, C, L, W): row r's latents, but for `layers`, which are column c's.

    Layers count from the lowest resolution: the first ones decide pose and shape, the last ones grey values.
    """
    mixed = row_ws[:, None].repeat(1, len(column_ws), 1, 1)
    mixed[:, :, list(layers)] = column_ws[None, :, list(layers)]
    return mixed


def mixing_table(row_ws: torch.Tensor, column_ws: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """((R + 1) * (C + 1) - 1, L, W): the cells of a picture, row by row, without its empty corner.

    First the columns' own latents, then each row's own and its mixtures.
    """
    rows = torch.cat([row_ws[:, None], mix_styles(row_ws, column_ws, layers)], dim=1)
    return torch.cat([column_ws, rows.flatten(0, 1)])

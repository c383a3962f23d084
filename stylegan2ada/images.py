"""Pixels: the one place where the range changes, and PNG grids. Shapes: N images, C channels, H x W pixels."""

import io
import os

import numpy as np
import PIL.Image
import torch

from .files import write_bytes


def to_model_range(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (N,C,H,W) in 0..255 to float32 in [-1, 1], the range of the networks."""
    return pixels.to(torch.float32) / 127.5 - 1


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """float (N,C,H,W) in [-1, 1] to uint8, by (x * 127.5 + 128) clamped, as all metrics of the field expect it."""
    return to_byte_range(images.float()).clamp(0, 255).to(torch.uint8)


def to_byte_range(images: torch.Tensor) -> torch.Tensor:
    """float (N,C,H,W) in [-1, 1] to about 0..255, not rounded: differentiable, for networks that want such images."""
    return images * 127.5 + 128


def to_pil(pixels: np.ndarray) -> PIL.Image.Image:
    """uint8 (C,H,W) with 1 or 3 channels to a PIL image; grey stays grey."""
    return PIL.Image.fromarray(pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0))


def png_bytes(pixels: np.ndarray) -> bytes:
    """uint8 (C,H,W) to the bytes of a PNG file."""
    buffer = io.BytesIO()
    to_pil(pixels).save(buffer, format="PNG", compress_level=1, optimize=False)
    return buffer.getvalue()


def tile(pixels: np.ndarray, columns: int) -> np.ndarray:
    """uint8 (N,C,H,W) to one (C, rows*H, columns*W) picture, row by row; missing cells at the end stay black."""
    count, channels, height, width = pixels.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    cells[:count] = pixels
    cells = cells.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return cells.reshape(channels, rows * height, columns * width)


def save_grid(path: str | os.PathLike, pixels: np.ndarray, columns: int) -> None:
    """Writes uint8 (N,C,H,W) as one PNG grid, atomically."""
    write_bytes(path, png_bytes(tile(pixels, columns)))

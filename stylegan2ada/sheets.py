"""Sheets: many images in one picture, with words at its rows and columns."""

import os
from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from .errors import UserError
from .files import write_bytes
from .images import png_bytes, to_pil

MAX_SHEET_PIXELS = 2**27
_GAP_PX = 2
_INK, _PAPER = 255, 0


def check_sheet(count: int, side_px: int, option: str) -> None:
    """Raises UserError where `count` images of `side_px` are too many for one picture."""
    if count * side_px**2 > MAX_SHEET_PIXELS:
        limit = MAX_SHEET_PIXELS // side_px**2
        raise UserError(f"{option}: {count:,} images of {side_px} px are too many for one picture; at most {limit:,}")


def draw_sheet(
    images: Sequence[np.ndarray], columns: int, row_labels: Sequence[str] = (), column_labels: Sequence[str] = ()
) -> np.ndarray:
    """uint8 (C,H,W) images, row by row, to one uint8 (C,H',W') picture; missing cells at the end stay black.

    row_labels: a text for each row, to its left; column_labels: for each column, above it. Either may be empty.
    """
    channels, height, width = images[0].shape
    rows = -(-len(images) // columns)
    font = PIL.ImageFont.load_default(size=min(max(height // 6, 11), 28))
    line_px = int(sum(font.getmetrics())) + 2 * _GAP_PX
    left = max((_text_px(font, text) for text in row_labels), default=0)
    top = line_px if any(column_labels) else 0
    cell_width = max([width, *(_text_px(font, text) for text in column_labels)])
    cell_height = max(height, line_px) if any(row_labels) else height
    size = (left + columns * (cell_width + _GAP_PX) - _GAP_PX, top + rows * (cell_height + _GAP_PX) - _GAP_PX)
    sheet = PIL.Image.new("L" if channels == 1 else "RGB", size, _PAPER if channels == 1 else (_PAPER,) * 3)
    ink = _INK if channels == 1 else (_INK,) * 3
    draw = PIL.ImageDraw.Draw(sheet)
    for column, text in enumerate(column_labels):
        x = left + column * (cell_width + _GAP_PX) + cell_width // 2
        draw.text((x, top // 2), text, fill=ink, font=font, anchor="mm")
    for row, text in enumerate(row_labels):
        y = top + row * (cell_height + _GAP_PX) + cell_height // 2
        draw.text((left - 2 * _GAP_PX, y), text, fill=ink, font=font, anchor="rm")
    for index, pixels in enumerate(images):
        row, column = divmod(index, columns)
        x = left + column * (cell_width + _GAP_PX) + (cell_width - width) // 2
        sheet.paste(to_pil(pixels), (x, top + row * (cell_height + _GAP_PX)))
    pixels = np.asarray(sheet)
    return pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)


def save_sheet(
    path: str | os.PathLike,
    images: Sequence[np.ndarray],
    columns: int,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> None:
    """Writes `draw_sheet` of the images as a PNG file, atomically; UserError where that cannot be done."""
    try:
        write_bytes(path, png_bytes(draw_sheet(images, columns, row_labels, column_labels)))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def _text_px(font: PIL.ImageFont.FreeTypeFont, text: str) -> int:
    return int(font.getlength(text)) + 4 * _GAP_PX if text else 0

"""A word in the pixels of an image, for viewers that show nothing else."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from stylegan2ada.errors import UserError
from stylegan2ada.images import to_pil

WORD = "SYNTHETIC"
SMALLEST_SIDE_PX = 64
_WIDTH_SHARE, _MIN_WIDTH_PX = 0.3, 52  # of the image; the word cannot be read in less
_MAX_FONT_PX = 200
_WHITE, _BLACK = 255, 0


def burn_in(pixels: np.ndarray, word: str = WORD) -> np.ndarray:
    """uint8 (C,H,W) with `word` in the lower left corner, white on a black field, legible on any image.

    Raises UserError for an image under 64 px, where no one could read it.
    """
    picture = to_pil(pixels)
    width = picture.width
    if min(picture.size) < SMALLEST_SIDE_PX:
        raise UserError(f"--burn-in: {word} cannot be read in {width}x{picture.height} pixels; leave it out")
    font = _font_of_width(word, min(max(round(_WIDTH_SHARE * width), _MIN_WIDTH_PX), width - 2))
    left, top, right, bottom = font.getbbox(word)
    margin = width // 128 or 1
    field = (0, picture.height - (bottom - top) - 2 * margin, right - left + 2 * margin, picture.height)
    black, white = ((shade,) * len(pixels) if len(pixels) > 1 else shade for shade in (_BLACK, _WHITE))
    draw = PIL.ImageDraw.Draw(picture)
    draw.rectangle((field[0], field[1], field[2] - 1, field[3] - 1), fill=black)
    draw.text((field[0] + margin - left, field[1] + margin - top), word, fill=white, font=font)
    marked = np.array(picture)
    return marked[np.newaxis] if marked.ndim == 2 else np.ascontiguousarray(marked.transpose(2, 0, 1))


def _font_of_width(word: str, width_px: float) -> PIL.ImageFont.FreeTypeFont:
    """Pillow's own font at the largest size at which `word` is no wider than `width_px`."""
    sizes = range(4, _MAX_FONT_PX)
    fitting = [size for size in sizes if PIL.ImageFont.load_default(size=size).getlength(word) <= width_px]
    return PIL.ImageFont.load_default(size=max(fitting, default=4))

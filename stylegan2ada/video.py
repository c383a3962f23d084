"""Videos: GIF by Pillow; MP4 by ffmpeg, where the optional package imageio-ffmpeg is installed."""

import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .errors import UserError
from .files import atomic_path
from .images import to_pil

SUFFIXES = (".gif", ".mp4")
MAX_GIF_FPS = 50  # frames last whole hundredths of a second, and viewers slow down those of one hundredth
_QUALITY = 9  # of 10: grey anatomy suffers visibly from less


def mp4_is_available() -> bool:
    """Whether imageio-ffmpeg, which brings ffmpeg, is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def check_video(path: str | os.PathLike, fps: float, option: str) -> None:
    """Raises UserError where `path`, given as `option`, cannot become a video: for the start of long work."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{option} {path}: choose a name that ends in .gif or .mp4")
    if Path(path).is_dir():
        raise UserError(f"{option} {path} is a folder: choose the name of a file")
    if suffix == ".mp4" and not mp4_is_available():
        raise UserError(f'{option} {path}: MP4 needs ffmpeg: pip install "spinegan[video]"; or choose a .gif')
    if suffix == ".gif" and fps > MAX_GIF_FPS:
        raise UserError(f"--fps {fps:g} is too much for a GIF: choose at most {MAX_GIF_FPS}, or an .mp4")


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float) -> None:
    """Writes uint8 (C,H,W) frames of one size, atomically. A GIF repeats for ever; grey ones lose nothing."""
    write = _write_gif if Path(path).suffix.lower() == ".gif" else _write_mp4
    try:
        with atomic_path(path) as temporary:
            write(temporary, iter(frames), fps)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def _write_gif(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    pictures = [to_pil(pixels) for pixels in frames]
    ends = [round(100 * (index + 1) / fps) for index in range(len(pictures))]  # in hundredths of a second
    durations_ms = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
    pictures[0].save(
        path, format="GIF", save_all=True, append_images=pictures[1:], duration=durations_ms, loop=0, optimize=False
    )


def _write_mp4(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    import imageio_ffmpeg  # optional: see `check_video`

    first = next(frames)
    channels, height, width = first.shape
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), pix_fmt_in="gray" if channels == 1 else "rgb24", fps=fps, codec="libx264",
        quality=_QUALITY, macro_block_size=2, output_params=["-f", "mp4"],
    )  # fmt: skip
    writer.send(None)
    try:
        for pixels in (first, *frames):
            writer.send(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    finally:
        writer.close()

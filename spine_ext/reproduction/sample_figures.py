"""Figure 4: real and generated samples, one sheet above the other."""

from pathlib import Path

import numpy as np
import PIL.Image
from matplotlib.figure import Figure

from .figure_style import DPI, PALE, Drawing, drawing, mark_missing
from .paper_numbers import MULTICONDITIONAL, SPINEGAN, STYLEGAN2_ADA, TITLES
from .results import Results

MAX_SHEET_PIXELS = 2**25
WIDTH_PX, TITLE_PX, PLACEHOLDER_PX = 1600, 52, 100


def samples_figure(results: Results, problems: list[str]) -> Drawing:
    """Real images and those of both GANs; adds to `problems` what cannot be read."""
    titles = {"real": "Real images", STYLEGAN2_ADA: TITLES[STYLEGAN2_ADA], SPINEGAN: TITLES[SPINEGAN]}
    return _sheets(results, problems, titles, "figure-4-samples", "Figure 4: real and generated images",
                   "Without truncation, not chosen: the first seeds. Rows: classes.")  # fmt: skip


def multiconditional_figure(results: Results, problems: list[str]) -> Drawing:
    return _sheets(results, problems, {MULTICONDITIONAL: TITLES[MULTICONDITIONAL]}, "samples-by-lesion",
                   "MultiConditional's images by lesion", "Without truncation, not chosen. Rows: classes.")  # fmt: skip


Sheets = dict[str, np.ndarray | None]


def compose(figure: Figure, sheets: Sheets) -> None:
    """Pictures (H,W) or (H,W,3), uint8, by their titles, one above the other; None: not run.

    Fills a figure of `size_px(sheets)`: every pixel of a sheet becomes a square of whole pixels.
    """
    figure.set_layout_engine("none")
    width, height = size_px(sheets)
    top = float(height)
    for title, pixels in sheets.items():
        figure.text(0, (top - 0.5 * TITLE_PX) / height, title, va="center", weight="bold", size=10)
        rows, columns = _sheet_px(pixels, sheets)
        top -= TITLE_PX + rows
        axes = figure.add_axes((0, top / height, columns / width, rows / height), xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=pixels is None, color=PALE)
        if pixels is None:
            mark_missing(axes)
        else:
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="nearest")


def size_px(sheets: Sheets) -> tuple[int, int]:
    """Width and height of the figure that `compose` fills."""
    shapes = [_sheet_px(pixels, sheets) for pixels in sheets.values()]
    return max(columns for _, columns in shapes), sum(rows + TITLE_PX for rows, _ in shapes)


def _sheet_px(pixels: np.ndarray | None, sheets: Sheets) -> tuple[int, int]:
    """Height and width of a sheet in the figure: enlarged by a whole factor, the same for all."""
    widest = max((each.shape[1] for each in sheets.values() if each is not None), default=WIDTH_PX)
    zoom = max(1, WIDTH_PX // widest)
    return (PLACEHOLDER_PX, zoom * widest) if pixels is None else (zoom * pixels.shape[0], zoom * pixels.shape[1])


def read_sheet(path: Path) -> np.ndarray:
    """uint8 (H,W) or (H,W,3). Raises `ValueError` for a file that is no picture or too large for a report."""
    try:
        with PIL.Image.open(path, formats=("PNG",)) as picture:
            if picture.width * picture.height > MAX_SHEET_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} px are too many")
            return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"it is no PNG: {error}") from error


def _sheets(results: Results, problems: list[str], titles: dict[str, str], name: str, title: str,
            caption: str) -> Drawing:  # fmt: skip
    found = {sample.variant: sample.figure for sample in results.samples}
    sheets: Sheets = {}
    for variant, heading in titles.items():
        sheets[heading] = None
        if (path := found.get(variant)) is not None:
            try:
                sheets[heading] = read_sheet(path)
            except ValueError as problem:
                problems.append(f"{path.parent.name}/{path.name}: {problem}")
        elif variant in found:
            problems.append(f"the picture of samples-{variant} is gone")
    said = ", ".join(f"{heading}{'' if pixels is not None else ' (not run)'}" for heading, pixels in sheets.items())
    width, height = size_px(sheets)
    return drawing(name, title, caption, f"Sheets of radiographs: {said}.", (width / DPI, height / DPI),
                   lambda figure: compose(figure, sheets))  # fmt: skip

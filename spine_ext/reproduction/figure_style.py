"""One look for all figures: the colours of Okabe and Ito, which colour-blind readers can tell apart; little ink."""

import dataclasses
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .paper_numbers import MULTICONDITIONAL, SPINEGAN, SPINEGAN_STRONG, STYLEGAN2_ADA
from .table import NOT_RUN

INK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#d9d9d9"
COLOURS = {
    STYLEGAN2_ADA: "#0072B2",
    SPINEGAN: "#D55E00",
    SPINEGAN_STRONG: "#CC79A7",
    MULTICONDITIONAL: "#009E73",
    None: INK,
}
# Told apart without colour too.
MARKERS = {STYLEGAN2_ADA: "o", SPINEGAN: "s", SPINEGAN_STRONG: "^", MULTICONDITIONAL: "D", None: "o"}
DASHES = {STYLEGAN2_ADA: (0, (5, 2)), SPINEGAN: "solid", SPINEGAN_STRONG: "dotted", MULTICONDITIONAL: "dashdot"}

DPI = 160
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": "#ececec",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
}


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A finished figure. name: of its file; alt: what it shows, for those who cannot see it."""

    name: str
    title: str
    caption: str
    alt: str
    png: bytes


@contextmanager
def house_style() -> Iterator[None]:
    with matplotlib.rc_context(_STYLE):
        yield


def png_of(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def new_figure(width_in: float, height_in: float) -> Figure:
    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")


def mark_missing(axes: Axes) -> None:
    axes.text(0.5, 0.5, NOT_RUN, transform=axes.transAxes, ha="center", va="center", color=GREY, style="italic")


def legend_below(figure: Figure) -> None:
    """One legend for all axes, each label once."""
    found = {}
    for axes in figure.axes:
        found |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if found:
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=len(found))


def drawing(name: str, title: str, caption: str, alt: str, size_in: tuple[float, float],
            draw: Callable[[Figure], None]) -> Drawing:  # fmt: skip
    """Lets `draw` fill a new figure in the house style."""
    with house_style():
        figure = new_figure(*size_in)
        draw(figure)
        return Drawing(name, title, caption, alt, png_of(figure))

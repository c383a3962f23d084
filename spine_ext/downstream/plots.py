"""Pictures of one test: ROC curves, reliability diagram, confusion table."""

from pathlib import Path

import matplotlib
import numpy as np
import sklearn.metrics
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stylegan2ada.files import atomic_path

from .predictions import Predictions

_SIDE_INCHES, _DPI = 5.0, 150
_BLUE, _GREY = "#1f5fa8", "#888888"


def write_plots(folder: Path, predictions: Predictions, results: dict) -> None:
    """roc.png, calibration.png and confusion.png out of the predictions and results.json of a run."""
    for name, draw in {"roc": _draw_roc, "calibration": _draw_calibration, "confusion": _draw_confusion}.items():
        # No pyplot: that would need or change the display of whoever calls. A $ in the name of a class is no formula.
        with matplotlib.rc_context({"text.parse_math": False}), atomic_path(folder / f"{name}.png") as temporary:
            figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES), dpi=_DPI, layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure.add_subplot(), predictions, results)
            if results["notes"]:
                figure.suptitle("; ".join(results["notes"]), fontsize=7, color=_GREY)
            figure.savefig(temporary, format="png")


def _draw_roc(axes: Axes, predictions: Predictions, results: dict) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", linewidth=1)
    if len(predictions.class_names) == 2:
        fpr, tpr, _ = sklearn.metrics.roc_curve(predictions.classes == 1, predictions.probabilities[:, 1])
        axes.plot(fpr, tpr, color=_BLUE, linewidth=2, label=_auc(results, "test_auc"))
        if by_study := results["interval_by_study"]:
            axes.plot([], [], " ", label=f"by study [{by_study['low']:.3f}, {by_study['high']:.3f}]")
        confusion = results["confusion"]
        axes.plot(
            1 - confusion["specificity"], confusion["sensitivity"], "o", color=_BLUE,
            label=f"threshold {confusion['threshold']:.2f} ({confusion['threshold_from']})",
        )  # fmt: skip
    else:
        for label, one in enumerate(results["per_class"]):
            fpr, tpr, _ = sklearn.metrics.roc_curve(predictions.classes == label, predictions.probabilities[:, label])
            axes.plot(fpr, tpr, linewidth=1.5, label=f"{one['class']}: {_auc(one, 'auc')}")
        axes.set_title(f"each class against the rest; macro {_auc(results, 'test_auc')}", fontsize=9)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.set_aspect("equal")
    axes.legend(loc="lower right", fontsize=8)


def _draw_calibration(axes: Axes, predictions: Predictions, results: dict) -> None:
    numbers = results["calibration"]
    bins = numbers["bins"]
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", linewidth=1)
    mean, share = [[one[key] for one in bins] for key in ("mean_probability", "positive_share")]
    axes.plot(mean, share, "o-", color=_BLUE)
    for x, y, one in zip(mean, share, bins, strict=True):
        axes.annotate(str(one["count"]), (x, y), textcoords="offset points", xytext=(5, -10), fontsize=7)
    two = len(predictions.class_names) == 2
    axes.set_xlabel(f"probability of {predictions.class_names[1]}" if two else "probability of the class decided for")
    axes.set_ylabel(f"share of {predictions.class_names[1]}" if two else "share of right decisions")
    axes.set_title(
        f"calibration error {numbers['expected_calibration_error']:.3f}, Brier score {numbers['brier_score']:.3f}; "
        "numbers: images",
        fontsize=9,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")


def _draw_confusion(axes: Axes, predictions: Predictions, results: dict) -> None:
    confusion = results["confusion"]
    if len(predictions.class_names) == 2:
        counts = np.array([[confusion["true_negatives"], confusion["false_positives"]],
                           [confusion["false_negatives"], confusion["true_positives"]]])  # fmt: skip
        axes.set_title(
            f"threshold {confusion['threshold']:.2f}: sensitivity {confusion['sensitivity']:.2f}, "
            f"specificity {confusion['specificity']:.2f}",
            fontsize=9,
        )
    else:
        counts = np.array(confusion["counts"])
        axes.set_title(f"most probable class; accuracy {confusion['accuracy']:.2f}", fontsize=9)
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)
    places = range(len(predictions.class_names))
    axes.set_xticks(places, predictions.class_names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(places, predictions.class_names, fontsize=8)
    axes.set_xlabel("decided")
    axes.set_ylabel("true")


def _auc(numbers: dict, key: str) -> str:
    return f"AUC {numbers[key]:.3f} [{numbers['low']:.3f}, {numbers['high']:.3f}]"

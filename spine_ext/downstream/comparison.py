"""Whether two downstream runs differ, on the same test images: a paired comparison out of their files."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from stylegan2ada.errors import UserError

from ..labelled_images import LabelledImages, classes_of, names_of_classes
from ..statistics.delong import compare_aucs
from ..statistics.grouped_bootstrap import draw_resamples
from .folder import PREDICTIONS, RESULTS
from .predictions import Predictions, read_predictions
from .request import identity_of_test


def read_run(folder: Path, test: LabelledImages) -> Predictions:
    """The predictions of the finished run in `folder`. Raises `UserError` unless it was tested on the images `test`."""
    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        identity = results["request"]["test images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--compare {folder} holds no finished run of one seed (no {RESULTS} of one)") from error
    predictions = read_predictions(folder / PREDICTIONS)
    same = (
        identity == identity_of_test(test)
        and predictions.image_names == test.image_names
        and predictions.class_names == names_of_classes(test)
        and np.array_equal(predictions.classes, classes_of(test))
    )
    if not same:
        raise UserError(f"--compare {folder} was tested on other images than {test.name}: compare runs of one test set")
    return predictions


def compare_runs(ours: Predictions, other: Predictions, seed: int) -> dict:
    """Plain values: the difference of the AUCs, ours minus the other's, its 95% interval, and p.

    Two classes: DeLong's paired test, and where studies are known an interval that resamples studies. More: the macro
    AUC's difference with a paired bootstrap interval, and DeLong's test for each class against the rest.
    """
    numbers = [
        dataclasses.asdict(compare_aucs(ours.classes == label, ours.probabilities[:, label],
                                        other.probabilities[:, label]))
        for label in range(len(ours.class_names))
    ]  # fmt: skip
    two = len(ours.class_names) == 2
    interval = None
    if ours.groups is not None or not two:
        resamples = draw_resamples(ours.classes, ours.groups, seed)
        found = resamples.interval(resamples.macro_aucs(ours.probabilities) - resamples.macro_aucs(other.probabilities))
        interval = dataclasses.asdict(resamples.doubted(found, least=-1.0))
    if two:
        return {**numbers[1], "method": "DeLong", "interval_by_study": interval}
    return {
        "difference": float(np.mean([one["difference"] for one in numbers])),
        "low": interval["low"],
        "high": interval["high"],
        "method": f"bootstrap over {interval['groups']} {'images' if ours.groups is None else 'studies'}",
        "per_class": [{"class": name, **one} for name, one in zip(ours.class_names, numbers, strict=True)],
    }

"""Numbers of a test out of predictions, and the file of predictions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from spine_ext.downstream.judgement import judged
from spine_ext.downstream.predictions import Predictions, read_predictions, write_predictions
from stylegan2ada.errors import UserError


def some(count: int, num_classes: int, seed: int = 0, groups: bool = True) -> Predictions:
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % num_classes
    logits = rng.normal(0, 1, (count, num_classes)) + np.eye(num_classes)[classes]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"00000/img{index:08d}.png" for index in range(count))
    return Predictions(names, ("a", "b, c", "d")[:num_classes], classes, np.arange(count) // 3 if groups else None,
                       probabilities)  # fmt: skip


def same(first: Predictions, second: Predictions) -> bool:
    return all(
        np.array_equal(getattr(first, field.name), getattr(second, field.name)) for field in dataclasses.fields(first)
    )


class TestTwoClasses:
    def test_numbers(self) -> None:
        test = some(60, 2)
        found = judged(test, None, 0.5, seed=0)
        scores = test.probabilities[:, 1]
        assert found["test_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(test.classes, scores))
        assert found["interval_by_study"]["groups"] == 20
        (tn, fp), (fn, tp) = sklearn.metrics.confusion_matrix(test.classes, scores >= 0.5)
        counts = ("true_negatives", "false_positives", "false_negatives", "true_positives")
        assert [found["confusion"][name] for name in counts] == [tn, fp, fn, tp]
        assert found["calibration"]["brier_score"] == pytest.approx(
            sklearn.metrics.brier_score_loss(test.classes, scores)
        )
        assert sum(one["count"] for one in found["calibration"]["bins"]) == 60

    def test_the_threshold_comes_from_the_validation_images(self) -> None:
        test, validation = some(60, 2), some(40, 2, seed=1)
        found = judged(test, validation, None, seed=0)["confusion"]
        fpr, tpr, thresholds = sklearn.metrics.roc_curve(
            validation.classes, validation.probabilities[:, 1], drop_intermediate=False
        )
        assert found["threshold"] == thresholds[(tpr - fpr).argmax()]
        assert found["threshold_from"] == "Youden on the validation images"
        assert judged(test, None, None, seed=0)["confusion"]["threshold"] == 0.5
        assert judged(some(60, 2, groups=False), None, None, seed=0)["interval_by_study"] is None


def test_several_classes() -> None:
    test = some(90, 3)
    found = judged(test, None, None, seed=0)
    labels = np.eye(3)[test.classes]
    assert found["test_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(labels, test.probabilities))
    assert [one["auc"] for one in found["per_class"]] == pytest.approx(
        sklearn.metrics.roc_auc_score(labels, test.probabilities, average=None).tolist()
    )
    assert all(one["low"] < one["auc"] < one["high"] for one in found["per_class"])
    assert found["interval"] == "bootstrap over 30 studies"
    decided = test.probabilities.argmax(axis=1)
    assert found["calibration"]["probability_of"] == "the class decided for"
    assert found["calibration"]["brier_score"] == pytest.approx(
        np.mean((test.probabilities.max(axis=1) - (decided == test.classes)) ** 2)
    )
    assert found["confusion"]["counts"] == sklearn.metrics.confusion_matrix(test.classes, decided).tolist()
    assert found["confusion"]["accuracy"] == pytest.approx((decided == test.classes).mean())


def test_a_perfect_classifier_of_several_classes_is_not_certain() -> None:
    test = some(90, 3)  # 30 studies of all classes: 15 pairs that share none
    found = judged(dataclasses.replace(test, probabilities=np.eye(3)[test.classes]), None, None, seed=0)
    assert (found["test_auc"], found["high"]) == (1, 1)
    assert found["low"] == found["interval_by_study"]["low"] == pytest.approx((0.05 / 3) ** (1 / 15))


class TestFile:
    @pytest.mark.parametrize("groups", [True, False])
    def test_round_trip(self, tmp_path: Path, groups: bool) -> None:
        made = some(20, 3, groups=groups)
        made = dataclasses.replace(made, probabilities=made.probabilities.astype(np.float32).astype(np.float64))
        write_predictions(tmp_path / "p.csv", made)
        read = read_predictions(tmp_path / "p.csv")
        np.testing.assert_allclose(read.probabilities, made.probabilities, rtol=1e-8)
        assert same(dataclasses.replace(read, probabilities=made.probabilities), made)
        header = (tmp_path / "p.csv").read_text().splitlines()[0]
        assert header.startswith("image,class,group,probability of a" if groups else "image,class,probability of a")

    @pytest.mark.parametrize(
        "text", ["", "image,class\n", "x,y,z\n1,2,3\n", "image,class,probability of a\nx,a,nan\n",
                 "image,class,probability of a\nx,b,0.5\n", "image,class,probability of a\nx,a\n"]
    )  # fmt: skip
    def test_other_files_raise(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "p.csv").write_text(text)
        with pytest.raises(UserError, match="cannot be read as predictions"):
            read_predictions(tmp_path / "p.csv")

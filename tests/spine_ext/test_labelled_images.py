"""Parts and unions of labelled datasets."""

import numpy as np
import pytest

from spine_ext.labelled_images import (
    Joined,
    Selection,
    balanced_subset,
    classes_of,
    names_of_classes,
    proportional_subset,
    same_classes,
)
from stylegan2ada.errors import UserError
from tests.toy_images import ToyImages


class TestJoined:
    def test_is_one_after_the_other(self) -> None:
        first, second = ToyImages([0, 1, 1]), ToyImages([1, 0], name="fakes", seed=4)
        joined = Joined([first, second])
        assert (len(joined), joined.name, joined.class_names) == (5, "toy+fakes", ("normal", "abnormal"))
        assert joined.labels.argmax(axis=1).tolist() == [0, 1, 1, 1, 0]
        for index in range(5):
            expected = first[index] if index < 3 else second[index - 3]
            for ours, theirs in zip(joined[index], expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (ToyImages([0, 1], resolution=64, name="b"), "toy has images of 32 px, b of 64"),
            (ToyImages([0, 1], num_channels=3, name="b"), "1 channels, b of 3"),
            (ToyImages([0, 1], ("x", "y"), name="b"), "normal, abnormal, b has x, y"),
            (ToyImages([0, 1], ("normal", "abnormal", "z"), name="b"), "b has normal, abnormal, z"),
        ],
    )
    def test_unlike_datasets_raise(self, other: ToyImages, message: str) -> None:
        with pytest.raises(UserError, match=message):
            Joined([ToyImages([0, 1]), other])


class TestWhatTheyCarry:
    def test_a_selection(self) -> None:
        dataset = ToyImages([0, 1, 0, 1], studies=[5, 5, 9, 2], notice="drawn")
        selection = Selection(dataset, [3, 0])
        assert selection.groups.tolist() == [2, 5]
        assert selection.image_names == ("toy3.png", "toy0.png")
        assert selection.notice == "drawn"
        assert selection.fingerprint() == Selection(dataset, [3, 0]).fingerprint()
        assert len({each.fingerprint() for each in (selection, dataset, Selection(dataset, [0, 3]))}) == 3
        assert Selection(ToyImages([0, 1]), [1]).groups is None

    def test_studies_of_different_datasets_are_different(self) -> None:
        first, second = ToyImages([0, 1, 1], studies=[4, 4, 7]), ToyImages([1, 0], name="fakes", notice="drawn")
        third = ToyImages([0, 1], studies=[4, 4])
        groups = Joined([first, second, third]).groups.tolist()
        assert groups[0] == groups[1] and groups[5] == groups[6]
        assert len(set(groups)) == 5
        joined = Joined([second, second])
        assert joined.groups is None and joined.notice == "drawn"
        assert joined.image_names == ("fakes0.png", "fakes1.png") * 2
        assert joined.fingerprint() != second.fingerprint()


def test_a_selection_keeps_its_order() -> None:
    dataset = ToyImages([0, 1, 0, 1])
    selection = Selection(dataset, [3, 0])
    assert selection.labels.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_array_equal(selection[0][0], dataset[3][0])


class TestClasses:
    def test_numbers_stand_for_missing_names(self) -> None:
        assert names_of_classes(ToyImages([0, 1, 2], None)) == ("0", "1", "2")
        assert same_classes(("0", "1"), ("a", "b"))
        assert same_classes(("a", "b"), ("0", "1"))
        assert not same_classes(("0", "1", "2"), ("a", "b"))
        assert not same_classes(("a", "b"), ("b", "a"))

    def test_classes(self) -> None:
        assert classes_of(ToyImages([1, 0, 1])).tolist() == [1, 0, 1]

    def test_a_class_without_images_raises(self) -> None:
        with pytest.raises(UserError, match="toy has no image of abnormal"):
            classes_of(ToyImages([0, 0]))

    @pytest.mark.parametrize("labels", [np.zeros((3, 0)), np.ones((3, 1)), np.ones((3, 2)), np.full((3, 2), 0.5)])
    def test_labels_that_are_no_classes_raise(self, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ToyImages, "labels", labels)
        with pytest.raises(UserError, match="toy has no labels of two or more classes"):
            classes_of(ToyImages([0, 1, 1]))


class TestBalancedSubset:
    @pytest.mark.parametrize(("count", "expected"), [(8, [4, 4]), (5, [3, 2]), (2, [1, 1])])
    def test_as_many_of_each_class(self, count: int, expected: list[int]) -> None:
        subset = balanced_subset(ToyImages([0] * 20 + [1] * 6), count, seed=0)
        assert subset.labels.sum(axis=0).tolist() == expected
        assert len({subset[index][0].tobytes() for index in range(len(subset))}) == count

    def test_the_seed_decides(self) -> None:
        dataset = ToyImages([0, 1] * 30)
        parts = [[image.tobytes() for image, _ in balanced_subset(dataset, 10, seed)] for seed in (0, 0, 1)]
        assert parts[0] == parts[1] != parts[2]

    def test_too_few_images_raise(self) -> None:
        with pytest.raises(UserError, match="toy has 2 images of abnormal, but 8 balanced images need 4"):
            balanced_subset(ToyImages([0] * 20 + [1] * 2), 8, seed=0)


class TestProportionalSubset:
    @pytest.mark.parametrize(("count", "expected"), [(16, [12, 4]), (4, [3, 1]), (2, [2, 1]), (99, [12, 4])])
    def test_the_share_of_each_class_and_at_least_one(self, count: int, expected: list[int]) -> None:
        subset = proportional_subset(ToyImages([0] * 12 + [1] * 4), count, seed=0)
        assert subset.labels.sum(axis=0).tolist() == expected
        assert len({subset[index][0].tobytes() for index in range(len(subset))}) == sum(expected)

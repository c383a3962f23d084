"""Sets of images that are compared: classes, halves and random orders of datasets."""

import numpy as np
import pytest

from spine_ext.labelled_images import Selection
from spine_ext.measuring.compared_images import check_comparable, halves, open_images, reals_of, shuffled
from stylegan2ada.errors import UserError
from tests.toy_images import ToyImages, write_toy_zip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(write_toy_zip(tmp_path_factory.mktemp("sets") / "set.zip", [0] * 30 + [1] * 20))


def pixels_of(dataset) -> list[bytes]:
    return [dataset[index][0].tobytes() for index in range(len(dataset))]


class WithGroups(Selection):
    """Images of known studies."""

    def __init__(self, dataset, groups):
        super().__init__(dataset, range(len(dataset)))
        self.groups = np.asarray(groups)


class TestHalves:
    def test_have_all_images_and_none_in_common(self, path):
        dataset = open_images(path, use_labels=True)
        first, second = halves(dataset, seed=0)
        assert len(first) == len(second) == 25
        assert sorted(pixels_of(first) + pixels_of(second)) == sorted(pixels_of(dataset))
        assert 5 < first.labels[:, 1].sum() < 15  # drawn, not cut: the file is sorted by class
        assert pixels_of(halves(dataset, seed=1)[0]) != pixels_of(first)
        assert first.fingerprint() != second.fingerprint()
        assert (first.name, second.name) == ("set (half 1)", "set (half 2)")

    def test_a_mirrored_image_is_in_the_half_of_its_original(self, path):
        first, second = halves(open_images(path, use_labels=False, mirror=True), seed=0)
        assert len(first) == len(second) == 50
        mirrored = {np.ascontiguousarray(first[index][0][:, :, ::-1]).tobytes() for index in range(len(first))}
        assert mirrored == set(pixels_of(first))

    def test_images_of_a_study_stay_together(self, path):
        groups = np.arange(50) // 5 + 100
        first, second = halves(WithGroups(open_images(path, use_labels=True), groups), seed=0)
        assert not set(first.groups.tolist()) & set(second.groups.tolist())
        assert len(first) == len(second) == 25

    def test_one_study_cannot_be_halved(self, path):
        with pytest.raises(UserError, match="set cannot be halved: all of its images are of one study"):
            halves(WithGroups(open_images(path, use_labels=True), [7] * 50), seed=0)


class TestComparable:
    def test_names_and_numbers_of_as_many_classes(self):
        check_comparable(ToyImages([0, 1]), ToyImages([0, 1], class_names=None))

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (ToyImages([0, 1], name="b", resolution=64), "toy has images of 32 px, b of 64: convert them alike"),
            (ToyImages([0, 1], name="b", num_channels=3), "toy has images of 1 channels, b of 3"),
            (ToyImages([0, 1], ("no", "yes"), "b"), "toy has the classes normal, abnormal, b has no, yes: compare"),
            (ToyImages([0, 2], None, "b"), "toy has the classes normal, abnormal, b has 0, 1, 2: compare"),
        ],
    )
    def test_what_is_not(self, other, message):
        with pytest.raises(UserError, match=message):
            check_comparable(ToyImages([0, 1]), other)


def test_shuffled_has_the_same_images_in_an_order_of_the_seed(path):
    dataset = open_images(path, use_labels=True)
    found = shuffled(dataset, 0)
    assert sorted(pixels_of(found)) == sorted(pixels_of(dataset))
    assert pixels_of(found) == pixels_of(shuffled(dataset, 0)) != pixels_of(shuffled(dataset, 1))
    assert 0 < found.labels[:20, 1].sum() < 20


def test_a_part_of_the_real_images_is_drawn_and_all_stay_as_they_are(path):
    dataset = open_images(path, use_labels=True)
    assert reals_of(dataset, 49, seed=3).key == shuffled(dataset, 3).fingerprint()
    assert reals_of(dataset, 50, seed=3).key == reals_of(dataset, None, seed=3).key == dataset.fingerprint()


class TestClasses:
    @pytest.mark.parametrize(("wanted", "count"), [(["abnormal"], 20), (["0"], 30), (["1", "normal"], 50)])
    def test_by_name_or_number(self, path, wanted, count):
        assert len(open_images(path, True, wanted)) == count

    @pytest.mark.parametrize("wanted", ["2", "-1", "osteoma", "0.5"])
    def test_others_raise(self, path, wanted):
        with pytest.raises(
            UserError, match=f"--classes {wanted}: .*set.zip has no such class; choose a number from 0 to 1"
        ):
            open_images(path, True, [wanted])

    def test_without_labels(self, path):
        with pytest.raises(UserError, match="are not labelled with classes"):
            open_images(path, False, ["normal"])

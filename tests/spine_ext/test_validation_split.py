"""The split: its fractions, whole studies, and what makes it impossible."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spine_ext.validation_split import split
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.errors import UserError
from tests.toy_images import ToyImages, write_toy_zip


def places(part: object) -> set[str]:
    return set(part.image_names)


def test_takes_the_fraction_of_every_class_and_leaves_the_rest() -> None:
    dataset = ToyImages([0] * 30 + [1] * 10 + [2] * 2, ("a", "b", "c"))
    training, held_out = split(dataset, 0.2, seed=0)
    assert held_out.labels.sum(axis=0).tolist() == [6, 2, 1]
    assert training.labels.sum(axis=0).tolist() == [24, 8, 1]
    assert not places(training) & places(held_out)
    assert places(training) | places(held_out) == set(dataset.image_names)


def test_the_seed_decides() -> None:
    dataset = ToyImages([0, 1] * 20)
    parts = [places(split(dataset, 0.25, seed)[1]) for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_fraction_0_holds_nothing_out() -> None:
    dataset = ToyImages([0, 1])
    assert split(dataset, 0, seed=0) == (dataset, None)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=12, max_size=80),
    st.floats(0.05, 0.5),
    st.integers(0, 5),
)
def test_no_study_is_in_both_parts(images: list[tuple[int, int]], fraction: float, seed: int) -> None:
    """And both parts have every class, wherever that is possible."""
    classes = [0, 1, 2, 0, 1, 2] + [label for label, _ in images]
    studies = [90, 91, 92, 93, 94, 95] + [study for _, study in images]  # two studies of each class alone, at least
    dataset = ToyImages(classes, ("a", "b", "c"), studies=studies)
    training, held_out = split(dataset, fraction, seed)
    assert not set(training.groups) & set(held_out.groups)
    assert len(training) + len(held_out) == len(dataset)
    for part in (training, held_out):
        assert part.labels.any(axis=0).all()


def test_a_mirrored_image_is_in_the_part_of_its_original(tmp_path: Path) -> None:
    dataset = ImageDataset(write_toy_zip(tmp_path / "toy.zip", [0] * 20 + [1] * 10), use_labels=True, mirror=True)
    training, held_out = split(dataset, 0.2, seed=0)
    assert not places(training) & places(held_out)
    assert (len(training), held_out.labels.sum(axis=0).tolist()) == (48, [8, 4])


def test_studies_of_two_images_meet_the_fraction_nearly() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 2000)
    dataset = ToyImages(classes.tolist(), studies=(np.arange(2000) // 2).tolist())
    share = split(dataset, 0.1, seed=3)[1].labels.sum(axis=0) / np.bincount(classes)
    np.testing.assert_allclose(share, 0.1, atol=0.005)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (ToyImages([0, 0, 0, 1]), "toy has a single image of abnormal"),
        (ToyImages([0, 0, 1, 1], studies=[0, 1, 2, 2]), "toy has hardly any study with abnormal"),
        (ToyImages([0, 1, 0, 1], studies=[0, 0, 0, 0]), "hardly any study with normal"),
    ],
)
def test_a_class_that_cannot_be_in_both_parts_raises(dataset: ToyImages, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split(dataset, 0.1, seed=0)

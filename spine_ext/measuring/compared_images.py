"""The sets of images that metrics compare: a dataset or some classes of it, its halves, a network's fakes."""

from collections.abc import Sequence

import numpy as np

from stylegan2ada.checkpoint import Snapshot
from stylegan2ada.dataset import ImageDataset
from stylegan2ada.dataset_chunks import DatasetImages
from stylegan2ada.errors import UserError
from stylegan2ada.generated_images import GeneratedImages

from ..labelled_images import LabelledImages, Selection, check_same_form, names_of_classes, same_classes


def open_images(
    path: str, use_labels: bool, wanted_classes: Sequence[str] = (), mirror: bool = False
) -> LabelledImages:
    """A dataset; of `wanted_classes`, names or numbers, where there are any. UserError for a class without images."""
    dataset = ImageDataset(path, use_labels=use_labels, mirror=mirror)
    if not wanted_classes:
        return dataset
    labels = dataset.labels
    if not (labels.shape[1] and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
        raise UserError(f"--classes {','.join(wanted_classes)}: the images of {path} are not labelled with classes")
    kept = np.zeros(len(dataset), dtype=bool)
    for one in wanted_classes:
        index = _class_index(one, names_of_classes(dataset), path)
        of_class = labels[:, index] == 1
        if not of_class.any():
            raise UserError(f"--classes {one}: {path} has no image of that class; leave it out")
        kept |= of_class
    return Selection(dataset, np.flatnonzero(kept))


def _class_index(wanted: str, names: tuple[str, ...], path: str) -> int:
    """Of a name, or else of a number."""
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    raise UserError(
        f"--classes {wanted}: {path} has no such class; choose a number from 0 to {len(names) - 1} or a name: "
        f"{', '.join(names)}"
    )


def shuffled(dataset: LabelledImages, seed: int) -> LabelledImages:
    """In a random order: the first ones are then a random choice, whatever order the files have."""
    return Selection(dataset, np.random.RandomState(seed).permutation(len(dataset)))


def reals_of(dataset: LabelledImages, most: int | None, seed: int) -> DatasetImages:
    """Real images of which a metric takes the first `most`, None for all: drawn with the seed where there are more."""
    return DatasetImages(dataset if most is None or most >= len(dataset) else shuffled(dataset, seed))


def halves(dataset: LabelledImages, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Two parts without a common study, drawn with the seed; where studies are unknown, without a common image (a
    mirrored one is the same)."""
    studies = dataset.image_names if dataset.groups is None else dataset.groups
    _, numbers = np.unique(np.asarray(studies), return_inverse=True)
    place = np.random.RandomState(seed).permutation(numbers.max() + 1)[numbers]  # of the study in a random order
    in_first = place < np.median(place)
    if in_first.all() or not in_first.any():
        raise UserError(f"{dataset.name} cannot be halved: all of its images are of one study")
    parts = [Selection(dataset, np.flatnonzero(mask)) for mask in (in_first, ~in_first)]
    for number, part in enumerate(parts, start=1):
        part.name = f"{dataset.name} (half {number})"
    return parts[0], parts[1]


def check_comparable(real: LabelledImages, other: LabelledImages) -> None:
    """UserError unless two sets have images of one size and kind, and the same classes where both have some."""
    check_same_form(real, other)
    if not (real.labels.shape[1] and other.labels.shape[1]):
        return
    ours, theirs = names_of_classes(real), names_of_classes(other)
    if not same_classes(ours, theirs):
        raise UserError(
            f"{real.name} has the classes {', '.join(ours)}, {other.name} has {', '.join(theirs)}: "
            "compare sets of the same classes"
        )


def fakes_of(
    snapshot: Snapshot, real: LabelledImages | None, seed: int, truncation_psi: float, batch: int, name: str
) -> GeneratedImages:
    """A network's images, with labels as `real` has them; without it, all classes alike.

    UserError where network and images do not go together.
    """
    G = snapshot.generator
    if real is not None:
        expected, found = (G.img_resolution, G.img_channels), (real.resolution, real.num_channels)
        for ours, theirs, unit in zip(expected, found, ("pixels a side", "channels"), strict=True):
            if ours != theirs:
                raise UserError(
                    f"{name} makes images of {ours} {unit}, {real.name} has {theirs}: give the data it was trained on"
                )
        if G.c_dim and real.labels.shape[1] != G.c_dim:
            raise UserError(
                f"{name} has {G.c_dim} classes, {real.name} has {real.labels.shape[1]}: give the data it was trained on"
            )
    labels = None
    if G.c_dim:
        labels = np.eye(G.c_dim, dtype=np.float32) if real is None else real.labels
    names = snapshot.class_names or (real.class_names if real is not None else None)
    return GeneratedImages(G, seed, labels, names, truncation_psi, batch=batch, name=name)

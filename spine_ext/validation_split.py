"""Which training images are kept aside to choose the epoch: whole studies, where studies are known."""

import numpy as np

from stylegan2ada.errors import UserError

from .labelled_images import LabelledImages, Selection, classes_of, names_of_classes


def split(
    dataset: LabelledImages, validation_fraction: float, seed: int
) -> tuple[LabelledImages, LabelledImages | None]:
    """(training part, validation part): about the fraction of each class, at least one image; None for 0.

    No study is in both parts. Without studies every image counts as one of its own, together with its mirror image
    where there is one, and the fraction is met exactly.

    Raises `UserError` where a class has too few images, or studies, for two parts.
    """
    classes = classes_of(dataset)
    if validation_fraction == 0:
        return dataset, None
    groups = _by_name(dataset) if dataset.groups is None else np.unique(dataset.groups, return_inverse=True)[1]
    chosen = _choose_groups(_images_by_group(groups, classes), validation_fraction, np.random.default_rng(seed))
    if isinstance(chosen, int):
        name = names_of_classes(dataset)[chosen]
        few = f"a single image of {name}" if dataset.groups is None else f"hardly any study with {name}"
        raise UserError(f"{dataset.name} has {few}, too few for training and validation: add images of this class")
    held_out = chosen[groups]
    return Selection(dataset, np.flatnonzero(~held_out)), Selection(dataset, np.flatnonzero(held_out))


def _by_name(dataset: LabelledImages) -> np.ndarray:
    """int (N,): a number for each file, counted as they come; a mirrored image is of the same file."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in dataset.image_names])


def _images_by_group(groups: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """int (G,K): images of each class in each group."""
    table = np.zeros((groups.max() + 1, classes.max() + 1), dtype=np.int64)
    np.add.at(table, (groups, classes), 1)
    return table


def _choose_groups(images: np.ndarray, fraction: float, generator: np.random.Generator) -> np.ndarray | int:
    """bool (G,) of the groups held out, or the class for which there is no choice. Rare classes choose first.

    A class takes groups in random order that fit into what it and the other classes in them still want; where none does
    and it has none yet, the first of the smallest. No group is taken that holds the last training images of a class.
    """
    totals = images.sum(axis=0)
    wanted = np.maximum(1, np.round(fraction * totals)).astype(np.int64)
    orders = [generator.permutation(np.flatnonzero(of_class)) for of_class in images.T]
    held_out = np.zeros(len(images), dtype=bool)
    held = np.zeros_like(totals)

    def take(group: int) -> None:
        held_out[group] = True
        held[:] += images[group]

    def allowed(group: int) -> bool:
        return not held_out[group] and bool((held + images[group] < totals)[images[group] > 0].all())

    for label in np.argsort(totals, kind="stable"):
        for group in orders[label]:
            if (held + images[group] <= wanted)[images[group] > 0].all() and allowed(group):
                take(group)
        if held[label] == 0:
            candidates = [group for group in orders[label] if allowed(group)]
            if not candidates:
                return int(label)
            take(min(candidates, key=lambda group: images[group, label]))
    return held_out

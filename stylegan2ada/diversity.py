"""How much the images of a class differ: a generator that has collapsed draws the same one again and again.

Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Sequence

import numpy as np

COMPARED_SIDE_PX = 32  # noise and texture are averaged out, pose and anatomy are not


def class_diversity(pixels: np.ndarray, classes: Sequence[int] | np.ndarray) -> dict[int, float]:
    """Mean distance of two images of a class, in grey levels: 0 where all are the same image.

    The distance is the RMS difference of the images at 32 px, each less its own mean in every channel: films that
    differ in brightness alone are no different films. Nothing is drawn at random.

    Args:
        pixels: uint8 (N,C,H,W), H and W powers of two or below 32.
        classes: (N,) class indices; images of a negative class are left out.
    Returns:
        class index -> distance, of each class with two images or more.
    """
    classes = np.asarray(classes)
    features = _features(pixels)
    members = {int(index): features[classes == index] for index in np.unique(classes[classes >= 0])}
    return {index: _mean_distance(own) for index, own in members.items() if len(own) >= 2}


def diversity_statistics(fakes: dict[int, float], reals: dict[int, float]) -> dict[str, float]:
    """`class_diversity` of fakes over that of reals, as `Diversity/<class>` of a tick's statistics.

    About 1 in a good model, 0 after a complete collapse. Classes that either lacks, and those whose real images are all
    alike, are left out.
    """
    return {f"Diversity/{index}": fakes[index] / reals[index] for index in fakes if reals.get(index, 0) > 0}


def _features(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N,C,H,W) to float64 (N,F): means of blocks of pixels, less the mean of their channel."""
    count, channels, height, width = pixels.shape
    rows, columns = min(height, COMPARED_SIDE_PX), min(width, COMPARED_SIDE_PX)
    blocks = pixels.reshape(count, channels, rows, height // rows, columns, width // columns)
    means = blocks.mean(axis=(3, 5))
    return (means - means.mean(axis=(2, 3), keepdims=True)).reshape(count, -1)


def _mean_distance(features: np.ndarray) -> float:
    """Of all pairs of rows of (N,F), N >= 2: the mean of their RMS differences."""
    distances = [np.sqrt(np.square(features[i + 1 :] - features[i]).mean(axis=1)) for i in range(len(features) - 1)]
    return float(np.concatenate(distances).mean())

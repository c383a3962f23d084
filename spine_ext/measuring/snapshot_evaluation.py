"""The numbers at each snapshot, by a classifier: are the fakes like the test images, and of their class?"""

import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from stylegan2ada.generator import Generator
from stylegan2ada.images import to_model_range
from stylegan2ada.loop import SnapshotEvent
from stylegan2ada.sampling import pixels_of_latents

from ..classifier import SpineClassifier
from ..evaluation import area_under_roc
from ..labelled_images import LabelledImages
from .best_snapshot import append_line

METRIC = "frechet_classifier"
BATCH = 32

Frechet = Callable[[np.ndarray, np.ndarray], float]


class SnapshotEvaluation:
    """An on_snapshot callable: Frechet distance in the classifier's features, and the classifier's AUC on the fakes.

    As many fakes as test images are made, with the test images' labels. The classifier that judges may be the one that
    the clinical term uses, so its AUC says how well the term's wish was met, not how good the images are.
    """

    def __init__(self, classifier: SpineClassifier, test: LabelledImages, frechet: Frechet, seed: int):
        self._classifier, self._frechet, self._seed = classifier, frechet, seed
        self._labels = torch.from_numpy(test.labels)
        self._real_features, _ = self._judge(_batches(test))
        self.num_images = len(self._labels)
        self.latest: dict[str, float] = {}  # the numbers of the last snapshot; none where it could not be judged

    def __call__(self, event: SnapshotEvent) -> None:
        self.latest = {}
        result = self.latest = self.measure(event.generator)
        line = {
            "results": result,
            "metric": METRIC,
            "num_real": self.num_images,
            "num_fake": self.num_images,
            "seed": self._seed,
            "kimg": event.kimg,
            "snapshot_pkl": event.path.name,
            "timestamp": time.time(),
        }
        append_line(event.run_dir, METRIC, json.dumps(line))
        event.log(
            f"  {event.kimg:.1f} kimg: Frechet distance in classifier features {result[METRIC]:.2f}, "
            f"classifier AUC on {self.num_images} fakes {result['auc']:.3f}"
        )

    def measure(self, generator: Generator) -> dict[str, float]:
        """The two numbers for any generator of the same classes."""
        latents = np.random.RandomState(self._seed).randn(self.num_images, generator.z_dim).astype(np.float32)
        fakes = pixels_of_latents(generator, torch.from_numpy(latents), self._labels, BATCH)
        return self._numbers(fakes, self._labels.numpy())

    def measure_real(self, images: LabelledImages) -> dict[str, float]:
        """The same for other real images: what a perfect generator would reach. Those the classifier was trained on
        flatter its AUC."""
        return self._numbers(_batches(images), images.labels)

    def _numbers(self, batches: Iterator[torch.Tensor], labels: np.ndarray) -> dict[str, float]:
        features, probabilities = self._judge(batches)
        return {METRIC: self._frechet(features, self._real_features), "auc": area_under_roc(labels, probabilities)}

    @torch.no_grad()
    def _judge(self, batches: Iterator[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, 1024) and class probabilities (N, K) of uint8 batches."""
        features, probabilities = [], []
        for pixels in batches:
            found = self._classifier.features(to_model_range(pixels.to(self._classifier.device)))
            features.append(found.double().cpu().numpy())
            probabilities.append(self._classifier.probabilities_from(found).double().cpu().numpy())
        return np.concatenate(features), np.concatenate(probabilities)


def _batches(images: LabelledImages) -> Iterator[torch.Tensor]:
    for first in range(0, len(images), BATCH):
        pixels = [images[index][0] for index in range(first, min(first + BATCH, len(images)))]
        yield torch.from_numpy(np.stack(pixels))

"""Which detector looks at the images for which metric."""

import dataclasses

from .errors import MetricError
from .features import Detector
from .names import Request


@dataclasses.dataclass(frozen=True)
class Detectors:
    """Official: Inception for the distribution and the probabilities, VGG16 for the manifold and perceptually.

    distribution, manifold: uint8 (N,3,H,W) to features (N,D).
    probabilities: uint8 (N,3,H,W) to those of classes, (N,K).
    perceptual: float (N,3,H,W) in 0..255 to (N,D), whose squared differences say how different images look.
    """

    distribution: Detector | None = None
    manifold: Detector | None = None
    probabilities: Detector | None = None
    perceptual: Detector | None = None

    def of(self, request: Request) -> Detector:
        """The one that a metric takes. MetricError where there is none."""
        found = getattr(self, request.role)
        if found is None:
            raise MetricError(f"{request.name}: {_MISSING[request.role]}")
        return found


_MISSING = {
    "distribution": "no detector of features is given",
    "manifold": "no detector of features is given",
    "probabilities": "its detector has to give probabilities of classes, as the official Inception does",
    "perceptual": "its detector has to give perceptual features, as the official VGG16 does",
}


def one_detector(detector: Detector) -> Detectors:
    """The same features for all metrics of features. Such values compare with one another, with no published ones."""
    return Detectors(distribution=detector, manifold=detector)

"""Measures several metrics at once: every image is looked at once by each detector."""

import dataclasses
import time
from collections.abc import Sequence

import torch

from .collect import FeatureSet, Wanted, collect
from .detectors import Detectors
from .errors import MetricError
from .feature_cache import FeatureCache
from .features import Detector, key_of, name_of
from .names import ComparedRequest, PathLengthRequest, Request, parse_names
from .path_lengths import path_lengths
from .scores import score_features, score_paths
from .shards import ALONE, Shards
from .sources import CHUNK_SIZE, ImageSource, PathSource, Progress

MIN_CLASS_IMAGES = 10


@dataclasses.dataclass(frozen=True)
class ClassResults:
    """Of one class alone; `results` are None, and `reason` says why, where it has too few images."""

    results: dict[str, float] | None
    num_real: int | None
    num_fake: int
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The values of one metric, by their official names, and what they rest on.

    num_real: None where no real images take part. detectors: name to SHA-256, None where it has none. seconds: of
    this metric; passes over the images that several metrics share count for each of them. per_class: by class name;
    None where it was not asked for or the metric has no classes.
    """

    metric: str
    results: dict[str, float]
    num_real: int | None
    num_fake: int
    detectors: dict[str, str | None]
    seed: int
    seconds: float
    per_class: dict[str, ClassResults] | None = None


def measure(
    names: Sequence[str],
    real: ImageSource | None,
    fake: ImageSource,
    detectors: Detectors,
    *,
    seed: int,
    cache: FeatureCache | None = None,
    per_class: bool = False,
    batch: int = CHUNK_SIZE,
    device: torch.device | str = "cpu",
    shards: Shards = ALONE,
    progress: Progress | None = None,
) -> list[Measurement]:
    """One measurement per name, in their order; the same in all processes, which all call this.

    real: None where no metric compares. seed: draws the subsets of the kernel distance. cache: keeps features of
    `real`. batch: images per call of a detector, 64 at most: more take more memory; the values stay the same but for
    the detector's rounding. device: where nearest neighbors are found; it has to know float64.

    Raises:
        MetricError: an unknown name, too few images, a detector that is missing or gives NaN. Nothing was generated
            where the request itself is at fault.
    """
    requests = parse_names(names)
    check_counts(requests, real, fake)
    for request in requests:
        detectors.of(request)
    passes = _Passes(real, fake, cache, batch, device, shards, progress)
    passes.plan(
        [(request, detectors.of(request)) for request in requests if not isinstance(request, PathLengthRequest)]
    )
    return [_measure_one(request, detectors.of(request), passes, seed, per_class) for request in requests]


def real_count(request: ComparedRequest, real: ImageSource) -> int:
    """How many real images a metric compares with."""
    return real.num_images if request.max_real is None else min(real.num_images, request.max_real)


def check_counts(requests: Sequence[Request], real: ImageSource | None, fake: ImageSource) -> None:
    """MetricError unless there are images enough for all metrics. `measure` checks it too."""
    for request in requests:
        _check_counts(request, real, fake)


def _check_counts(request: Request, real: ImageSource | None, fake: ImageSource) -> None:
    if isinstance(request, PathLengthRequest):
        if not isinstance(fake, PathSource):
            raise MetricError(f"{request.name} needs a generator, and {fake.name} is a set of images; leave it out")
        return
    if fake.num_images is not None and fake.num_images < request.num_fake:
        remedy = f"ask for {request.of_count(fake.num_images)}" if fake.num_images >= request.min_fake else "add images"
        raise MetricError(
            f"{fake.name} has {fake.num_images} images, fewer than the {request.num_fake} of {request.name}: {remedy}"
        )
    if not isinstance(request, ComparedRequest):
        return
    if real is None:
        raise MetricError(f"{request.name} compares with real images: give some")
    if real.num_images is None:
        raise MetricError(f"{request.name}: {real.name} is endless, real images are a set")
    if real_count(request, real) < request.min_real:
        found = f"{real.num_images} real images in {real.name} are too few"
        raise MetricError(f"{request.name}: {found}, at least {request.min_real} are needed")


class _Passes:
    """The features that the metrics need, collected when the first of them asks."""

    def __init__(
        self, real: ImageSource | None, fake: ImageSource, cache: FeatureCache | None, batch: int,
        device: torch.device | str, shards: Shards, progress: Progress | None,
    ):  # fmt: skip
        self.real, self.fake, self.cache, self.batch = real, fake, cache, batch
        self.device, self.shards, self.progress = device, shards, progress
        self._fakes: list[tuple[Wanted, FeatureSet]] = []
        self._reals: list[tuple[Wanted, FeatureSet]] = []
        self.seconds = 0.0

    def plan(self, requests: Sequence[tuple[Request, Detector]]) -> None:
        """Collects for all of them: each detector as many images as the largest of its metrics takes."""
        started = time.monotonic()
        reals = [
            (one, real_count(request, self.real)) for request, one in requests if isinstance(request, ComparedRequest)
        ]
        self._reals = [(want, self._real_features(want)) for want in _largest(reals)]
        wanted = _largest([(detector, request.num_fake) for request, detector in requests])
        found = collect(self.fake, wanted, batch=self.batch, shards=self.shards, progress=self.progress)
        self._fakes = list(zip(wanted, found, strict=True))
        self.seconds = time.monotonic() - started

    def _real_features(self, want: Wanted) -> FeatureSet:
        """From the cache where they are there."""
        options = {"batch": self.batch, "shards": self.shards, "progress": self.progress}
        if self.cache is None or self.real.key is None or key_of(want.detector) is None:
            return collect(self.real, [want], **options)[0]
        return self.cache.features(
            self.real.key, want.detector, want.count, lambda: collect(self.real, [want], **options)[0], self.shards
        )

    def fakes(self, detector: Detector, count: int) -> FeatureSet:
        return next(found for want, found in self._fakes if want.detector is detector).first(count)

    def reals(self, detector: Detector, count: int) -> FeatureSet:
        return next(found for want, found in self._reals if want.detector is detector).first(count)


def _largest(wanted: Sequence[tuple[Detector, int]]) -> list[Wanted]:
    """Each detector once, with the largest of its counts."""
    largest: list[Wanted] = []
    for detector, count in wanted:
        known = next((i for i, one in enumerate(largest) if one.detector is detector), None)
        if known is None:
            largest.append(Wanted(detector, count))
        elif largest[known].count < count:
            largest[known] = Wanted(detector, count)
    return largest


def _measure_one(request: Request, detector: Detector, passes: _Passes, seed: int, per_class: bool) -> Measurement:
    started = time.monotonic()
    num_real, classes, before = None, None, passes.seconds
    if isinstance(request, PathLengthRequest):
        before = 0.0
        lengths = path_lengths(request, passes.fake, detector, passes.batch, passes.shards, passes.progress)
        results = score_paths(request, lengths)
    else:
        fakes, reals = passes.fakes(detector, request.num_fake), None
        if isinstance(request, ComparedRequest):
            num_real = real_count(request, passes.real)
            reals = passes.reals(detector, num_real)
        results = score_features(
            request, reals and reals.values, fakes.values, seed, passes.device, passes.shards, passes.progress
        )
        if per_class and passes.fake.class_names:
            names = passes.fake.class_names
            classes = {name: _of_class(request, reals, fakes, i, seed, passes) for i, name in enumerate(names)}
    return Measurement(
        metric=request.name, results=results, num_real=num_real, num_fake=request.num_fake,
        detectors={name_of(detector): key_of(detector)}, seed=seed,
        seconds=before + time.monotonic() - started, per_class=classes,
    )  # fmt: skip


def _of_class(
    request: Request, reals: FeatureSet | None, fakes: FeatureSet, index: int, seed: int, passes: _Passes
) -> ClassResults:
    fake = fakes.of_class(index)
    real = reals.of_class(index) if reals is not None else None
    least = {"fake": (len(fake), max(request.min_fake, MIN_CLASS_IMAGES))}
    if real is not None:
        least["real"] = (len(real), max(request.min_real, MIN_CLASS_IMAGES))
    num_real = None if real is None else len(real)
    for kind, (count, minimum) in least.items():
        if count < minimum:
            return ClassResults(None, num_real, len(fake), f"{count} {kind} images, at least {minimum} are needed")
    return ClassResults(
        score_features(request, real, fake, seed, passes.device, passes.shards, passes.progress), num_real, len(fake)
    )  # fmt: skip

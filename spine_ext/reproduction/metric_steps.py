"""Steps that compare images: every snapshot of a GAN with the training images, and these with the test images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stylegan2ada.checkpoint import load
from stylegan2ada.dataset_chunks import DatasetImages
from stylegan2ada.generated_images import GeneratedImages

from ..classifier import load_classifier
from ..downstream.run import CLASSIFIER
from ..measuring.classifier_detector import ClassifierDetector
from .classifier_steps import JUDGE_CLASSIFIER
from .gan_steps import ABLATION, Bench, Variant, gan_name
from .materials import DataFiles
from .preset import OWN, Preset
from .steps import Outcome, Step, StepPlace

SEED = 0
JUDGE_NOTE = (
    "features of a classifier trained on phantoms that no network and no test saw; not Inception: compare within this "
    "table only"
)


class Measured(NamedTuple):
    """Numbers by their official names, and the SHA-256 of each detector by its name."""

    numbers: dict[str, float]
    detectors: dict[str, str | None]


Measure = Callable[[Sequence[str], Any, Any, Any], Measured]
"""(metrics, real images, fake images, detector or None: the one that the user named) -> the numbers."""


@dataclass(frozen=True)
class MetricNames:
    """The metrics of a preset: every snapshot gets the first ones, the last snapshot all."""

    frechet: str
    precision_recall: str
    kernel: str
    density_coverage: str

    @property
    def at_snapshots(self) -> tuple[str, ...]:
        return (self.frechet, self.precision_recall, self.density_coverage)

    @property
    def at_end(self) -> tuple[str, ...]:
        return (*self.at_snapshots, self.kernel)

    def point(self, kimg: float | None, results: dict[str, float]) -> dict[str, float | None]:
        """Numbers by the names of the tables; what was not measured is left out."""
        source = {
            "fid": self.frechet, "kid": self.kernel,
            "precision": f"{self.precision_recall}_precision", "recall": f"{self.precision_recall}_recall",
            "density": f"{self.density_coverage}_density", "coverage": f"{self.density_coverage}_coverage",
        }  # fmt: skip
        return {"kimg": kimg} | {name: results[key] for name, key in source.items() if key in results}


def metric_names(count: int) -> MetricNames:
    return MetricNames(f"fid{count}_full", f"pr{count}3_full", f"kid{count}_full", f"dc{count}5_full")


def metrics_step(variant: Variant, seed: int, preset: Preset, files: DataFiles, bench: Bench, measure: Measure) -> Step:
    names = metric_names(preset.measured_images)

    def work(place: StepPlace) -> Outcome:
        detector = _judge(place, preset, bench)
        reals = DatasetImages(files.training_set)
        snapshots = place.results[gan_name(variant, seed)]["snapshots"]
        series: list[dict[str, float | None]] = []
        for snapshot in snapshots:
            network = load(place.folders[gan_name(variant, seed)] / snapshot["file"])
            G = network.generator.to(bench.device)
            fakes = GeneratedImages(G, SEED, files.training_set.labels, network.class_names)
            wanted = names.at_end if snapshot is snapshots[-1] else names.at_snapshots
            found = measure(wanted, reals, fakes, detector)
            series.append(names.point(snapshot["kimg"], found.numbers))
            place.log(f"  {variant.name}, seed {seed}, {_text(series[-1])}")
        result = {"variant": variant.name, "seed": seed, "num_fake": preset.measured_images}
        return Outcome(result | _about(found, preset, files) | {"series": series})

    needs = ("data", gan_name(variant, seed), *_judges(preset))
    snapshots = 1 if variant.name == ABLATION.name else preset.num_snapshots
    images = 2 * preset.measured_images * snapshots
    return Step(f"metrics-{variant.name}-seed{seed}", "metrics", _settings(preset), work, needs, images)


def real_metrics_step(preset: Preset, files: DataFiles, bench: Bench, measure: Measure) -> Step:
    """Test images in the place of the fakes: what a perfect generator would reach."""

    def work(place: StepPlace) -> Outcome:
        detector = _judge(place, preset, bench)
        count = min(preset.measured_images, len(files.test_set))
        names = metric_names(count)
        found = measure(names.at_end, DatasetImages(files.training_set), DatasetImages(files.test_set), detector)
        result = {"variant": "real", "seed": None, "num_fake": count}
        return Outcome(result | _about(found, preset, files) | {"series": [names.point(None, found.numbers)]})

    needs = ("data", *_judges(preset))
    return Step("metrics-real", "metrics", _settings(preset), work, needs, 2 * preset.measured_images)


def _judges(preset: Preset) -> tuple[str, ...]:
    return (JUDGE_CLASSIFIER,) if preset.detector == OWN else ()


def _judge(place: StepPlace, preset: Preset, bench: Bench) -> ClassifierDetector | None:
    if preset.detector != OWN:
        return None
    return ClassifierDetector(load_classifier(place.folders[JUDGE_CLASSIFIER] / CLASSIFIER, bench.device))


def _settings(preset: Preset) -> dict:
    return {"detector": preset.detector, "images": preset.measured_images, "seed": SEED}


def _about(found: Measured, preset: Preset, files: DataFiles) -> dict:
    described = {
        "name": ", ".join(found.detectors),
        "sha256": ", ".join(digest or "?" for digest in found.detectors.values()),
        "note": JUDGE_NOTE if preset.detector == OWN else f"--detector {preset.detector}",
    }
    return {"detector": described, "num_real": len(files.training_set)}


def _text(point: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in point.items() if value is not None)

"""Several metrics in one pass, against their values from plain evaluations of the same pixels."""

import numpy as np
import pytest
import scipy.linalg
import torch

from metrics.density_coverage import density_coverage
from metrics.detectors import Detectors, one_detector
from metrics.errors import MetricError
from metrics.inception_score import inception_score
from metrics.kid import kernel_distance
from metrics.measure import measure
from metrics.precision_recall import precision_recall
from stylegan2ada.generated_images import GeneratedImages
from stylegan2ada.generator import Generator
from tests.metrics.toy_sources import PixelDetector, ToyPaths, ToySource, in_threads

ALL = ("fid150_full", "kid100_full", "pr1503_full", "dc1005_full", "fid100")


def plain_frechet(a: np.ndarray, b: np.ndarray) -> float:
    covariances = [np.cov(x, rowvar=False, bias=True) for x in (a, b)]
    shift = a.mean(axis=0) - b.mean(axis=0)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return float(shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root))


def softmax_detector(images: torch.Tensor) -> torch.Tensor:
    return torch.softmax(images[:, 0].flatten(1).float() / 40, dim=1)


def test_values_are_those_of_the_features():
    real, fake = ToySource(130, seed=1), ToySource(None, seed=2)
    found = {one.metric: one for one in measure(ALL, real, fake, one_detector(PixelDetector()), seed=4)}
    assert list(found) == list(ALL)
    a, b = real.all_pixels(130), fake.all_pixels(150)
    values = {key: value for one in found.values() for key, value in one.results.items()}
    assert values == pytest.approx(
        {
            "fid150_full": plain_frechet(a, b),
            "fid100": plain_frechet(a, b[:100]),
            "kid100_full": kernel_distance(a, b[:100], seed=4),
            "pr1503_full_precision": precision_recall(a, b, 3).precision,
            "pr1503_full_recall": precision_recall(a, b, 3).recall,
            "dc1005_full_density": density_coverage(a, b[:100], 5).density,
            "dc1005_full_coverage": density_coverage(a, b[:100], 5).coverage,
        },
        rel=1e-6,
    )
    one = found["fid100"]
    assert (one.num_real, one.num_fake, one.seed, one.per_class) == (130, 100, 4, None)
    assert one.detectors == {"pixels": "0" * 64}
    assert one.seconds > 0


def test_one_pass_over_each_set_of_images():
    real, fake, detector = ToySource(130), ToySource(None), PixelDetector()
    measure(ALL, real, fake, one_detector(detector), seed=0)
    assert (real.chunks, fake.chunks) == ([0, 1, 2], [0, 1, 2])
    assert sum(detector.batches) == 130 + 150


def test_inception_score_needs_no_real_images():
    fake = ToySource(None)
    found = measure(["is60"], None, fake, Detectors(probabilities=softmax_detector), seed=0)[0]
    expected = inception_score(torch.softmax(torch.from_numpy(fake.all_pixels(60)).float() / 40, dim=1).numpy())
    assert found.results == pytest.approx({"is60_mean": expected.mean, "is60_std": expected.std})
    assert (found.num_real, found.detectors) == (None, {"softmax_detector": None})


def test_path_lengths():
    """Of path i the length is 3 * 4 * (i + 1)^2 by construction."""
    perceptual = Detectors(perceptual=lambda images: images.flatten(1))

    def measured(**options):
        (found,) = measure(["ppl2_wend_100"], None, ToyPaths(None), perceptual, seed=0, **options)
        return found

    expected = (12.0 * np.arange(1, 101) ** 2)[0:100].mean()  # of 100, the 1st and 99th percentile leave none out
    assert measured().num_fake == 100
    assert measured().results["ppl2_wend_100"] == pytest.approx(expected)
    for found in in_threads(3, lambda shards: measured(shards=shards)):
        assert found.results == pytest.approx(measured().results)


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("sampling", ["full", "end"])
def test_path_lengths_of_a_generator_do_not_depend_on_its_batch(space, sampling):
    G = Generator(8, 2, 16, 16, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_base": 256})
    name = f"ppl2_{space}{sampling}_70"

    def measured(batch):
        source = GeneratedImages(G, 3, np.eye(2, dtype=np.float32), batch=batch)
        detectors = Detectors(perceptual=lambda images: images.flatten(1))
        (found,) = measure([name], None, source, detectors, seed=0, batch=batch)
        return found.results[name]

    assert measured(16) > 0
    assert measured(64) == pytest.approx(measured(16), rel=0.02)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_give_the_numbers_of_one(world_size):
    def numbers(**options):
        found = measure(
            [*ALL, "is100"], ToySource(300, 1), ToySource(None, 2),
            Detectors(PixelDetector(), PixelDetector(), softmax_detector), seed=0, per_class=True, **options,
        )  # fmt: skip
        return [(one.results, one.per_class) for one in found]

    alone = numbers()
    for found in in_threads(world_size, lambda shards: numbers(shards=shards)):
        assert found == alone
    assert numbers(batch=9) == alone


class TestClasses:
    def test_values_are_those_of_the_class(self):
        real, fake = ToySource(130, 1), ToySource(None, 2)
        found = measure(["fid90_full", "pr903_full"], real, fake, one_detector(PixelDetector()), seed=0, per_class=True)
        a, b = real.all_pixels(130), fake.all_pixels(90)
        assert list(found[0].per_class) == ["a", "b", "c"]
        one = found[0].per_class["b"]
        assert (one.num_real, one.num_fake, one.reason) == (43, 30, None)
        assert one.results["fid90_full"] == pytest.approx(plain_frechet(a[1::3], b[1::3]), rel=1e-5)
        expected = precision_recall(a[2::3], b[2::3], 3)
        assert found[1].per_class["c"].results == pytest.approx(
            {"pr903_full_precision": expected.precision, "pr903_full_recall": expected.recall}
        )

    @pytest.mark.parametrize(
        ("reals", "fakes", "reason"),
        [(130, 20, "6 fake images, at least 10 are needed"), (26, 90, "8 real images, at least 10 are needed")],
    )
    def test_too_few_images_give_no_value_but_a_reason(self, reals, fakes, reason):
        found = measure(
            [f"fid{fakes}_full"],
            ToySource(reals),
            ToySource(None),
            one_detector(PixelDetector()),
            seed=0,
            per_class=True,
        )[0]
        assert found.per_class["c"].results is None
        assert found.per_class["c"].reason == reason
        assert found.results[f"fid{fakes}_full"] >= 0


class TestMistakes:
    @pytest.mark.parametrize(
        ("names", "real", "fake", "message"),
        [
            (["fid50k_full"], ToySource(9), ToySource(640), "toy0 has 640 images, fewer than .* ask for fid640_full"),
            (["pr50k3"], ToySource(9), ToySource(3), "fewer than the 50000 of pr50k3: add images"),
            (["pr643_full"], ToySource(3), ToySource(None), "pr643_full: 3 real images in toy0 are too few"),
            (["fid64_full"], None, ToySource(None), "fid64_full compares with real images"),
            (["fid64_full"], ToySource(None), ToySource(None), "toy0 is endless"),
            (["ppl2_wend"], None, ToySource(64), "ppl2_wend needs a generator, and toy0 is a set of images"),
            (["is64"], None, ToySource(64), "is64: its detector has to give probabilities"),
            (["fid64_full", "pid"], ToySource(9), ToySource(64), "no metric 'pid'"),
        ],
    )  # fmt: skip
    def test_raise_before_any_image_is_made(self, names, real, fake, message):
        fake.chunks.clear()
        with pytest.raises(MetricError, match=message):
            measure(names, real, fake, one_detector(PixelDetector()), seed=0)
        assert fake.chunks == []

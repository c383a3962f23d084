"""Features of a source's first images: the same whatever the batch and the number of processes."""

import numpy as np
import pytest
import torch

from metrics.collect import Wanted, collect
from metrics.errors import MetricError
from tests.metrics.toy_sources import PixelDetector, ToySource, in_threads


def test_rows_are_the_first_images_in_order():
    source = ToySource(None, seed=3)
    found = collect(source, [Wanted(PixelDetector(), 150)])[0]
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, source.all_pixels(150))
    np.testing.assert_array_equal(found.classes, np.arange(150) % 3)
    np.testing.assert_array_equal(found.of_class(1), found.values[1::3])
    assert len(found.first(7).values) == len(found.first(7).classes) == 7


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_batch_changes_nothing(batch):
    detector = PixelDetector()
    found = collect(ToySource(100), [Wanted(detector, 100)], batch=batch)[0]
    np.testing.assert_array_equal(found.values, ToySource(100).all_pixels(100))
    assert max(detector.batches) == min(batch, 64)


def test_every_chunk_is_made_once_for_all_detectors_and_each_sees_only_what_it_needs():
    source, few, many = ToySource(None), PixelDetector(), PixelDetector()
    first, second = collect(source, [Wanted(few, 70), Wanted(many, 200)])
    assert source.chunks == [0, 1, 2, 3]
    assert (sum(few.batches), sum(many.batches)) == (70, 200)
    np.testing.assert_array_equal(first.values, second.values[:70])


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("counts", [(200, 30), (64, 129), (10, 10)])
def test_processes_share_the_chunks(world_size, counts):
    """Also when there are fewer chunks than processes."""
    made = []

    def work(shards):
        source = ToySource(None)
        found = collect(source, [Wanted(PixelDetector(), count) for count in counts], shards=shards)
        made.extend(source.chunks if shards.rank < -(-max(counts) // 64) else [])
        return found

    for found in in_threads(world_size, work):
        for one, count in zip(found, counts, strict=True):
            np.testing.assert_array_equal(one.values, ToySource(None).all_pixels(count))
            np.testing.assert_array_equal(one.classes, np.arange(count) % 3)
    assert sorted(made) == list(range(-(-max(counts) // 64)))


def test_progress_ends_at_the_number_of_images():
    seen = []
    collect(ToySource(None), [Wanted(PixelDetector(), 100)], progress=lambda *_: lambda *counts: seen.append(counts))
    assert seen == [(64, 100), (100, 100)]


def nan_of_one(images: torch.Tensor) -> torch.Tensor:
    features = images[:, 0].flatten(1).float()
    features[5, 2] = float("nan")
    return features


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (nan_of_one, "nan_of_one gives NaN or Inf for image 5 of toy0"),
        (lambda x: x.float(), "gives features of shape .64, 3, 4, 4. for 64 images, not .N,D."),
        (lambda x: x[:1].flatten(1).float(), "gives features of shape .1, 48. for 64 images"),
    ],
)
def test_unusable_features_raise(detector, message):
    with pytest.raises(MetricError, match=message):
        collect(ToySource(None), [Wanted(detector, 64)])


def test_nan_in_one_process_raises_in_all():
    def work(shards):
        with pytest.raises(MetricError, match="for image 69"):
            collect(ToySource(None), [Wanted(nan_of_one if shards.rank else PixelDetector(), 128)], shards=shards)

    in_threads(2, work)


def test_too_few_images_raise():
    with pytest.raises(MetricError, match="toy0 has 99 images, 100 are asked for"):
        collect(ToySource(99), [Wanted(PixelDetector(), 100)])


def test_a_source_that_has_less_than_it_says_raises():
    source = ToySource(70)
    source.num_images = 128
    source.chunk = lambda index: ToySource(70).chunk(0) if index == 0 else ToySource(70).chunk(1)
    with pytest.raises(MetricError, match="more images than its chunks hold"):
        collect(source, [Wanted(PixelDetector(), 128)])

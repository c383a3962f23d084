"""Kept features: the same as computed ones, and computed again whenever something is wrong with them."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from metrics.collect import FeatureSet
from metrics.feature_cache import FeatureCache
from metrics.shards import ALONE
from tests.metrics.toy_sources import PixelDetector, in_threads

FOUND = FeatureSet(np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6) % 2)


class Computing:
    def __init__(self, found: FeatureSet = FOUND):
        self.found, self.times = found, 0

    def __call__(self) -> FeatureSet:
        self.times += 1
        return self.found


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> FeatureCache:
    return FeatureCache(tmp_path / "features", said.append)


def get(cache: FeatureCache, compute: Computing, source: str = "set", count: int = 6, shards=ALONE) -> FeatureSet:
    return cache.features(source, PixelDetector(), count, compute, shards)


def the_file(cache: FeatureCache) -> Path:
    (path,) = cache.folder.iterdir()
    return path


def test_computed_once(cache, said):
    compute = Computing()
    for _ in range(3):
        found = get(cache, compute)
        np.testing.assert_array_equal(found.values, FOUND.values)
        np.testing.assert_array_equal(found.classes, FOUND.classes)
        assert found.values.dtype == np.float32
    assert compute.times == 1
    assert said == []


def test_other_images_detectors_and_counts_are_kept_apart(cache):
    compute = Computing()
    get(cache, compute)
    get(cache, compute, source="other set")
    get(cache, Computing(FOUND.first(5)), count=5)
    other = PixelDetector()
    other.sha256 = "1" * 64
    cache.features("set", other, 6, compute, ALONE)
    other = PixelDetector()
    other.name = "another result of the same file"
    cache.features("set", other, 6, compute, ALONE)
    assert compute.times == 4
    assert len(list(cache.folder.iterdir())) == 5


def test_processes_agree_to_compute_where_one_lacks_the_file(cache):
    """Who has the features would wait for those who have not."""

    def work(shards):
        own = FeatureCache(cache.folder / str(shards.rank), print)
        compute = Computing()
        if shards.rank == 0:
            get(own, Computing())
        get(own, compute, shards=shards)
        return compute.times

    assert in_threads(2, work) == [1, 1]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # of the numbers, which stand at the end
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def another_origin(path: Path) -> None:
    """What a key that collides, or a file that somebody renamed, would bring."""
    header = {"origin": {"format": 1, "source": "x"}, "sha256": "0" * 64}
    safetensors.numpy.save_file(FOUND._asdict(), path, {"features": json.dumps(header)})


def other_tensors(path: Path) -> None:
    safetensors.numpy.save_file({"values": FOUND.values}, path)


def a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap(path.with_name("executed"))))


class Trap:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "damage", [flip_a_byte, cut, another_origin, other_tensors, a_pickle, lambda path: path.write_bytes(b"")]
)
def test_damaged_or_foreign_files_are_computed_again_and_told(cache, said, damage):
    get(cache, Computing())
    damage(the_file(cache))
    compute = Computing()
    np.testing.assert_array_equal(get(cache, compute).values, FOUND.values)
    assert compute.times == 1
    assert len(said) == 1
    assert "are unusable" in said[0]
    assert "computed again" in said[0]
    assert not (cache.folder / "executed").exists()
    get(cache, compute)
    assert compute.times == 1  # the file is whole again
    assert len(said) == 1


def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(tmp_path, said):
    (tmp_path / "file").write_text("in the way")
    found = get(FeatureCache(tmp_path / "file" / "features", said.append), Computing())
    np.testing.assert_array_equal(found.values, FOUND.values)
    assert len(said) == 1
    assert "not kept" in said[0]


def test_no_half_of_a_file_is_left_when_writing_fails(cache, said, monkeypatch):
    def fail(tensors, path, header):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    get(cache, Computing())
    assert list(cache.folder.iterdir()) == []
    assert "No space left" in said[0]

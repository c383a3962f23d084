"""ImageDataset on good and bad files; EndlessSampler's promises."""

import io
import itertools
import json
import multiprocessing
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import PIL.Image
import pytest

from stylegan2ada.dataset import EndlessSampler, ImageDataset
from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.errors import UserError


def some_pixels(seed: int, shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape, dtype=np.uint8)


def encoded(pixels: np.ndarray, image_format: str = "PNG", mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, format=image_format)
    return buffer.getvalue()


def make(path: Path, files: dict[str, bytes | np.ndarray], index: object = None) -> Path:
    """A zip or folder with exactly these files, however wrong."""
    contents = {name: encoded(data) if isinstance(data, np.ndarray) else data for name, data in files.items()}
    if index is not None:
        contents["dataset.json"] = index if isinstance(index, bytes) else json.dumps(index).encode()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
        return path
    for name, data in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.fixture(params=["set.zip", "set"])
def written(request, tmp_path) -> Path:
    """Ten grey 8x8 images; classes 0, 1, 2, 0, 1, 2, ..."""
    path = tmp_path / request.param
    with DatasetWriter(path, classes=["normal", "implant", "collapse"]) as writer:
        for i in range(10):
            writer.add(some_pixels(i), i % 3)
    return path


class TestGroups:
    def test_they_follow_the_images_that_are_kept(self, tmp_path):
        with DatasetWriter(tmp_path / "set.zip") as writer:
            for index in range(10):
                writer.add(some_pixels(index), index % 2, group=index // 3)
        assert ImageDataset(tmp_path / "set.zip").groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
        kept = ImageDataset(tmp_path / "set.zip", max_size=4, mirror=True, seed=1)
        numbers = [int(name[-8:-4]) // 3 for name in kept.image_names]
        assert kept.groups.tolist() == numbers
        assert numbers[:4] == numbers[4:]

    def test_they_stand_in_the_order_of_the_labels(self, tmp_path):
        files = {"a.png": some_pixels(0), "b.png": some_pixels(1)}
        make(tmp_path / "set.zip", files, {"labels": [["b.png", 0], ["a.png", 1]], "groups": [7, 2]})
        assert ImageDataset(tmp_path / "set.zip", use_labels=True).groups.tolist() == [2, 7]
        make(tmp_path / "other.zip", files, {"labels": None, "groups": [7, 2]})
        assert ImageDataset(tmp_path / "other.zip").groups.tolist() == [7, 2]

    def test_without_them_there_are_none_and_they_change_no_fingerprint(self, tmp_path):
        for name, group in {"with.zip": 3, "without.zip": None}.items():
            with DatasetWriter(tmp_path / name) as writer:
                writer.add(some_pixels(0), 1, group=group)
        old, new = (ImageDataset(tmp_path / name, use_labels=True) for name in ("without.zip", "with.zip"))
        assert old.groups is None
        assert ImageDataset(make(tmp_path / "bare.zip", {"a.png": some_pixels(0)})).groups is None
        assert old.fingerprint() == new.fingerprint()

    @pytest.mark.parametrize(
        "groups", [[1], [1, 2, 3], [1, -1], [1, 1.5], [1, True], [1, None], "ab", {"a": 1}, [1, 2**40]]
    )
    def test_others_raise(self, tmp_path, groups):
        files = {"a.png": some_pixels(0), "b.png": some_pixels(1)}
        make(tmp_path / "set.zip", files, {"labels": None, "groups": groups})
        with pytest.raises(UserError, match=r"'groups' of dataset.json in .*set.zip .*make the dataset again"):
            _ = ImageDataset(tmp_path / "set.zip").groups


class TestReading:
    def test_attributes(self, written):
        dataset = ImageDataset(written, use_labels=True)
        assert dataset.name == "set"
        assert (len(dataset), dataset.resolution, dataset.num_channels, dataset.label_dim) == (10, 8, 1, 3)
        assert dataset.class_names == ("normal", "implant", "collapse")
        assert dataset.labels.dtype == np.float32
        np.testing.assert_array_equal(dataset.labels, np.eye(3)[np.arange(10) % 3])

    def test_items(self, written):
        dataset = ImageDataset(written, resolution=8, use_labels=True)
        for i in range(10):
            pixels, label = dataset[i]
            assert (pixels.dtype, label.dtype) == (np.uint8, np.float32)
            np.testing.assert_array_equal(pixels, some_pixels(i)[np.newaxis])
            np.testing.assert_array_equal(label, np.eye(3)[i % 3])

    def test_iteration_ends(self, written):
        assert len(list(ImageDataset(written))) == 10

    def test_without_labels(self, written):
        dataset = ImageDataset(written)
        assert (dataset.label_dim, dataset.class_names, dataset.labels.shape) == (0, None, (10, 0))
        assert dataset[0][1].shape == (0,)

    def test_color(self, tmp_path):
        path = make(tmp_path / "set.zip", {"a.png": some_pixels(0, (8, 8, 3))})
        dataset = ImageDataset(path)
        assert dataset.num_channels == 3
        np.testing.assert_array_equal(dataset[0][0], some_pixels(0, (8, 8, 3)).transpose(2, 0, 1))

    def test_other_formats_and_stray_files(self, tmp_path):
        files = {
            "deep/er/b.JPG": encoded(some_pixels(0), "JPEG"),
            "a.bmp": encoded(some_pixels(1), "BMP"),
            "c.tif": encoded(some_pixels(2), "TIFF"),
            "__MACOSX/._a.png": b"not an image",
            ".hidden.png": b"not an image",
            "readme.txt": b"hello",
        }
        for place in (tmp_path / "set.zip", tmp_path / "set"):
            dataset = ImageDataset(make(place, files))
            assert len(dataset) == 3
            np.testing.assert_array_equal(dataset[0][0][0], some_pixels(1))

    def test_classes_without_names_count_to_the_largest(self, tmp_path):
        files = {"a.png": some_pixels(0), "b.png": some_pixels(1)}
        path = make(tmp_path / "set.zip", files, {"labels": [["a.png", 4], ["b.png", 0]]})
        dataset = ImageDataset(path, use_labels=True, max_size=1, seed=1)
        assert (dataset.label_dim, dataset.class_names, dataset.labels.shape) == (5, None, (1, 5))

    def test_vector_labels_stay_as_they_are(self, tmp_path):
        files = {"a.png": some_pixels(0), "b.png": some_pixels(1)}
        path = make(tmp_path / "set.zip", files, {"labels": [["b.png", [0.5, -1]], ["a.png", [0.25, 3]]]})
        dataset = ImageDataset(path, use_labels=True)
        np.testing.assert_array_equal(dataset.labels, np.float32([[0.25, 3], [0.5, -1]]))
        assert dataset.labels.dtype == np.float32

    def test_windows_separators_in_the_index(self, tmp_path):
        path = make(tmp_path / "set.zip", {"a/b.png": some_pixels(0)}, {"labels": [["a\\b.png", 0]]})
        assert ImageDataset(path, use_labels=True).label_dim == 1


class TestSubsetAndMirror:
    def test_subset_is_drawn_with_the_seed(self, written):
        whole = ImageDataset(written, use_labels=True)
        subsets = []
        for seed in range(20):
            dataset = ImageDataset(written, use_labels=True, max_size=4, seed=seed)
            found = [next(i for i in range(10) if np.array_equal(whole[i][0], pixels)) for pixels, _ in dataset]
            assert found == sorted(set(found))
            np.testing.assert_array_equal(dataset.labels, whole.labels[found])
            assert dataset.label_dim == 3
            subsets.append(tuple(found))
        assert len(set(subsets)) > 10
        assert set(itertools.chain(*subsets)) == set(range(10))

    def test_mirror_appends_flipped_copies_of_what_is_kept(self, written):
        plain = ImageDataset(written, use_labels=True, max_size=4, seed=3)
        mirrored = ImageDataset(written, use_labels=True, max_size=4, seed=3, mirror=True)
        assert len(mirrored) == 8
        np.testing.assert_array_equal(mirrored.labels, np.concatenate([plain.labels, plain.labels]))
        for i in range(4):
            np.testing.assert_array_equal(mirrored[i][0], plain[i][0])
            np.testing.assert_array_equal(mirrored[i + 4][0], plain[i][0][:, :, ::-1])
            np.testing.assert_array_equal(mirrored[i + 4][1], plain[i][1])

    @pytest.mark.parametrize("max_size", [0, -1, 11])
    def test_impossible_subset_raises(self, written, max_size):
        with pytest.raises(UserError, match=f"cannot take {max_size} images .* has 10"):
            ImageDataset(written, max_size=max_size)


class TestProcesses:
    def test_pickled_copy_reads_the_same(self, written):
        dataset = ImageDataset(written, use_labels=True)
        copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 (our own bytes)
        np.testing.assert_array_equal(copy[7][0], dataset[7][0])

    def test_forked_readers_do_not_disturb_each_other(self, tmp_path):
        path = tmp_path / "set.zip"
        with DatasetWriter(path) as writer:
            for i in range(16):
                writer.add(some_pixels(i, (64, 64)))
        dataset = ImageDataset(path)
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=_read_often, args=(dataset,)) for _ in range(3)]
        for child in children:
            child.start()
        _read_often(dataset)
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0, 0]


def _read_often(dataset: ImageDataset) -> None:
    for _ in range(20):
        for i in range(len(dataset)):
            np.testing.assert_array_equal(dataset[i][0][0], some_pixels(i, (64, 64)))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header promises this size and whose data is a stub."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["set.zip", "set"])
class TestBadImages:
    @pytest.mark.parametrize(
        ("bad", "match"),
        [
            ({"b.png": some_pixels(1, (16, 16))}, r"b.png .* has 16x16 pixels in 1 channel, the first"),
            ({"b.png": some_pixels(1, (8, 8, 3))}, r"b.png .* has 8x8 pixels in 3 channels, the first"),
            ({"b.png": encoded(some_pixels(1, (8, 8, 4)))}, r"b.png .* mode RGBA: convert"),
            ({"b.png": encoded(some_pixels(1), mode="P")}, r"b.png .* mode P: convert"),
            ({"b.png": encoded(some_pixels(1), mode="1")}, r"b.png .* mode 1: convert"),
            ({"b.png": encoded(some_pixels(1).astype(np.uint16) * 257)}, r"b.png .* mode I"),
            ({"b.jpg": encoded(some_pixels(1, (8, 8, 3)), "JPEG", "CMYK")}, r"b.jpg .* mode CMYK"),
            ({"b.png": b"not an image"}, r"cannot read b.png .* as PNG"),
            ({"b.png": b""}, r"cannot read b.png"),
            ({"b.png": encoded(some_pixels(1), "JPEG")}, r"cannot read b.png .* as PNG"),
            ({"b.png": png_claiming(8192, 8192)}, r"b.png .* too large \(8192x8192 pixels\): at most 4096"),
            ({"b.png": png_claiming(60000, 60000)}, r"b.png .* too large"),
        ],
    )
    def test_bad_second_image_raises_on_opening(self, tmp_path, name, bad, match):
        path = make(tmp_path / name, {"a.png": some_pixels(0), **bad})
        with pytest.raises(UserError, match=match) as caught:
            ImageDataset(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize(
        ("shape", "match"), [((8, 16), "16x8 pixels: .* square"), ((24, 24), "power of two.* 32x32"), ((2, 2), "4x4")]
    )
    def test_unusable_size_raises(self, tmp_path, name, shape, match):
        path = make(tmp_path / name, {"a.png": some_pixels(0, shape)})
        with pytest.raises(UserError, match=match):
            ImageDataset(path)

    @pytest.mark.parametrize("broken", [encoded(some_pixels(1, (64, 64)))[:2000], png_claiming(64, 64)])
    def test_broken_data_raises_when_read(self, tmp_path, name, broken):
        dataset = ImageDataset(make(tmp_path / name, {"a.png": some_pixels(0, (64, 64)), "b.png": broken}))
        dataset[0]
        with pytest.raises(UserError, match=r"cannot read b.png"):
            dataset[1]

    def test_no_images_raises(self, tmp_path, name):
        path = make(tmp_path / name, {"readme.txt": b"hello"})
        with pytest.raises(UserError, match="holds no images"):
            ImageDataset(path)

    def test_other_resolution_raises(self, tmp_path, name):
        path = make(tmp_path / name, {"a.png": some_pixels(0)})
        with pytest.raises(UserError, match="8 pixels a side, not 16"):
            ImageDataset(path, resolution=16)


class TestBadFiles:
    def test_missing_path_raises(self, tmp_path):
        with pytest.raises(UserError, match="does not exist"):
            ImageDataset(tmp_path / "missing.zip")

    def test_other_file_raises(self, tmp_path):
        (tmp_path / "set.zip").write_text("no zip")
        with pytest.raises(UserError, match="neither a folder nor a zip"):
            ImageDataset(tmp_path / "set.zip")

    def test_zip_cut_short_raises(self, written):
        if written.is_dir():
            pytest.skip("about zips")
        data = written.read_bytes()
        written.write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match=r"neither a folder nor a zip|broken zip"):
            ImageDataset(written)

    def test_zip_with_a_wrecked_member_raises(self, tmp_path):
        path = make(tmp_path / "set.zip", {"a.png": some_pixels(0, (64, 64))})
        data = bytearray(path.read_bytes())
        data[60:2000] = bytes(1940)
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"a\.png"):
            ImageDataset(path)[0]

    def test_zip_with_a_password_raises(self, tmp_path):
        path = make(tmp_path / "set.zip", {"a.png": some_pixels(0)})
        data = bytearray(path.read_bytes())
        data[6] |= 1
        data[data.rindex(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"a\.png .*(encrypted|password)"):
            ImageDataset(path)

    def test_zip_bomb_raises_before_it_unpacks(self, tmp_path):
        path = make(tmp_path / "set.zip", {"a.png": bytes(101 * 2**20)})
        assert path.stat().st_size < 2**20
        with pytest.raises(UserError, match=r"a.png .* unpacks to 105,906,176 bytes"):
            ImageDataset(path)


class TestBadLabels:
    FILES = {"a.png": some_pixels(0), "b.png": some_pixels(1)}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("index", "match"),
        [
            (None, "no dataset.json at its top"),
            ({"labels": None}, "has no labels"),
            ({}, "has no labels"),
            ([], "must hold a JSON object"),
            (b"{", "not valid JSON"),
            (b"\xff\xfe", "cannot read dataset.json"),
            (b"[" * 100_000, "not valid JSON"),
            ({"labels": {"a.png": 0}}, "must be a list"),
            ({"labels": [["a.png"], ["b.png", 1]]}, r'has the label \["a.png"\]'),
            ({"labels": [["a.png", 0]]}, "1 of 2 images have no label .*, such as b.png"),
            ({"labels": [["a.png", 0], ["b.png", 1], ["c.png", 1]]}, "labels 1 images .* such as c.png"),
            ({"labels": [["a.png", 0], ["a.png", 1], ["b.png", 1]]}, "labels a.png twice"),
            ({"labels": [["a.png", 0], ["b.png", -1]]}, "has the label -1"),
            ({"labels": [["a.png", 0], ["b.png", 10**9]]}, "has the label 1000000000"),
            ({"labels": [["a.png", 0], ["b.png", 2]], "classes": ["x", "y"]}, "has the label 2: .* 0 to 1"),
            ({"labels": [["a.png", 0], ["b.png", True]]}, "has the label"),
            ({"labels": [["a.png", 0], ["b.png", 1.0]]}, "has the label"),
            ({"labels": [["a.png", 0], ["b.png", [1.0]]]}, "has the label 0"),
            ({"labels": [["a.png", [0, 1]], ["b.png", [1]]]}, r"has the label \[1\]"),
            ({"labels": [["a.png", []], ["b.png", []]]}, r"has the label \[\]"),
            ({"labels": [["a.png", [0]], ["b.png", [float("nan")]]]}, r"has the label \[NaN\]"),
            ({"labels": [["a.png", [0]], ["b.png", [10**400]]]}, r"has the label \[1000"),
            ({"labels": [["a.png", [0]], ["b.png", [1e300]]]}, r"has the label \[1e\+300\]"),
            ({"labels": [["a.png", "x"], ["b.png", "y"]]}, 'has the label "x"'),
            ({"labels": [["a.png", [0]], ["b.png", [1]]], "classes": ["x", "y"]}, "names 2 classes"),
            ({"labels": [["a.png", 0], ["b.png", 1]], "classes": "xy"}, "must be a list of names"),
        ],
    )
    def test_raises_naming_the_place(self, tmp_path, index, match):
        path = make(tmp_path / "set.zip", self.FILES, index)
        with pytest.raises(UserError, match=match) as caught:
            ImageDataset(path, use_labels=True)
        assert str(path) in str(caught.value)
        assert len(ImageDataset(path)) == 2


def test_opening_decodes_no_image(tmp_path, monkeypatch):
    """Ten thousand images must open at once: headers alone are read."""
    with DatasetWriter(tmp_path / "set.zip") as writer:
        for i in range(50):
            writer.add(some_pixels(i % 7), i % 2)

    def refuse(*arguments: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr("PIL.Image.Image.load", refuse)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    dataset = ImageDataset(tmp_path / "set.zip", use_labels=True)
    assert len(dataset.labels) == 50
    with pytest.raises(AssertionError, match="an image was decoded"):
        dataset[0]


def take(sampler: EndlessSampler, count: int) -> list[int]:
    return list(itertools.islice(sampler, count))


class TestEndlessSampler:
    @hypothesis.settings(deadline=None)  # busy machines
    @hypothesis.given(size=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
    def test_every_epoch_is_complete(self, size, seed):
        stream = take(EndlessSampler(size, seed), 4 * size)
        for epoch in range(4):
            assert sorted(stream[epoch * size : (epoch + 1) * size]) == list(range(size))

    @hypothesis.settings(deadline=None)  # busy machines
    @hypothesis.given(size=st.integers(1, 30), world_size=st.integers(1, 40), start=st.integers(0, 100))
    def test_ranks_share_the_stream_out(self, size, world_size, start):
        whole = take(EndlessSampler(size, seed=5, start=start), 3 * world_size)
        ranks = [take(EndlessSampler(size, 5, rank, world_size, start), 3) for rank in range(world_size)]
        assert [ranks[p % world_size][p // world_size] for p in range(3 * world_size)] == whole

    @hypothesis.settings(deadline=None)  # busy machines
    @hypothesis.given(size=st.integers(1, 30), start=st.integers(0, 200))
    def test_start_equals_skipping(self, size, start):
        assert take(EndlessSampler(size, 7, start=start), 50) == take(EndlessSampler(size, 7), start + 50)[start:]

    def test_epochs_and_seeds_differ(self):
        first, second = take(EndlessSampler(50, seed=0), 50), take(EndlessSampler(50, seed=0), 100)[50:]
        assert first != second
        assert first != take(EndlessSampler(50, seed=1), 50)
        assert first != list(range(50))

    def test_the_order_never_changes(self):
        assert take(EndlessSampler(6, seed=3, start=10**9), 6) == [4, 2, 2, 0, 3, 5]

    def test_global_random_state_is_neither_read_nor_moved(self):
        np.random.seed(1)
        first = take(EndlessSampler(9, seed=0), 30)
        state = np.random.get_state()[1].copy()
        assert take(EndlessSampler(9, seed=0), 30) == first
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    def test_iterating_again_starts_again(self):
        sampler = EndlessSampler(9, seed=0)
        assert take(sampler, 20) == take(sampler, 20)

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_impossible_seed_raises(self, seed):
        with pytest.raises(UserError, match=f"seed {seed}"):
            EndlessSampler(9, seed)

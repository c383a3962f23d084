"""DatasetWriter: the official format, equal bytes, all or nothing."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stylegan2ada.dataset_writer import DatasetWriter
from stylegan2ada.errors import UserError

GREY = (8, 8)
COLOR = (8, 8, 3)


def some_pixels(shape: tuple[int, ...] = GREY, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape, dtype=np.uint8)


def write(dest: Path, count: int = 3, shape: tuple[int, ...] = GREY, labelled: bool = True, **options) -> list[str]:
    with DatasetWriter(dest, **options) as writer:
        return [writer.add(some_pixels(shape, i), i % 2 if labelled else None) for i in range(count)]


class TestZip:
    def test_official_layout(self, tmp_path):
        names = write(tmp_path / "set.zip", count=1002, classes=["normal", "abnormal"], metadata={"source": "x"})
        assert names[0] == "00000/img00000000.png"
        assert names[1001] == "00001/img00001001.png"
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            assert [info.filename for info in archive.infolist()] == [*names, "dataset.json"]
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            index = json.loads(archive.read("dataset.json"))
        assert index["labels"][:2] == [["00000/img00000000.png", 0], ["00000/img00000001.png", 1]]
        assert index["classes"] == ["normal", "abnormal"]
        assert index["source"] == "x"

    @pytest.mark.parametrize(("shape", "mode"), [(GREY, "L"), (COLOR, "RGB")])
    def test_pixels_survive(self, tmp_path, shape, mode):
        names = write(tmp_path / "set.zip", shape=shape)
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            for i, name in enumerate(names):
                image = PIL.Image.open(io.BytesIO(archive.read(name)))
                assert image.mode == mode
                np.testing.assert_array_equal(np.array(image), some_pixels(shape, i))

    def test_without_labels(self, tmp_path):
        write(tmp_path / "set.zip", labelled=False)
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            assert json.loads(archive.read("dataset.json")) == {"labels": None}

    def test_groups(self, tmp_path):
        with DatasetWriter(tmp_path / "set.zip") as writer:
            for index, group in enumerate([4, 0, 4]):
                writer.add(some_pixels(seed=index), group=group)
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            assert json.loads(archive.read("dataset.json")) == {"labels": None, "groups": [4, 0, 4]}

    @pytest.mark.parametrize("groups", [(0, None), (None, 0), (-1, -1)])
    def test_groups_that_cannot_be_raise(self, tmp_path, groups):
        with pytest.raises(ValueError, match="group"), DatasetWriter(tmp_path / "set.zip") as writer:
            for group in groups:
                writer.add(some_pixels(), group=group)
        assert not (tmp_path / "set.zip").exists()

    def test_equal_images_give_equal_bytes(self, tmp_path, monkeypatch):
        write(tmp_path / "a.zip")
        monkeypatch.setattr("time.time", lambda: 2e9)
        write(tmp_path / "b.zip")
        assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()

    def test_metadata_may_be_filled_until_the_end(self, tmp_path):
        with DatasetWriter(tmp_path / "set.zip") as writer:
            writer.add(some_pixels())
            writer.metadata["rejected"] = 3
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            assert json.loads(archive.read("dataset.json"))["rejected"] == 3


class TestFolder:
    def test_same_members_as_the_zip(self, tmp_path):
        write(tmp_path / "set.zip")
        write(tmp_path / "set")
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        on_disk = {p.relative_to(tmp_path / "set").as_posix(): p for p in (tmp_path / "set").rglob("*") if p.is_file()}
        assert {name: path.read_bytes() for name, path in on_disk.items()} == files

    def test_empty_folder_is_filled(self, tmp_path):
        (tmp_path / "set").mkdir()
        write(tmp_path / "set")
        assert (tmp_path / "set" / "dataset.json").is_file()

    def test_overwrite_leaves_nothing_of_the_old(self, tmp_path):
        write(tmp_path / "set", count=5)
        write(tmp_path / "set", count=2, overwrite=True)
        assert len(list((tmp_path / "set").rglob("*.png"))) == 2
        assert [p.name for p in tmp_path.iterdir()] == ["set"]

    def test_overwrite_never_deletes_a_foreign_folder(self, tmp_path):
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.txt").write_text("precious")
        with pytest.raises(UserError, match="not overwritten"):
            DatasetWriter(tmp_path / "home", overwrite=True)


@pytest.mark.parametrize("name", ["set.zip", "set"])
class TestAllOrNothing:
    def test_error_leaves_nothing(self, tmp_path, name):
        with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / name) as writer:
            writer.add(some_pixels())
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []

    def test_unwritable_metadata_leaves_nothing(self, tmp_path, name):
        with pytest.raises(ValueError, match="JSON"), DatasetWriter(tmp_path / name) as writer:
            writer.add(some_pixels())
            writer.metadata["x"] = float("nan")
        assert list(tmp_path.iterdir()) == []

    def test_no_image_raises(self, tmp_path, name):
        with pytest.raises(UserError, match="no image"), DatasetWriter(tmp_path / name):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_existing_destination_raises(self, tmp_path, name):
        write(tmp_path / name)
        with pytest.raises(UserError, match="already exists"):
            DatasetWriter(tmp_path / name)

    def test_failed_overwrite_keeps_the_old(self, tmp_path, name):
        write(tmp_path / name)
        old = (tmp_path / name).stat().st_mtime_ns
        with pytest.raises(RuntimeError), DatasetWriter(tmp_path / name, overwrite=True) as writer:
            writer.add(some_pixels())
            raise RuntimeError
        assert (tmp_path / name).stat().st_mtime_ns == old
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_overwrite(self, tmp_path, name):
        write(tmp_path / name)
        write(tmp_path / name, labelled=False, overwrite=True)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_unwritable_place_raises(self, tmp_path, name):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot write"), DatasetWriter(tmp_path / "file" / name):
            pass


class TestRefuses:
    @pytest.mark.parametrize("shape", [(8, 16), (24, 24), (2, 2)])
    def test_unusable_size_raises(self, tmp_path, shape):
        with DatasetWriter(tmp_path / "set.zip") as writer:
            writer.add(some_pixels())
            with pytest.raises(UserError, match="power of two"):
                writer.add(some_pixels(shape))

    @pytest.mark.parametrize("shape", [(16, 16), COLOR])
    def test_mixed_shapes_raise(self, tmp_path, shape):
        with DatasetWriter(tmp_path / "set.zip") as writer:
            writer.add(some_pixels())
            with pytest.raises(UserError, match="one size"):
                writer.add(some_pixels(shape))

    @pytest.mark.parametrize("pixels", [np.zeros((8, 8)), np.zeros((8, 8, 4), np.uint8), np.zeros(8, np.uint8)])
    def test_wrong_array_raises(self, tmp_path, pixels):
        with DatasetWriter(tmp_path / "set.zip") as writer:
            writer.add(some_pixels())
            with pytest.raises(ValueError, match="uint8"):
                writer.add(pixels)

    def test_mixed_labels_raise(self, tmp_path):
        with DatasetWriter(tmp_path / "set.zip") as writer:
            writer.add(some_pixels(), 0)
            with pytest.raises(ValueError, match="all images have a label"):
                writer.add(some_pixels())

    @pytest.mark.parametrize("label", [-1, 2])
    def test_label_outside_the_classes_raises(self, tmp_path, label):
        with DatasetWriter(tmp_path / "set.zip", classes=["a", "b"]) as writer:
            writer.add(some_pixels(), np.int64(1))
            with pytest.raises(ValueError, match="outside"):
                writer.add(some_pixels(), label)

    def test_file_in_place_of_a_folder_raises(self, tmp_path):
        (tmp_path / "set").write_text("")
        with pytest.raises(UserError, match="is a file"):
            DatasetWriter(tmp_path / "set", overwrite=True)

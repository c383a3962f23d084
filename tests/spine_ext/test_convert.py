"""Conversion: every input accounted for, labels where they belong, nothing left behind after a mistake."""

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spine_ext.convert import convert
from spine_ext.radiograph_files import find_radiographs, image_id
from spine_ext.square import SquareRecipe, make_square
from spine_ext.vindr import BINARY_CLASSES, LESION_CLASSES
from stylegan2ada.errors import UserError
from tests.dicom_samples import dicom_bytes, make_dataset, write_dicom

COLUMNS = "study_id,series_id,image_id,rad_id,lesion_type,xmin,ymin,xmax,ymax"
WINDOW = {"BitsAllocated": 8, "WindowCenter": 128, "WindowWidth": 256}  # grey = stored value

ROWS = {
    "normal": ["No finding"],
    "plate": ["Surgical implant"],
    "spur": ["Osteophytes", "Osteophytes"],
    "both": ["Osteophytes", "Vertebral collapse"],
    "tiny": ["No finding"],
    "broken": ["No finding"],
    "gone": ["Other lesions"],
}


def picture(seed: int, height: int = 150, width: int = 170) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width))


PICTURES = {"normal": picture(1), "plate": picture(2, 200, 140), "spur": picture(3), "both": picture(4)}


def write_csv(path: Path, rows: dict[str, list[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"study of {name},s,{name},r,{kind},,,," for name, kinds in rows.items() for kind in kinds]
    path.write_text("\n".join([COLUMNS, *lines]) + "\n")
    return path


@pytest.fixture
def vindr(tmp_path) -> Path:
    """The VinDr layout with every fate of a file in its training part, and one file in its test part."""
    root = tmp_path / "vindr"
    for name, pixels in PICTURES.items():
        write_dicom(root / "train_images" / f"{name}.dicom", pixels, PatientName="Doe^Jane", **WINDOW)
    write_dicom(root / "train_images" / "tiny.dicom", picture(5, 100, 400), **WINDOW)
    write_dicom(root / "train_images" / "extra.dicom", picture(6), **WINDOW)
    (root / "train_images" / "broken.dicom").write_bytes(dicom_bytes(make_dataset(picture(7), **WINDOW))[:2000])
    write_dicom(root / "test_images" / "other.dicom", picture(8), **WINDOW)
    write_csv(root / "annotations" / "train.csv", ROWS)
    write_csv(root / "annotations" / "test.csv", {"other": ["No finding"]})
    return root


def read_dataset(path: Path) -> tuple[dict, list[np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        index = json.loads(archive.read("dataset.json"))
        names = [name for name in archive.namelist() if name.endswith(".png")]
        return index, [np.array(PIL.Image.open(io.BytesIO(archive.read(name)))) for name in names]


def read_rejects(path: Path) -> dict[str, str]:
    with open(path, newline="") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def expected_square(name: str, resolution: int = 256) -> np.ndarray:
    return make_square(PICTURES[name].astype(np.uint8), SquareRecipe(resolution))


def test_binary(vindr, tmp_path):
    report = convert(vindr, vindr / "annotations" / "train.csv", tmp_path / "out" / "train.zip")
    index, images = read_dataset(tmp_path / "out" / "train.zip")
    names = ["both", "normal", "plate", "spur"]  # the order of the files
    assert [label for _, label in index["labels"]] == [1, 0, 1, 1]
    assert index["classes"] == list(BINARY_CLASSES)
    for name, image in zip(names, images, strict=True):
        assert (image == expected_square(name)).all()
    assert report.class_counts == {"normal": 1, "abnormal": 3}
    assert read_rejects(report.rejects_path) == {
        "train_images/tiny.dicom": "too small",
        "train_images/extra.dicom": "no row in the annotations",
        "train_images/broken.dicom": "truncated pixel data",
        "gone": "annotated but no such file",
    }
    assert report.inputs == 8 == report.converted + len(report.rejects)
    assert list(report.lines())[:2] == [
        "the source is in the VinDr layout: only the files in train_images/ are used",
        "8 inputs = 4 converted + 4 rejected",
    ]


def test_images_of_one_study_share_a_number(vindr, tmp_path):
    rows = {"normal": "one", "plate": "two", "spur": "one", "both": "three"}
    lines = [f"{study},s,{name},r,{kind},,,," for name, study in rows.items() for kind in ROWS[name]]
    annotations = vindr / "annotations" / "train.csv"
    annotations.write_text("\n".join([COLUMNS, *lines]) + "\n")
    convert(vindr, annotations, tmp_path / "train.zip")
    index, _ = read_dataset(tmp_path / "train.zip")
    both, normal, plate, spur = index["groups"]  # the order of the files
    assert normal == spur
    assert sorted({both, normal, plate}) == [0, 1, 2]
    annotations.write_text("image_id,lesion_type\nnormal,No finding\n")
    convert(vindr, annotations, tmp_path / "without.zip")
    assert "groups" not in read_dataset(tmp_path / "without.zip")[0]


def test_lesion(vindr, tmp_path):
    report = convert(vindr, vindr / "annotations" / "train.csv", tmp_path / "train.zip", labels="lesion")
    index, _ = read_dataset(tmp_path / "train.zip")
    assert [label for _, label in index["labels"]] == [0, 5, 3]
    assert index["classes"] == list(LESION_CLASSES)
    assert read_rejects(report.rejects_path)["train_images/both.dicom"] == "several lesion types"
    assert report.inputs == 8 == report.converted + len(report.rejects)
    assert report.reason_counts["several lesion types"] == 1
    assert sum(report.class_counts.values()) == 3 and report.class_counts["Vertebral collapse"] == 0


def test_options_and_nothing_of_the_patient(vindr, tmp_path):
    options = {"resolution": 64, "resample": "area", "min_side_px": 100}
    report = convert(vindr, vindr / "annotations" / "train.csv", tmp_path / "a.zip", **options)
    index, images = read_dataset(tmp_path / "a.zip")
    assert report.converted == 5 and images[0].shape == (64, 64)
    assert index["preparation"] == {"tool": "dataset_tool_dicom.py", "label_set": "binary", **options}
    content = (tmp_path / "a.zip").read_bytes() + report.rejects_path.read_bytes()
    assert b"Doe" not in content
    for name in [*ROWS, "study of"]:
        assert name not in json.dumps({key: index[key] for key in index if key != "classes"})


def test_folder_zip_and_workers_agree(vindr, tmp_path):
    """Also a zip as it is downloaded, with everything inside one more folder, and with more than one process."""
    archive = tmp_path / "download.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(vindr.rglob("*")):
            file.write(path, Path("vindr-spinexr-1.0.0") / path.relative_to(vindr))
    table = vindr / "annotations" / "train.csv"
    first = convert(vindr, table, tmp_path / "1.zip", workers=1)
    convert(vindr, table, tmp_path / "2.zip", workers=2)
    third = convert(archive, table, tmp_path / "3.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "3.zip").read_bytes()
    assert first.reason_counts == third.reason_counts


def test_dest_may_be_a_folder(vindr, tmp_path):
    convert(vindr, vindr / "annotations" / "train.csv", tmp_path / "data")
    assert (tmp_path / "data" / "00000" / "img00000003.png").is_file()
    assert (tmp_path / "data" / "dataset.json").is_file()
    assert (tmp_path / "data-rejects.csv").is_file()


def test_progress(vindr, tmp_path):
    calls = []
    table = vindr / "annotations" / "train.csv"
    convert(vindr, table, tmp_path / "a.zip", progress=lambda *counts: calls.append(counts))
    assert calls == [(done, 6) for done in range(1, 7)]  # extra and gone need no look


def test_test_part(vindr, tmp_path):
    report = convert(vindr, vindr / "annotations" / "test.csv", tmp_path / "test.zip")
    assert (report.inputs, report.converted) == (1, 1)


def test_two_files_of_one_id_are_ambiguous(tmp_path):
    for folder in ("a", "b"):
        write_dicom(tmp_path / "in" / folder / "IM1.dcm", picture(1), **WINDOW)
    write_dicom(tmp_path / "in" / "a" / "IM2.dcm", picture(2), **WINDOW)
    table = write_csv(tmp_path / "my.csv", {"IM1": ["No finding"], "IM2": ["Osteophytes"]})
    report = convert(tmp_path / "in", table, tmp_path / "out.zip")
    assert report.reason_counts == {"ambiguous image id": 2}
    assert report.inputs == 3 and report.class_counts == {"normal": 0, "abnormal": 1}


class TestFindRadiographs:
    def test_by_name_or_content(self, tmp_path):
        content = dicom_bytes(make_dataset(picture(1), **WINDOW))
        for name in ("a.dcm", "b.DICOM", "c.dicm", "1.2.840.1", "sub/deep/IM0001", "._a.dcm", "__MACOSX/a.dcm"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        (tmp_path / "empty.dcm").write_bytes(b"")
        (tmp_path / "readme.txt").write_text("hello")
        found = ["1.2.840.1", "a.dcm", "b.DICOM", "c.dicm", "empty.dcm", "sub/deep/IM0001"]
        assert find_radiographs(tmp_path, "train.csv") == (found, None)

    def test_what_cannot_be_looked_into_is_listed_with_the_reason(self, tmp_path):
        """A zip whose second member has a password: neither a traceback nor a silent loss."""
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("a.dcm", dicom_bytes(make_dataset(picture(1), **WINDOW)))
            archive.writestr("b", b"secret")
        data = bytearray(source.read_bytes())
        data[data.rindex(b"PK\x03\x04") + 6] |= 1
        data[data.rindex(b"PK\x01\x02") + 8] |= 1
        source.write_bytes(data)
        table = write_csv(tmp_path / "my.csv", {"a": ["No finding"], "b": ["No finding"]})
        report = convert(source, table, tmp_path / "out.zip")
        assert (report.inputs, report.converted) == (2, 1)
        assert read_rejects(report.rejects_path) == {"b": "unreadable file"}

    def test_a_large_other_file_in_a_zip(self, tmp_path, monkeypatch):
        monkeypatch.setattr("spine_ext.square.MAX_FILE_BYTES", 200_000)
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("a.dcm", dicom_bytes(make_dataset(picture(1), **WINDOW)))
            archive.writestr("tour.mp4", bytes(200_001))
        assert find_radiographs(source, "train.csv") == (["a.dcm", "tour.mp4"], None)

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_a_name_that_stands_twice_in_a_zip_is_one_input(self, tmp_path):
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for seed in (1, 2):
                archive.writestr("a.dcm", dicom_bytes(make_dataset(picture(seed), **WINDOW)))
        table = write_csv(tmp_path / "my.csv", {"a": ["No finding"]})
        report = convert(source, table, tmp_path / "out.zip")
        assert (report.inputs, report.converted) == (1, 1)

    def test_ids(self):
        assert image_id("train_images/0a1b.dicom", {"0a1b"}) == "0a1b"
        assert image_id("1.2.840.1", {"1.2.840.1"}) == "1.2.840.1"
        assert image_id("1.2.840.1.dcm", {"1.2.840.1"}) == "1.2.840.1"

    def test_symbolic_links_are_followed_once(self, tmp_path):
        write_dicom(tmp_path / "elsewhere" / "a.dcm", picture(1), **WINDOW)
        source = tmp_path / "source"
        source.mkdir()
        (source / "train_images").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "elsewhere" / "loop").symlink_to(source, target_is_directory=True)
        assert find_radiographs(source, "train.csv") == (["train_images/a.dcm"], "train_images")


class TestMistakes:
    def run(self, tmp_path: Path, vindr: Path, message: str, **changes: object) -> None:
        options = {"source": vindr, "annotations": vindr / "annotations" / "train.csv", "dest": tmp_path / "o.zip"}
        with pytest.raises(UserError, match=message):
            convert(**{**options, **changes})

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"labels": "ternary"}, "unknown labels 'ternary': use binary or lesion"),
            ({"resample": "magic"}, "unknown resample 'magic': use one of nearest, area"),
            ({"resolution": 100}, "resolution 100 is no power of two"),
            ({"resolution": 0}, "resolution 0 is no power of two"),
            ({"min_side_px": 0}, "min side 0 px must be 1 or more"),
            ({"workers": 0}, "0 workers cannot work"),
            ({"source": "/nowhere/at/all"}, r"cannot read /nowhere/at/all: No such file .*check --source"),
            ({"annotations": "/nowhere.csv"}, r"cannot read the annotations /nowhere\.csv"),
        ],
    )
    def test_options(self, tmp_path, vindr, changes, message):
        self.run(tmp_path, vindr, message, **changes)
        assert not list(tmp_path.glob("*o*.zip*")) and not list(tmp_path.glob("*.csv"))

    def test_source_that_is_no_zip(self, tmp_path, vindr):
        path = tmp_path / "source.zip"
        path.write_text("no zip")
        self.run(tmp_path, vindr, r"source\.zip is no folder and no zip file", source=path)

    def test_source_without_radiographs(self, tmp_path, vindr):
        (tmp_path / "empty").mkdir()
        self.run(tmp_path, vindr, "empty holds no DICOM files", source=tmp_path / "empty")

    def test_existing_dest(self, tmp_path, vindr):
        table = vindr / "annotations" / "train.csv"
        convert(vindr, table, tmp_path / "o.zip")
        before = (tmp_path / "o.zip").read_bytes()
        self.run(tmp_path, vindr, r"o\.zip already exists", labels="lesion")
        assert (tmp_path / "o.zip").read_bytes() == before
        convert(vindr, table, tmp_path / "o.zip", labels="lesion", overwrite=True)
        assert (tmp_path / "o.zip").read_bytes() != before

    def test_dest_may_not_be_an_input(self, tmp_path, vindr):
        archive = tmp_path / "in.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.write(vindr / "train_images" / "normal.dicom", "normal.dicom")
        before = archive.read_bytes()
        self.run(tmp_path, vindr, "written over an input", source=archive, dest=archive, overwrite=True)
        assert archive.read_bytes() == before

    def test_nothing_converted_leaves_only_the_rejects(self, tmp_path, vindr):
        self.run(
            tmp_path, vindr, r"none of 8 inputs could be converted \(.*too small: \d.*o-rejects\.csv", min_side_px=999
        )
        assert len(read_rejects(tmp_path / "o-rejects.csv")) == 8
        assert sorted(path.name for path in tmp_path.iterdir()) == ["o-rejects.csv", "vindr"]

    def test_an_error_halfway_leaves_nothing(self, tmp_path, vindr):
        def interrupt(done: int, total: int) -> None:
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            convert(vindr, vindr / "annotations" / "train.csv", tmp_path / "o.zip", progress=interrupt)
        assert [path.name for path in tmp_path.iterdir()] == ["vindr"]

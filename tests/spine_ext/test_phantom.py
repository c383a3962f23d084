"""The phantom: drawn the same each time, valid as DICOM, boxed where the findings are."""

import csv
import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_rescale
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, RLELossless

from spine_ext.phantom import Phantom, draw_patient, draw_phantom, make_patient, make_phantom_dataset
from spine_ext.phantom.anatomy import draw_anatomy
from spine_ext.phantom.dataset import CSV_COLUMNS
from spine_ext.phantom.dicom_files import Encoding, dicom_bytes, unique_id
from spine_ext.phantom.drawing import Drawing, ellipse
from spine_ext.phantom.lateral import stack
from spine_ext.phantom.lesions import (
    COLLAPSE,
    DISC_NARROWING,
    FORAMINAL_STENOSIS,
    IMPLANT,
    LESION_TYPES,
    NO_FINDING,
    OSTEOPHYTES,
    OTHER,
    SLIP,
    Lesion,
)
from spine_ext.phantom.phantom import VIEWS
from spine_ext.phantom.render import Field, attenuation
from stylegan2ada.errors import UserError

EXAMPLES = {
    OSTEOPHYTES: Lesion(OSTEOPHYTES, 2, 1.0),
    DISC_NARROWING: Lesion(DISC_NARROWING, 2, 1.0),
    IMPLANT: Lesion(IMPLANT, 1, 0.5, "screws"),
    FORAMINAL_STENOSIS: Lesion(FORAMINAL_STENOSIS, 2, 1.0),
    SLIP: Lesion(SLIP, 2, 1.0, "forward"),
    COLLAPSE: Lesion(COLLAPSE, 2, 1.0, "wedge"),
    OTHER: Lesion(OTHER, 2, 1.0, "sclerotic"),
}
SEEN_FROM_THE_FRONT = {**EXAMPLES, SLIP: Lesion(SLIP, 2, 1.0, "sideways")}
del SEEN_FROM_THE_FRONT[FORAMINAL_STENOSIS]
CASES = [("lateral", lesion) for lesion in EXAMPLES.values()]
CASES += [("frontal", lesion) for lesion in SEEN_FROM_THE_FRONT.values()]

COUNTS = {"train": 150, "test": 30}


def rows_of(folder: Path, split: str) -> list[dict[str, str]]:
    with open(folder / "annotations" / f"{split}.csv", newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom_dataset(tmp_path_factory.mktemp("phantom") / "data", **COUNTS, seed=3, workers=1)


@pytest.fixture(scope="module")
def datasets(folder: Path) -> list[pydicom.Dataset]:
    """The headers of all files."""
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.rglob("*.dicom"))]


class TestPhantom:
    @pytest.mark.parametrize("view", VIEWS)
    def test_same_seed_same_image(self, view: str) -> None:
        def draw(seed: int) -> Phantom:
            rng = np.random.default_rng(seed)
            return draw_phantom(draw_patient(rng), view, rng, (300, 320))

        assert np.array_equal(draw(5).pixels, draw(5).pixels)
        assert draw(5).findings == draw(5).findings
        assert not np.array_equal(draw(5).pixels, draw(6).pixels)

    @pytest.mark.parametrize("view", VIEWS)
    @pytest.mark.parametrize("size_px", [(300, 390), (64, 80), (901, 900)])
    def test_pixels_and_boxes_fit_the_size(self, view: str, size_px: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        phantom = draw_phantom(make_patient(draw_anatomy(rng), (EXAMPLES[OSTEOPHYTES],)), view, rng, size_px)
        assert phantom.pixels.shape == size_px[::-1]
        assert phantom.pixels.dtype == np.float32
        assert 0.0 <= phantom.pixels.min() < 0.3
        assert 0.6 < phantom.pixels.max() <= 1.0
        assert phantom.findings
        for finding in phantom.findings:
            xmin, ymin, xmax, ymax = finding.box
            assert 0 <= xmin < xmax <= size_px[0] - 1
            assert 0 <= ymin < ymax <= size_px[1] - 1

    @pytest.mark.parametrize(("view", "lesion"), CASES)
    def test_finding_changes_the_image_inside_its_box(self, view: str, lesion: Lesion) -> None:
        anatomy = draw_anatomy(np.random.default_rng(1))
        healthy, ill = (
            draw_phantom(make_patient(anatomy, lesions), view, np.random.default_rng(2), (350, 420))
            for lesions in ((), (lesion,))
        )
        assert healthy.findings == ()
        assert {finding.type for finding in ill.findings} == {lesion.type}
        changed = np.abs(ill.pixels - healthy.pixels) > 0.1
        boxed = np.zeros_like(changed)
        for finding in ill.findings:
            xmin, ymin, xmax, ymax = np.rint(finding.box).astype(int)
            boxed[ymin : ymax + 1, xmin : xmax + 1] = True
        assert changed[boxed].mean() > 0.04

    @pytest.mark.parametrize("lesion", [EXAMPLES[FORAMINAL_STENOSIS], EXAMPLES[SLIP]])
    def test_what_a_view_cannot_show_is_not_reported(self, lesion: Lesion) -> None:
        rng = np.random.default_rng(0)
        assert draw_phantom(make_patient(draw_anatomy(rng), (lesion,)), "frontal", rng).findings == ()

    def test_implant_is_the_brightest_thing(self) -> None:
        anatomy = draw_anatomy(np.random.default_rng(1))
        patient = make_patient(anatomy, (EXAMPLES[IMPLANT],))
        phantom = draw_phantom(patient, "frontal", np.random.default_rng(2), (350, 420))
        xmin, ymin, xmax, ymax = np.rint(phantom.findings[0].box).astype(int)
        inside = phantom.pixels[ymin:ymax, xmin:xmax]
        assert np.percentile(inside, 90) > np.percentile(phantom.pixels, 97)


class TestAnatomy:
    def test_slip_moves_the_upper_column_forward(self) -> None:
        anatomy = draw_anatomy(np.random.default_rng(0))
        healthy = stack(make_patient(anatomy, ()).anatomy)
        slipped = stack(make_patient(anatomy, (EXAMPLES[SLIP],)).anatomy)
        forward_mm = [before.origin[0] - after.origin[0] for before, after in zip(healthy, slipped, strict=True)]
        assert forward_mm[:2] == pytest.approx([0, 0])
        assert min(forward_mm[2:]) > 0.3 * anatomy.depth_mm[2]

    def test_deforming_leaves_the_given_anatomy_alone(self) -> None:
        anatomy = draw_anatomy(np.random.default_rng(0))
        before = anatomy.front_mm.copy()
        collapsed = make_patient(anatomy, (EXAMPLES[COLLAPSE],)).anatomy
        assert np.array_equal(anatomy.front_mm, before)
        assert collapsed.front_mm[2] < 0.5 * before[2]
        assert np.array_equal(np.delete(collapsed.front_mm, 2), np.delete(before, 2))

    def test_attenuation_of_a_disc_is_its_fill_and_lies_where_the_field_says(self) -> None:
        drawing = Drawing()
        drawing.area("metal", ellipse(np.array([10.0, -5.0]), np.array([6.0, 0.0]), np.array([0.0, 6.0])))
        field = Field(100, 120, 2.0, (0.0, 0.0), 0.0)
        total = attenuation(drawing, field, 1.0, np.random.default_rng(0))
        rows, columns = np.nonzero(total)
        assert (columns.mean(), rows.mean()) == pytest.approx((50 + 2 * 10, 60 - 2 * 5), abs=0.6)
        assert total.sum() == pytest.approx(4.5 * np.pi * 12**2, rel=0.08)  # edge pixels count as full
        x, y = field.to_mm()
        assert field.to_px(np.array([[x[0, 30], y[40, 0]]]))[0] == pytest.approx([30.5, 40.5])


class TestDicomFile:
    @pytest.mark.parametrize("bits", [10, 12, 14, 16])
    @pytest.mark.parametrize("inverted", [False, True])
    @pytest.mark.parametrize("rle", [False, True])
    @pytest.mark.parametrize(("window", "rescale"), [(False, False), (True, False), (True, True), (False, True)])
    def test_pixels_come_back(
        self, tmp_path: Path, bits: int, inverted: bool, rle: bool, window: bool, rescale: bool
    ) -> None:
        pixels = np.random.default_rng(0).random((41, 37), dtype=np.float32)
        pixels[5:20] = 0.5  # runs, for RLE
        ids = (unique_id("a"), unique_id("b"), unique_id("c"))
        encoding = Encoding(bits, inverted, rle, window, rescale)
        path = tmp_path / "image.dicom"
        path.write_bytes(dicom_bytes(pixels, "lateral", encoding, ids, 2.0))
        ds = pydicom.dcmread(path)
        assert ds.pixel_array.max() < 2**bits
        values = apply_rescale(ds.pixel_array, ds).astype(float)
        if window:
            values = (values - (float(ds.WindowCenter) - float(ds.WindowWidth) / 2)) / float(ds.WindowWidth)
        else:
            low, high = apply_rescale(np.array([0, 2**bits - 1]), ds)
            values = (values - low) / (high - low)
        if ds.PhotometricInterpretation == "MONOCHROME1":
            values = 1 - values
        assert values == pytest.approx(pixels, abs=2 / 2**bits)

    def test_rle_matches_the_decoder_of_pydicom(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).random((30, 50), dtype=np.float32)
        ids = (unique_id("a"), unique_id("b"), unique_id("c"))
        native, rle = (
            pydicom.dcmread(
                write(
                    tmp_path / f"{rle}.dicom",
                    dicom_bytes(pixels, "frontal", Encoding(12, False, rle, False, False), ids, 2.0),
                )
            )
            for rle in (False, True)
        )
        assert native.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert rle.file_meta.TransferSyntaxUID == RLELossless
        assert np.array_equal(native.pixel_array, rle.pixel_array)

    def test_identifiers_depend_on_their_parts_alone(self) -> None:
        assert unique_id("image", 0, 1) == unique_id("image", 0, 1)
        assert unique_id("image", 0, 1) != unique_id("image", 1, 0)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


class TestDataset:
    def test_layout_and_columns(self, folder: Path) -> None:
        assert sorted(path.name for path in folder.iterdir()) == [
            "annotations",
            "phantom.json",
            "test_images",
            "train_images",
        ]
        for split, count in COUNTS.items():
            first_line = (folder / "annotations" / f"{split}.csv").read_text().splitlines()[0]
            assert first_line == "study_id,series_id,image_id,rad_id,lesion_type,xmin,ymin,xmax,ymax"
            assert first_line.split(",") == list(CSV_COLUMNS)
            files = {path.stem for path in (folder / f"{split}_images").glob("*.dicom")}
            assert len(files) == count
            assert files == {row["image_id"] for row in rows_of(folder, split)}
            assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in files)
        assert list(folder.parent.iterdir()) == [folder], "temporary files were left behind"

    def test_rows_are_boxes_or_no_finding(self, folder: Path) -> None:
        for split in COUNTS:
            by_image: dict[str, list[dict[str, str]]] = {}
            for row in rows_of(folder, split):
                by_image.setdefault(row["image_id"], []).append(row)
            for image_id, rows in by_image.items():
                ds = pydicom.dcmread(folder / f"{split}_images" / f"{image_id}.dicom", stop_before_pixels=True)
                if rows[0]["lesion_type"] == NO_FINDING:
                    assert len(rows) == 1
                    assert [rows[0][edge] for edge in ("xmin", "ymin", "xmax", "ymax")] == [""] * 4
                    continue
                for row in rows:
                    assert row["lesion_type"] in LESION_TYPES
                    xmin, ymin, xmax, ymax = (float(row[edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
                    assert 0 <= xmin < xmax <= ds.Columns - 1
                    assert 0 <= ymin < ymax <= ds.Rows - 1

    def test_half_normal_all_types_several_at_times_and_studies_of_several_images(self, folder: Path) -> None:
        rows = rows_of(folder, "train")
        images: dict[str, set[str]] = {}
        for row in rows:
            images.setdefault(row["image_id"], set()).add(row["lesion_type"])
        normal = sum(types == {NO_FINDING} for types in images.values()) / len(images)
        assert 0.38 < normal < 0.62
        assert set().union(*images.values()) == {NO_FINDING, *LESION_TYPES}
        assert any(len(types) > 1 for types in images.values())
        per_study = Counter(study for study, _ in {(row["study_id"], row["image_id"]) for row in rows})
        assert set(per_study.values()) == {1, 2, 3}

    def test_no_study_is_in_both_splits(self, folder: Path) -> None:
        train, test = ({row["study_id"] for row in rows_of(folder, split)} for split in COUNTS)
        assert not train & test

    def test_files_are_as_various_as_promised(self, datasets: list[pydicom.Dataset]) -> None:
        assert {ds.file_meta.TransferSyntaxUID for ds in datasets} == {ExplicitVRLittleEndian, RLELossless}
        assert {ds.PhotometricInterpretation for ds in datasets} == {"MONOCHROME1", "MONOCHROME2"}
        assert {ds.BitsStored for ds in datasets} == {10, 12, 14, 16}
        assert {"WindowCenter" in ds for ds in datasets} == {True, False}
        assert {float(ds.RescaleSlope) for ds in datasets} == {1.0, 0.5}
        assert {ds.ViewPosition for ds in datasets} == {"LL", "AP"}
        sides = [min(ds.Rows, ds.Columns) for ds in datasets]
        assert {side < 128 for side in sides} == {True, False}
        assert all(64 <= side < 128 or 300 <= side <= 900 for side in sides)
        assert max(sides) > 700

    def test_headers_name_a_phantom_and_no_patient(self, datasets: list[pydicom.Dataset]) -> None:
        for ds in datasets:
            assert ds.SOPClassUID == DigitalXRayImageStorageForPresentation
            assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
            assert ds.Modality == "DX"
            assert ds.PatientIdentityRemoved == "YES"
            assert not (ds.PatientName or ds.PatientID or ds.PatientBirthDate or ds.StudyDate)
            assert ds.ImageComments == "Procedural phantom. Not clinical data"
            assert all(uid.is_valid for uid in (ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID))
        assert len({ds.SOPInstanceUID for ds in datasets}) == len(datasets)

    def test_two_percent_are_flawed_and_the_rest_decode(self, folder: Path) -> None:
        bad = []
        for path in folder.rglob("*.dicom"):
            ds = pydicom.dcmread(path)
            try:
                shape = ds.pixel_array.shape
            except (AttributeError, ValueError, EOFError) as error:
                bad.append(type(error).__name__)
                continue
            if min(shape) < 128:
                bad.append("too small")
        assert len(bad) == round(0.02 * COUNTS["train"]) + round(0.02 * COUNTS["test"])
        assert len(set(bad)) == 3, bad

    def test_files_do_not_depend_on_the_number_of_processes(self, tmp_path: Path) -> None:
        alone, together, other = (
            digests(make_phantom_dataset(tmp_path / str(number), train=6, test=3, seed=seed, workers=workers))
            for number, (seed, workers) in enumerate([(1, 1), (1, 2), (2, 1)])
        )
        assert alone == together
        assert not set(alone) & set(other) - {"phantom.json", "annotations/train.csv", "annotations/test.csv"}

    def test_finished_folder_is_reused_and_another_is_refused(self, tmp_path: Path) -> None:
        dest = make_phantom_dataset(tmp_path / "data", train=2, test=1, workers=1)
        marked = dest / "phantom.json"
        before = marked.stat().st_mtime_ns
        calls = []
        make_phantom_dataset(dest, train=2, test=1, workers=1, progress=lambda done, total: calls.append(done))
        assert marked.stat().st_mtime_ns == before
        assert calls == []
        with pytest.raises(UserError, match="made with other numbers"):
            make_phantom_dataset(dest, train=3, test=1, workers=1)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("keep me")
        with pytest.raises(UserError, match="not a phantom data set"):
            make_phantom_dataset(tmp_path / "mine", train=2, test=1)
        assert (tmp_path / "mine" / "thesis.txt").read_text() == "keep me"

    def test_interrupted_run_leaves_nothing(self, tmp_path: Path) -> None:
        def stop(done: int, total: int) -> None:
            if done > 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_phantom_dataset(tmp_path / "data", train=6, test=2, workers=1, progress=stop)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("wrong", [{"train": 0}, {"test": -1}, {"seed": -5}, {"workers": 0}])
    def test_impossible_number_raises(self, tmp_path: Path, wrong: dict[str, int]) -> None:
        ((name, value),) = wrong.items()
        with pytest.raises(UserError, match=f"{name} is {value}"):
            make_phantom_dataset(tmp_path / "data", **wrong)


class TestCommand:
    def run(self, *arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "spine_ext.phantom", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    def test_writes_a_data_set_and_shows_progress(self, tmp_path: Path) -> None:
        result = self.run("--dest", tmp_path / "data", "--train", 3, "--test", 2, "--seed", 9, "--workers", 1)
        assert result.returncode == 0, result.stderr
        assert "not clinical data" in result.stdout
        assert "5/5" in result.stderr
        made_with = json.loads((tmp_path / "data" / "phantom.json").read_text())
        assert (made_with["train"], made_with["test"], made_with["seed"]) == (3, 2, 9)
        assert "Not clinical data" in made_with["notice"]

    def test_mistake_is_one_line(self, tmp_path: Path) -> None:
        result = self.run("--dest", tmp_path / "data", "--train", 0)
        assert result.returncode == 2
        assert "train is 0" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1

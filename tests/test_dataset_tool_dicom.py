"""dataset_tool_dicom.py as a user types it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from dataset_tool_dicom import main
from tests.dicom_samples import write_dicom

HEADER = "study_id,series_id,image_id,rad_id,lesion_type,xmin,ymin,xmax,ymax\n"


@pytest.fixture
def source(tmp_path) -> Path:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 4096, (140, 160 - 20 * number))
        write_dicom(tmp_path / "in" / f"image{number}.dicom", pixels, WindowCenter=2048, WindowWidth=4096)
    rows = ["image0,r,No finding,,,,", "image1,r,Osteophytes,1,2,3,4", "image2,r,No finding,,,,"]
    (tmp_path / "train.csv").write_text(HEADER + "".join(f"s,s,{row}\n" for row in rows))
    return tmp_path / "in"


def run(source: Path, *more: str) -> Result:
    folder = source.parent
    fixed = ["--source", str(source), "--annotations", str(folder / "train.csv"), "--dest", str(folder / "out.zip")]
    return CliRunner().invoke(main, [*fixed, *more])


def test_prints_counts_and_progress(source):
    result = run(source, "--resolution", "64")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:4] == [
        "3 inputs = 2 converted + 1 rejected",
        "  class normal: 1",
        "  class abnormal: 1",
        "  rejected, too small: 1",
    ]
    assert "converting 3/3" in result.stderr and "image/s" in result.stderr


def test_runs_as_a_script_from_another_folder(source, repository_dir):
    """With worker processes, which import the script again."""
    folder = source.parent
    arguments = ["--source", "in", "--annotations", "train.csv", "--dest", "out.zip", "--workers", "2"]
    script = [sys.executable, str(repository_dir / "dataset_tool_dicom.py"), *arguments]
    done = subprocess.run(script, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "out.zip") as archive:
        assert len(json.loads(archive.read("dataset.json"))["labels"]) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--resolution", "100"], "resolution 100 is no power of two"),
        (["--labels", "both"], "Invalid value for '--labels': 'both'"),
        (["--resample", "cubic"], "Invalid value for '--resample': 'cubic'"),
        (["--min-side", "9999"], "none of 3 inputs could be converted"),
        (["--annotations", "none.csv"], "cannot read the annotations none.csv"),
        (["--source", "nowhere"], "cannot read nowhere: No such file"),
        (["--bogus"], "No such option"),
    ],
)
def test_mistakes_are_one_line(source, more, message):
    result = run(source, *more)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if not line.startswith("converting")]
    assert len(errors) == 1 and message in errors[0]
    assert not (source.parent / "out.zip").exists()


def test_seven_real_files(shared_dir, tmp_path):
    """The whole tool on radiographs: six convert, the one with the broken codestream is listed."""
    names = ["RG1_J2KI", "RG3_J2KR", "RG2_JPLL", "RG2_JLSL", "RG2_JPLY_fixed", "JPEG2KLossless_1s_1f_u_16_16", "966"]
    kinds = ["No finding", "Osteophytes"]
    rows = [f"s,s,{name},r,{kinds[number % 2]},,,,\n" for number, name in enumerate(names)]
    (tmp_path / "train.csv").write_text(HEADER + "".join(rows))
    result = run_real(shared_dir / "radiographs", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("7 inputs = 6 converted + 1 rejected")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        labels = json.loads(archive.read("dataset.json"))["labels"]
        images = [np.array(PIL.Image.open(archive.open(name))) for name, _ in labels]
    in_file_order = sorted(set(names) - {"966"})
    assert [label for _, label in labels] == [names.index(name) % 2 for name in in_file_order]
    assert all(image.shape == (256, 256) and image.dtype == np.uint8 and image.std() > 25 for image in images)
    rejects = (tmp_path / "out-rejects.csv").read_text().splitlines()
    assert len(rejects) == 2 and rejects[1].startswith("966.dcm,decoding failed,Jpeg2kError")


def run_real(source: Path, folder: Path) -> Result:
    table, dest = str(folder / "train.csv"), str(folder / "out.zip")
    return CliRunner().invoke(main, ["--source", str(source), "--annotations", table, "--dest", dest])

"""The annotations CSV: labels as the paper's text has them, and one clear line for every mistake in it."""

import re
from pathlib import Path

import pytest

from spine_ext.vindr import BINARY_CLASSES, LESION_CLASSES, read_annotations
from stylegan2ada.errors import UserError

HEADER = "study_id,series_id,image_id,rad_id,lesion_type,xmin,ymin,xmax,ymax\n"


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "train.csv"
    path.write_text(header + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_label_order_is_the_papers():
    assert BINARY_CLASSES == ("normal", "abnormal")
    assert [(number, name.split()[0]) for number, name in enumerate(LESION_CLASSES)] == [
        (0, "No"),
        (1, "Disc"),
        (2, "Foraminal"),
        (3, "Osteophytes"),
        (4, "Spondylolysthesis"),
        (5, "Surgical"),
        (6, "Vertebral"),
        (7, "Other"),
    ]


def test_labels(tmp_path):
    notes = read_annotations(
        write(
            tmp_path,
            "s1,r1,normal,rad1,No finding,,,,",
            "s1,r2,one_row,rad1,Osteophytes,1,2,3,4",
            "s2,r3,three_boxes,rad1,Vertebral collapse,1,2,3,4",
            "s2,r3,three_boxes,rad1,Vertebral collapse,5,6,7,8",
            "s2,r3,three_boxes,rad1,Vertebral collapse,9,9,11,12",
            "s3,r4,mixed,rad2,Surgical implant,1,2,3,4",
            "s3,r4,mixed,rad2,Disc space narrowing,1,2,3,4",
        )
    )
    # The authors' scripts call an abnormal image with a single row normal; the paper's text does not.
    assert {name: notes.binary_label(name) for name in notes.lesion_types} == {
        "normal": 0,
        "one_row": 1,
        "three_boxes": 1,
        "mixed": 1,
    }
    assert {name: notes.lesion_label(name) for name in notes.lesion_types} == {
        "normal": 0,
        "one_row": 3,
        "three_boxes": 6,
        "mixed": None,
    }
    assert notes.lesion_types["mixed"] == ("Disc space narrowing", "Surgical implant")
    assert notes.repeated_rows == 0


@pytest.mark.parametrize("number", range(1, 8))
def test_each_lesion_type(tmp_path, number):
    notes = read_annotations(write(tmp_path, f"s,r,image,rad,{LESION_CLASSES[number]},1,2,3,4"))
    assert (notes.binary_label("image"), notes.lesion_label("image")) == (1, number)


@pytest.mark.parametrize("spelling", ["Spondylolysthesis", "Spondylolisthesis"])
def test_both_spellings(tmp_path, spelling):
    assert read_annotations(write(tmp_path, f"s,r,image,rad,{spelling},1,2,3,4")).lesion_label("image") == 4


def test_form_does_not_matter(tmp_path):
    """Byte order mark, spaces, quotes, blank lines, other columns in another order, DOS line ends."""
    path = tmp_path / "a.csv"
    text = '\ufefflesion_type , note,image_id\r\n"No finding","a, b", x \r\n\r\n,,\r\nOther lesions,,y\r\n'
    path.write_bytes(text.encode("utf-8"))
    assert read_annotations(path).lesion_types == {"x": (), "y": ("Other lesions",)}


def test_repeated_rows_are_counted_not_refused(tmp_path):
    row = "s,r,image,rad,Osteophytes,1,2,3,4"
    notes = read_annotations(write(tmp_path, row, row, "s,r,image,rad,Osteophytes,1,2,3,5", row))
    assert notes.repeated_rows == 2
    assert notes.lesion_label("image") == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["s,r,a,rad,No finding,,,,", "s,r,b,rad,Scoliosis,1,2,3,4"],
            "line 3: unknown lesion_type 'Scoliosis'; use one",
        ),
        (["s,r,a,rad,no finding,,,,"], "line 2: unknown lesion_type 'no finding'"),
        (["s,r,a,rad,,,,,"], "line 2: unknown lesion_type ''"),
        (
            ["s,r,a,rad,No finding,,,,", "s,r,a,rad,Osteophytes,1,2,3,4"],
            "line 3: image a has 'Osteophytes', which contradicts line 2",
        ),
        (
            ["s,r,a,rad,Osteophytes,1,2,3,4", "s,r,b,rad,No finding,,,,", "s,r,a,rad,No finding,,,,"],
            "line 4: image a has 'No finding', which contradicts line 2",
        ),
        (
            ["s1,r,a,rad,No finding,,,,", "s2,r,a,rad,No finding,,,,"],
            "line 3: image a is in another study than on line 2",
        ),
        (["s,r,,rad,No finding,,,,"], "line 2: image_id is empty"),
        (["s,r,a,rad,No finding"], "line 2: 5 values for 9 columns"),
        ([], "holds no rows below its header"),
    ],
)
def test_bad_rows_raise(tmp_path, rows, message):
    path = write(tmp_path, *rows)
    with pytest.raises(UserError, match=f"{re.escape(str(path))}.*{re.escape(message)}"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the column image_id and lesion_type; its header is empty"),
        (b"image_id,label\na,1\n", "lacks the column lesion_type; its header is image_id, label"),
        (b"image_id;lesion_type\na;No finding\n", "lacks the column image_id and lesion_type"),
        (b"image_id,lesion_type,image_id\na,No finding,b\n", "two columns of one name"),
        (b"\xff\xfe\x00image_id,lesion_type\n", "is not UTF-8 text"),
        (b"image_id,lesion_type\n" + b"a" * 200_000 + b",No finding\n", "is not a CSV file"),
    ],
)
def test_bad_files_raise(tmp_path, content, message):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)):
        read_annotations(path)


def test_missing_file_raises(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the annotations .*none\.csv: No such file"):
        read_annotations(tmp_path / "none.csv")


class TestStudyNumbers:
    def test_equal_within_a_study_and_counted_as_they_come(self, tmp_path):
        studies = ("20240311-9", "20190102-4", "20240311-9", "20210704-1", "20190102-4")
        rows = [f"{study},r,image{number},rad1,No finding,,,," for number, study in enumerate(studies)]
        notes = read_annotations(write(tmp_path, *rows))
        assert notes.study_numbers([f"image{number}" for number in range(5)]) == [0, 1, 0, 2, 1]
        assert notes.study_numbers(["image3", "image1", "image4"]) == [0, 1, 1]

    def test_an_image_without_a_study_is_one_of_its_own(self, tmp_path):
        rows = (",r,a,rad1,No finding,,,,", "s,r,b,rad1,No finding,,,,", ",r,c,rad1,No finding,,,,")
        notes = read_annotations(write(tmp_path, *rows))
        assert sorted(notes.study_numbers(["a", "b", "c"])) == [0, 1, 2]
        assert notes.study_numbers(["a", "c"]) is None

    def test_none_where_the_file_knows_no_studies(self, tmp_path):
        notes = read_annotations(write(tmp_path, "a,No finding", header="image_id,lesion_type\n"))
        assert notes.study_numbers(["a"]) is None

"""What the report shows is kept beside the results, so that the work may go."""

import shutil
from pathlib import Path

import pytest

from spine_ext.reproduction.kept_files import keep_shown_files
from spine_ext.reproduction.report import write_all
from tests.spine_ext.reproduction.made_up_results import MadeUpRun


@pytest.fixture
def run(tmp_path: Path) -> MadeUpRun:
    run = MadeUpRun(tmp_path / "out", test_images=20, seeds=1)
    run.data()
    run.samples()
    run.auc("true", None, 0, 0, 1.5)
    return run


def test_the_report_is_the_same_without_the_work(run: MadeUpRun) -> None:
    keep_shown_files(run.folder)
    whole = {path: path.read_bytes() for path in write_all(run.folder)}
    shutil.rmtree(run.folder / "work")
    assert {path: path.read_bytes() for path in write_all(run.folder)} == whole
    assert "gone" not in (run.folder / "reading.md").read_text()


def test_newer_work_replaces_what_was_kept(run: MadeUpRun) -> None:
    keep_shown_files(run.folder)
    work, kept = (run.folder / place / "auc-true-seed0" / "predictions.csv" for place in ("work", "steps"))
    before = kept.stat()
    keep_shown_files(run.folder)
    assert kept.stat().st_ino == before.st_ino, "nothing is copied twice"
    work.write_text(work.read_text() + "0,normal,0,0.5,0.5\n")
    keep_shown_files(run.folder)
    assert kept.read_text() == work.read_text()


@pytest.mark.parametrize("text", ["{", '{"kind": "auc"}', '{"kind": "auc", "result": {"predictions": "../../x"}}'])
def test_broken_results_are_passed_over(run: MadeUpRun, text: str) -> None:
    (run.folder / "steps" / "auc-a-seed0.json").write_text(text)
    keep_shown_files(run.folder)
    assert (run.folder / "steps" / "auc-true-seed0" / "predictions.csv").exists()
    assert not (run.folder / "steps" / "auc-a-seed0").exists()

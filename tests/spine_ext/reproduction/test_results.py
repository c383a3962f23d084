"""Reading step results: complete, partial and broken ones."""

import json
from pathlib import Path

import pytest

from spine_ext.reproduction.auc_rows import auc_rows
from spine_ext.reproduction.results import read_results
from tests.spine_ext.reproduction.made_up_results import MadeUpRun


@pytest.fixture
def run(tmp_path: Path) -> MadeUpRun:
    return MadeUpRun(tmp_path / "out")


def test_own_images_are_no_phantoms_whatever_the_preset(run: MadeUpRun) -> None:
    run.settings()
    assert read_results(run.folder).is_phantom, "until the data are known"
    run.data()
    assert read_results(run.folder).is_phantom
    change(run.folder / "steps" / "data.json", notice=None)
    assert not read_results(run.folder).is_phantom


def test_a_copy_under_another_name_is_no_second_run(run: MadeUpRun) -> None:
    run.auc("true", None, 0, 0, 1.5)
    path = run.folder / "steps" / "auc-true-seed0.json"
    (path.parent / "auc-true-seed0 (1).json").write_text(path.read_text())
    results = read_results(run.folder)
    assert len(results.aucs) == 1
    assert "a copy under another name" in results.problems[0]


def test_an_empty_folder_has_no_results(tmp_path: Path) -> None:
    results = read_results(tmp_path / "missing")
    assert (results.problems, results.data, results.aucs, results.settings) == ((), None, (), {})
    assert results.counts == {500: 500, 1600: 1600, 10_000: 10_000}


def test_a_complete_run_is_read(run: MadeUpRun) -> None:
    run.everything()
    results = read_results(run.folder)
    assert results.problems == ()
    assert results.counts == {500: 200, 1600: 640, 10_000: 2700}
    assert [gan.seed for gan in results.gans_of("spinegan")] == [0, 1, 2]
    assert [each.kimg for each in results.metrics_of("stylegan2-ada")[0].series] == [0, 4, 8, 12, 16, 20]
    assert [auc.row for auc in results.aucs_of("spinegan", 640, real=True)] == ["true+spinegan-640"] * 3
    assert [auc.row for auc in results.aucs_of("spinegan", 2700, real=False)] == ["only-spinegan-2700"] * 3
    assert [auc.row for auc in results.aucs_of("spinegan", 2700, True, "pretrain")] == ["pretrain-spinegan-2700"] * 3
    assert results.aucs_of(None, 0, real=True)[0].predictions.is_file()
    assert {sample.variant for sample in results.samples if sample.figure is not None} >= {"real", "spinegan"}
    assert results.is_phantom


BROKEN = {
    "not JSON": ("{", "auc-x-seed0.json cannot be read as JSON"),
    "not an object": ("[1]", "auc-x-seed0.json is [1]: an object was expected"),
    "no result": ('{"step": "auc-x-seed0", "kind": "auc", "seconds": 1}', "auc-x-seed0.json.result is missing"),
    "a text for a number": ('{"step": "s", "kind": "data", "seconds": "3"}', ".seconds is '3': a finite number"),
    "NaN": ('{"step": "s", "kind": "data", "seconds": NaN}', ".seconds is nan: a finite number was expected"),
    "deep": ("[" * 100_000, "cannot be read as JSON"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_line_and_the_rest_is_read(run: MadeUpRun, text: str, message: str) -> None:
    run.data()
    (run.folder / "steps" / "auc-x-seed0.json").write_text(text)
    results = read_results(run.folder)
    assert len(results.problems) == 1
    assert message in results.problems[0]
    assert "\n" not in results.problems[0]
    assert results.data is not None


def change(path: Path, **values: object) -> None:
    record = json.loads(path.read_text())
    record["result"] |= values
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auc": 1.2}, "AUC of 1.2"),
        ({"auc": None}, "auc is missing"),
        ({"seed": -1}, "seed is -1.0: a whole number"),
        ({"seed": True}, "seed is True"),
        ({"roc": {"fpr": [0, 1], "tpr": [0]}}, "unequal columns"),
        ({"roc": {"fpr": [0, "x"], "tpr": [0, 1]}}, r"roc.fpr is [0, 'x']: a list of finite numbers"),
        ({"predictions": "../../secret.csv"}, "outside out"),
        ({"predictions": "/etc/passwd"}, "outside out"),
    ],
)
def test_a_wrong_value_is_named(run: MadeUpRun, values: dict, message: str) -> None:
    run.auc("true", None, 0, 0, 1.5)
    change(run.folder / "steps" / "auc-true-seed0.json", **values)
    results = read_results(run.folder)
    assert message in results.problems[0]
    assert results.aucs == ()


def test_a_table_of_the_wrong_size_is_named(run: MadeUpRun) -> None:
    run.agreement()
    change(run.folder / "steps" / "agreement-multiconditional-seed0.json", asked_seen=[[1, 2], [3, 4]])
    assert "asked_seen is [[1, 2], [3, 4]]: a table of 8 x 8 counts" in read_results(run.folder).problems[0]


def test_a_file_beside_its_step_is_found(run: MadeUpRun) -> None:
    run.auc("true", None, 0, 0, 1.5)
    change(run.folder / "steps" / "auc-true-seed0.json", predictions="predictions.csv")
    assert read_results(run.folder).aucs[0].predictions.name == "predictions.csv"


class TestAucRows:
    def test_rows_are_the_papers_then_those_beyond_it(self, run: MadeUpRun) -> None:
        run.settings()
        run.aucs()
        rows = auc_rows(read_results(run.folder))
        assert [row.synthetic for row in rows.joined("spinegan")] == [200, 640, 2700]
        assert rows.only("stylegan2-ada").title == "Only StyleGAN2-ADA"
        assert rows.synthetic[-1].title == "SpineGAN first, then true"
        assert rows.synthetic[-1].paper is None
        assert [run.row for run in rows.true.runs] == ["true"] * 3
        assert [run.row for run in rows.longer.runs] == ["true-steps-2700"] * 3
        assert rows.longer.title == "True, about as many steps as with 2,700 more"
        assert len(rows.all) == 11
        assert rows.has_groups
        assert rows.problems == ()

    def test_gone_predictions_leave_the_mean_without_an_interval(self, run: MadeUpRun) -> None:
        run.auc("true", None, 0, 0, 1.5)
        run.auc("true", None, 0, 1, 1.5)
        for path in run.folder.glob("work/*/predictions.csv"):
            path.unlink()
        rows = auc_rows(read_results(run.folder))
        assert rows.true.mean is not None
        assert rows.true.sd is not None
        assert rows.true.estimate is None
        assert "the predictions of true, seed 0, are gone" in rows.problems[0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("class,probability of no,probability of yes\nyes,0.1,0.9\n", "holds no predictions: its header is class"),
            ("image,class,probability of a\n0,a,1\n", "is of the classes a: two were expected"),
        ],
    )
    def test_predictions_of_anything_but_two_classes_are_named(self, run: MadeUpRun, text: str, message: str) -> None:
        for seed in range(2):
            run.auc("true", None, 0, seed, 1.5)
        (run.folder / "work" / "auc-true-seed1" / "predictions.csv").write_text(text)
        rows = auc_rows(read_results(run.folder))
        assert rows.problems[0].startswith(f"auc-true-seed1/predictions.csv {message}")
        assert rows.true.estimate.seeds == 1

    def test_predictions_of_other_images_are_left_out(self, run: MadeUpRun) -> None:
        for seed in range(3):
            run.auc("true", None, 0, seed, 1.5)
        path = run.folder / "work" / "auc-true-seed1" / "predictions.csv"
        path.write_text("\n".join(path.read_text().splitlines()[:-3]) + "\n")
        rows = auc_rows(read_results(run.folder))
        assert "of other test images than the rest" in rows.problems[0]
        assert rows.true.estimate.seeds == 2

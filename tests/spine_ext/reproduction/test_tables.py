"""The tables: what stands in which cell, in markdown, CSV and HTML."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from spine_ext.reproduction.auc_rows import auc_rows
from spine_ext.reproduction.paper_numbers import STRONG_TERM, TABLE_1, TABLE_2
from spine_ext.reproduction.results import read_results
from spine_ext.reproduction.table import Column, Table
from spine_ext.reproduction.tables import all_tables, wilson
from tests.spine_ext.reproduction.made_up_results import MadeUpRun

NAMES = ("table-1-auc", "table-2-image-metrics", "ablation-gamma", "agreement", "private", "timings")


def tables_of(folder: Path) -> dict[str, Table]:
    results = read_results(folder)
    return {table.name: table for table in all_tables(results, auc_rows(results))}


def cells(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.csv())))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> tuple[MadeUpRun, dict[str, Table]]:
    run = MadeUpRun(tmp_path_factory.mktemp("complete") / "out", test_images=60)
    run.everything()
    return run, tables_of(run.folder)


def test_the_papers_numbers_are_those_of_the_design(shared_dir: Path) -> None:
    text = " ".join((shared_dir / "DESIGN.md").read_text().split())
    aucs = [f"{row.auc:.3f}" for row in TABLE_1]
    assert f"state of the art {aucs[0]}; true {aucs[1]}; + StyleGAN2-ADA 500 / 1,600 / 10,000: " in text
    assert f"{' / '.join(aucs[2:5])}; + SpineGAN: {' / '.join(aucs[5:8])}; only StyleGAN2-ADA" in text
    assert f"only StyleGAN2-ADA 10,000: {aucs[8]}; only SpineGAN 10,000: {aucs[9]}" in text
    for row in TABLE_2:
        assert f"{row.title} {row.fid}, {row.precision:.3f}, {row.recall}" in text
    assert f"200 kimg: {STRONG_TERM.fid}, {STRONG_TERM.precision}, {STRONG_TERM.recall:.7f}" in text


def test_cells_of_what_has_not_run_say_so(tmp_path: Path) -> None:
    tables = tables_of(tmp_path)
    assert tuple(tables) == NAMES
    for row in cells(tables["table-1-auc"])[1:]:
        assert row["AUC, here (95% interval)"] == row["AUC, here (95% interval), low"] == "not run"
    for name in ("table-2-image-metrics", "ablation-gamma"):
        assert all(row["FID, here"] == "not run" for row in cells(tables[name]))
    assert all(row["Here"] == "not run" for row in cells(tables["private"]))
    assert "not run" in tables["agreement"].markdown()
    assert '<td class="missing number">not run</td>' in tables["table-2-image-metrics"].html()


def test_table_1_has_the_means_of_the_seeds_beside_the_papers(complete: tuple[MadeUpRun, dict[str, Table]]) -> None:
    run, tables = complete
    rows = cells(tables["table-1-auc"])
    longer = rows.pop(2)
    assert (longer["Training images"], longer["AUC, paper"]) == ("True, about as many steps as with 2,700 more", "–")
    assert [float(row["AUC, paper"]) for row in rows[:10]] == [row.auc for row in TABLE_1]
    best = rows[6]
    assert list(best.values())[:3] == ["True + SpineGAN", "1600", "640"]
    aucs = []
    for seed in range(3):
        path = run.folder / "work" / f"auc-true+spinegan-640-seed{seed}" / "predictions.csv"
        lines = list(csv.DictReader(io.StringIO(path.read_text())))
        labels = [line["class"] == "abnormal" for line in lines]
        aucs.append(sklearn.metrics.roc_auc_score(labels, [float(line["probability of abnormal"]) for line in lines]))
    assert float(best["AUC, here (95% interval)"]) == pytest.approx(np.mean(aucs), abs=1e-8)
    assert float(best["SD of seeds"]) == pytest.approx(np.std(aucs, ddof=1), abs=1e-8)
    assert best["Seeds"] == "3"
    assert float(best["Difference to true, here (95% interval), low"]) < float(
        best["Difference to true, here (95% interval)"]
    )


def test_table_2_has_range_detector_and_real_images(complete: tuple[MadeUpRun, dict[str, Table]]) -> None:
    table = complete[1]["table-2-image-metrics"]
    first, *_, real = cells(table)
    assert float(first["FID, here, smallest"]) < float(first["FID, here"]) < float(first["FID, here, largest"])
    assert (real["Images"], real["FID, here"], real["FID, paper"]) == ("Real test images", "1.42", "–")
    notes = " ".join(table.notes)
    assert "not comparable" in notes
    assert "classifier" in notes
    assert "1,500 generated against 1,470 real images" in notes


def test_real_images_of_another_number_are_called_no_mark(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=20, seeds=1)
    run.real_metrics()
    run.metrics("spinegan", 0, [{"kimg": 4.0, "fid": 9.0, "precision": 0.5, "recall": 0.5}])
    table = tables_of(run.folder)["table-2-image-metrics"]
    assert table.notes[-1].endswith("1,500 test images against 1,470 training images.")
    path = run.folder / "steps" / "metrics-spinegan-seed0.json"
    path.write_text(path.read_text().replace('"num_fake": 1500', '"num_fake": 50000'))
    assert "no mark to reach" in " ".join(tables_of(run.folder)["table-2-image-metrics"].notes)


def test_counts_stand_beside_the_number_of_real_images(complete: tuple[MadeUpRun, dict[str, Table]]) -> None:
    notes = " ".join(complete[1]["table-1-auc"].notes)
    assert "0.13 in the paper, 0.14 here; 0.42 in the paper, 0.44 here; 2.65 in the paper, 1.84 here" in notes


def test_seeds_without_predictions_count_neither_in_the_mean_nor_beside_it(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=20)
    for seed in range(3):
        run.auc("true", None, 0, seed, 1.5)
    (run.folder / "work" / "auc-true-seed1" / "predictions.csv").unlink()
    row = cells(tables_of(run.folder)["table-1-auc"])[1]
    assert row["Seeds"] == "2"


def test_a_step_that_was_gone_on_with_is_marked(tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "out", test_images=20)
    path = run.step("data", "other", {})
    path.write_text(path.read_text().replace('"seconds"', '"resumed": true, "seconds"'))
    table = tables_of(run.folder)["timings"]
    assert cells(table)[0]["Step"] == "data *"
    assert "last attempt alone" in table.notes[0]


def test_the_ablation_compares_at_one_length_of_training(complete: tuple[MadeUpRun, dict[str, Table]]) -> None:
    rows = cells(complete[1]["ablation-gamma"])
    assert [row["γ clinical"] for row in rows] == ["0", "0.01", "0.05"]
    assert {row["kimg, here"] for row in rows} == {"4"}
    assert [row["FID, paper"] for row in rows] == ["–", "–", "147.08"]


def test_agreement_stands_beside_the_classifiers_own_sensitivity(complete: tuple[MadeUpRun, dict[str, Table]]) -> None:
    rows = cells(complete[1]["agreement"])
    assert len(rows) == 8
    assert all(row["Images"] == "100" and row["Chance"] == "0.125" for row in rows)
    low, share, high = (float(rows[0][f"Seen as asked (95% interval){end}"]) for end in (", low", "", ", high"))
    assert low < share < high


def test_wilson_is_the_textbooks_interval() -> None:
    share, low, high = wilson(81, 263)  # Newcombe, Statistics in Medicine 17 (1998), table I
    assert (round(share, 4), round(low, 4), round(high, 4)) == (0.3080, 0.2553, 0.3662)
    assert wilson(0, 0) is None


def test_markdown_is_a_table(complete: tuple[MadeUpRun, dict[str, Table]]) -> None:
    for table in complete[1].values():
        lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
        assert len(lines) == len(table.rows) + 2
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(table.columns) + 1}


def test_texts_are_escaped() -> None:
    table = Table("t", "<b>T</b>", (Column("a|b"),), (("x|y\n<script>",),), ("5 < 6",))
    assert "a\\|b" in table.markdown()
    assert "x\\|y <script>" in table.markdown()
    assert "<script>" not in table.html()
    assert "&lt;b&gt;T" in table.html()
    assert "5 &lt; 6" in table.html()

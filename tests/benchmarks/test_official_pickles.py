"""Network pickles beside the official code: its own part needs a checkout; what surrounds it runs here."""

from click.testing import CliRunner

from benchmarks.official_pickles import CONFIGS, count_different, main, random_snapshot
from stylegan2ada.legacy.writer import save_official


def test_a_folder_that_is_no_checkout(tmp_path):
    result = CliRunner().invoke(main, ["--peer", str(tmp_path)])
    assert result.exit_code == 2
    assert "give the folder of a checkout" in result.output
    assert len(result.output.splitlines()) == 1


def test_differing_tensors_are_counted(tmp_path):
    snapshot = random_snapshot(CONFIGS["cond 32 px grey"])
    save_official(tmp_path / "a.pkl", snapshot)
    snapshot.generator.mapping.w_avg.add_(1)
    save_official(tmp_path / "b.pkl", snapshot)
    assert count_different(tmp_path / "a.pkl", tmp_path / "a.pkl") == "0 of 212"
    assert count_different(tmp_path / "a.pkl", tmp_path / "b.pkl") == "1 of 212"

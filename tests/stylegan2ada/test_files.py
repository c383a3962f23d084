"""Files appear whole or not at all; folders that cannot be written are refused before the work."""

from pathlib import Path

import pytest

from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_path, check_writable, write_json, write_text


class TestAtomicPath:
    def test_the_file_appears_at_the_end_under_its_name_alone(self, tmp_path: Path) -> None:
        final = tmp_path / "new" / "a.bin"
        with atomic_path(final) as temporary:
            temporary.write_bytes(b"whole")
            assert not final.exists()
            assert temporary.parent == final.parent  # a rename across file systems is not atomic
        assert final.read_bytes() == b"whole"
        assert list(final.parent.iterdir()) == [final]

    def test_an_error_keeps_the_old_file_and_leaves_nothing(self, tmp_path: Path) -> None:
        write_text(tmp_path / "a.txt", "old")
        with pytest.raises(RuntimeError, match="boom"), atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError("boom")
        assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]

    def test_the_mode_is_that_of_any_new_file(self, tmp_path: Path) -> None:
        """Whoever may read the folder may read the file, however private the writer made it."""
        (tmp_path / "plain").touch()
        with atomic_path(tmp_path / "file") as temporary:
            temporary.touch(mode=0o600)
        assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_a_number_that_is_none_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "a.json", {"loss": float("nan")})
        assert not list(tmp_path.iterdir())


class TestCheckWritable:
    @pytest.mark.parametrize("name", [".", "new", "new/deeper"])
    def test_makes_nothing(self, tmp_path: Path, name: str) -> None:
        check_writable(tmp_path / name, "--outdir")
        assert not list(tmp_path.iterdir())

    def test_a_relative_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        check_writable("new", "--outdir")

    @pytest.mark.parametrize("name", ["file", "file/below"])
    def test_a_file_in_the_way(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match=rf"--outdir .*/{name} cannot be written: .*/file is a file .*another"):
            check_writable(tmp_path / name, "--outdir")

"""Fetched files and their hashes. Servers that misbehave are in legacy/test_fetch.py, which goes through the same."""

import hashlib
from pathlib import Path

import pytest

from stylegan2ada.download import FetchError, Limits, cached_file, hash_of_file
from stylegan2ada.errors import UserError

LIMITS = Limits("test file", max_bytes=1000)
CONTENT = b"weights of a detector"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(tmp_path) -> str:
    """A file's; the schemes that a user may name are checked by `check_url`."""
    (tmp_path / "served.pt").write_bytes(CONTENT)
    return (tmp_path / "served.pt").as_uri()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "cache" / "detectors" / "detector.pt"


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize("sha256", [DIGEST, DIGEST[:8]])
def test_a_known_hash_is_checked_now_and_later(url, path, sha256):
    said = []
    assert cached_file(url, path, LIMITS, sha256=sha256, notify=said.append) == path
    assert path.read_bytes() == CONTENT
    cached_file(url, path, LIMITS, sha256=sha256, notify=said.append)
    assert said == [f"Fetching {url}"], "once"
    path.write_bytes(b"damaged")
    assert hash_of_file(cached_file(url, path, LIMITS, sha256=sha256, notify=said.append)) == DIGEST
    assert [file.name for file in path.parent.iterdir()] == ["detector.pt"]


@pytest.mark.parametrize("wrong", ["0" * 64, "00000000"])
def test_another_file_is_refused_with_both_hashes_and_not_kept(url, path, wrong):
    with pytest.raises(FetchError) as error:
        cached_file(url, path, LIMITS, sha256=wrong, otherwise="give --detector-file", notify=quiet)
    for part in (url, "another file", wrong, DIGEST[: len(wrong)], f"put that file at {path}, or give --detector-file"):
        assert part in str(error.value)
    assert list(path.parent.iterdir()) == []


def test_a_wrong_file_that_is_there_stays_where_it_cannot_be_replaced(url, path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody's own")
    with pytest.raises(FetchError, match=r"detector.pt, for the one there has another SHA-256, or give its path"):
        cached_file(url, path, LIMITS, sha256="0" * 64, notify=quiet)
    assert path.read_bytes() == b"somebody's own"


def test_an_unknown_hash_is_recorded_and_told(url, path):
    said = []
    cached_file(url, path, LIMITS, notify=said.append)
    assert DIGEST in said[-1]
    cached_file(url, path, LIMITS)
    path.write_bytes(b"other")
    with pytest.raises(UserError, match="has changed since it was fetched: delete it"):
        cached_file(url, path, LIMITS)


def test_without_a_network_it_says_what_to_put_where(path, tmp_path):
    gone = (tmp_path / "gone.pt").as_uri()
    with pytest.raises(FetchError) as error:
        cached_file(gone, path, LIMITS, name="inception", notify=quiet)
    assert str(error.value).startswith(f"cannot fetch inception, {gone} (")
    assert str(error.value).endswith(f"put that file at {path}, or give its path")
    assert "\n" not in str(error.value)


def test_too_much_is_cut(url, path):
    with pytest.raises(FetchError, match="more than any test file"):
        cached_file(url, path, Limits("test file", max_bytes=3), notify=quiet)

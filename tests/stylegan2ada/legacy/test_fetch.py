"""Networks by URL: fetched once and whole, kept, checked; one line where that fails."""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stylegan2ada import download, load
from stylegan2ada.errors import UserError
from stylegan2ada.legacy import fetch as fetching
from stylegan2ada.legacy.fetch import PRESET_URLS, cached_path, fetch, is_remote
from stylegan2ada.legacy.writer import save_official

from .files import snapshot


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; some paths misbehave."""

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/drops.pkl":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # the other side hangs up
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.02)
        elif self.path in ("/short.pkl", "/large.pkl", "/unsized.pkl"):
            self.send_response(200)
            if self.path != "/unsized.pkl":
                self.send_header("Content-Length", "1000" if self.path == "/short.pkl" else str(10**12))
            self.end_headers()
            self.wfile.write(b"x" * 100)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[http.server.ThreadingHTTPServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as found:
        found.requested, found.folder = [], folder
        found.url = f"http://127.0.0.1:{found.server_port}"
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SPINEGAN_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "networks"


def assert_fails(url: str, cache: Path, match: str) -> None:
    """One line that says what to put where; nothing is left in the cache."""
    with pytest.raises(UserError, match=match) as error:
        fetch(url, notify=lambda line: None)
    assert "\n" not in str(error.value)
    assert url in str(error.value)
    assert f"put that file at {cached_path(url)}, or give its path" in str(error.value)
    assert not cache.exists() or list(cache.iterdir()) == []


def set_limits(monkeypatch, **limits: float) -> None:
    monkeypatch.setattr(fetching, "LIMITS", dataclasses.replace(fetching.LIMITS, **limits))


class TestFetching:
    def test_a_network_by_url(self, server, cache, capsys):
        save_official(server.folder / "network.pkl", snapshot())
        url, said = f"{server.url}/network.pkl", []
        found = load(url).generator.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in snapshot().generator.state_dict().items())
        digest = hashlib.sha256((server.folder / "network.pkl").read_bytes()).hexdigest()
        told = capsys.readouterr().err
        assert f"Fetching {url}" in told and f"SHA-256 {digest}" in told and "MB" in told
        assert fetch(url, notify=said.append).parent == cache
        assert (said, server.requested) == ([], ["/network.pkl"])  # once

    def test_our_own_snapshot_by_url(self, server):
        from stylegan2ada.checkpoint import save_snapshot

        original = snapshot()
        save_snapshot(server.folder / "a.safetensors", original.modules(), original.config, 3)
        assert load(f"{server.url}/a.safetensors").kimg == 3

    def test_a_file_that_changed_since(self, server):
        (server.folder / "network.pkl").write_bytes(b"first")
        url = f"{server.url}/network.pkl"
        path = fetch(url, notify=lambda line: None)
        path.write_bytes(b"other")
        with pytest.raises(UserError, match="has changed since it was fetched: delete it") as error:
            fetch(url)
        assert str(path) in str(error.value)

    def test_a_file_that_the_user_put_there(self, server, cache):
        url = f"{server.url}/network.pkl"
        save_official(cached_path(url), snapshot())
        assert load(url).kimg == 200.5
        assert server.requested == []

    def test_an_answer_without_its_size(self, server):
        assert fetch(f"{server.url}/unsized.pkl", notify=lambda line: None).read_bytes() == b"x" * 100

    def test_what_is_no_network(self, server):
        (server.folder / "index.pkl").write_text("<!doctype html>")
        with pytest.raises(UserError, match="is no official snapshot"):
            load(f"{server.url}/index.pkl")


class TestFailure:
    def test_nobody_there(self, cache):
        assert_fails("http://127.0.0.1:9/network.pkl", cache, "cannot fetch .*refused")

    def test_not_found(self, server, cache):
        assert_fails(f"{server.url}/gone.pkl", cache, "404")

    def test_cut_off(self, server, cache):
        assert_fails(f"{server.url}/short.pkl", cache, "100 of 1000 bytes|IncompleteRead")

    def test_too_large(self, server, cache):
        assert_fails(f"{server.url}/large.pkl", cache, "1000.0 GB, more than any network")

    def test_too_large_without_saying_so(self, server, cache, monkeypatch):
        set_limits(monkeypatch, max_bytes=50)
        assert_fails(f"{server.url}/unsized.pkl", cache, "more than any network")

    def test_a_byte_now_and_then(self, server, cache, monkeypatch):
        """Each comes within the time-out; all of them would take two seconds here."""
        set_limits(monkeypatch, total_sec=0.1)
        started = time.monotonic()
        assert_fails(f"{server.url}/drops.pkl", cache, "within")
        assert time.monotonic() - started < 1.5

    def test_too_slow(self, server, cache, monkeypatch):
        set_limits(monkeypatch, total_sec=-1)
        assert_fails(f"{server.url}/unsized.pkl", cache, "within")

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1:9/x.pkl", "gopher://127.0.0.1:9/"])
    def test_a_redirection_to_something_else(self, server, cache, target):
        assert_fails(f"{server.url}/to/{target}", cache, "redirects to|redirection")

    def test_a_redirection_to_http(self, server):
        (server.folder / "network.pkl").write_bytes(b"x")
        assert fetch(f"{server.url}/to/{server.url}/network.pkl", notify=lambda line: None).read_bytes() == b"x"

    def test_no_redirection_from_https_to_http(self):
        request = urllib.request.Request("https://example.org/a")
        with pytest.raises(OSError, match="which is not https"):
            download._SafeRedirects().redirect_request(request, io.BytesIO(), 302, "", {}, "http://example.org/a")

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x.pkl", "s3://bucket/x.pkl", "://x"])
    def test_other_schemes(self, url):
        with pytest.raises(UserError, match="must begin with https:// or http:// and a host"):
            load(url)

    @pytest.mark.parametrize(
        "url", ["http://", "http:///x.pkl", "http://host:port/x.pkl", "http://[::1/x.pkl", "http://a b/"]
    )
    def test_a_url_that_is_none(self, url, cache):
        with pytest.raises(UserError) as error:
            load(url)
        assert "\n" not in str(error.value)


class TestOfficialNames:
    def test_are_those_of_the_official_code(self):
        assert sorted(PRESET_URLS) == ["celebahq256", "ffhq1024", "ffhq256", "ffhq512", "lsundog256"]
        for url in PRESET_URLS.values():
            assert url.startswith(
                "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-"
            )

    def test_keep_their_file_name(self, cache):
        assert cached_path("ffhq256") == cache / "ffhq-res256-mirror-paper256-noaug.pkl"

    def test_without_a_network_say_what_to_put_where(self, cache, monkeypatch):
        def fail(*arguments):
            raise OSError("no route to host")

        monkeypatch.setattr(download, "_download", fail)
        with pytest.raises(UserError, match="cannot fetch ffhq256, https://") as error:
            load("ffhq256")
        assert str(cached_path("ffhq256")) in str(error.value)

    def test_a_file_in_the_cache_is_used(self, cache):
        save_official(cached_path("ffhq256"), snapshot())
        assert load("ffhq256").kimg == 200.5


class TestNames:
    @pytest.mark.parametrize("name", ["ffhq256", "http://x/y", "https://x/y.pkl", "s3://a/b"])
    def test_remote(self, name):
        assert is_remote(name)

    @pytest.mark.parametrize("name", ["network.pkl", "/a/ffhq256.pkl", "ffhq255", Path("ffhq") / "x"])
    def test_local(self, name):
        assert not is_remote(name)

    @pytest.mark.parametrize(
        "url", ["https://x/../../a.pkl", "https://x/%2e%2e%2fb.pkl", "https://x/", "https://x/a?b=/../c"]
    )
    def test_a_url_stays_in_the_cache(self, url, cache):
        path = cached_path(url)
        assert path.resolve().parent == cache.resolve()
        assert path.suffix == ".pkl"

    def test_two_urls_are_two_files(self):
        assert cached_path("https://x/a.pkl") != cached_path("https://y/a.pkl")

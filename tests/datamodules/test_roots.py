"""Downloads from a server on this machine: checked before they appear, never half there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mcubench.datamodules.roots import data_root, fetch
from mcubench.errors import MissingDataError

CONTENT = b"four original files" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/absent":
            self.send_error(404)
            return
        body = {"/good": CONTENT, "/altered": CONTENT[:-1] + b"!", "/cut": CONTENT[:500]}[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def test_a_good_file_arrives(server: str, tmp_path: Path) -> None:
    fetch([f"{server}/good"], tmp_path / "new" / "file.gz", SHA256)
    assert (tmp_path / "new" / "file.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["absent", "altered", "cut"])
def test_the_next_mirror_is_tried(server: str, tmp_path: Path, bad: str) -> None:
    fetch([f"{server}/{bad}", f"{server}/good"], tmp_path / "file.gz", SHA256)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["absent", "altered", "cut"])
def test_a_bad_file_never_appears(server: str, tmp_path: Path, bad: str) -> None:
    with pytest.raises(MissingDataError, match=f"/{bad}"):
        fetch([f"{server}/{bad}"], tmp_path / "file.gz", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_root_by_option_then_environment_then_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MCUBENCH_DATA", "/from/environment")
    assert data_root("/from/option") == Path("/from/option")
    assert data_root(None) == Path("/from/environment")
    monkeypatch.delenv("MCUBENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root(None) == tmp_path / "mcubench" / "data"

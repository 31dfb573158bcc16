"""Any names, modes and sizes of classes: every image arrives once under its class, or one line says why not."""

import os
import sys
import tempfile
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from golden_images import SIDE, golden_files, refused_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from loguru import logger
from PIL import Image

from Resnet23 import datadownload, features
from Resnet23.arrays import read_features
from Resnet23.command import explain
from Resnet23.config import PROCESSED_DIR
from Resnet23.errors import one_line
from Resnet23.files import printable
from Resnet23.images import IMAGE_SUFFIXES
from Resnet23.processed import read_manifest

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid names only")

LONGEST = 255  # bytes of a name
GOLDEN, REFUSED = list(golden_files().values()), list(refused_files().values())
CONTENTS = [*(golden.content for golden in GOLDEN), *REFUSED]


class Source(NamedTuple):
    """A folder of photos, and how it is to be split."""

    classes: dict[bytes, dict[bytes, int]]  # class -> file -> the number of its content
    test_fraction: float
    val_fraction: float


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory):
    """Hypothesis keeps what it knows of Unicode outside of the repository; no log lines."""
    set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))
    logger.remove()
    yield
    set_hypothesis_home_dir(None)


# ----------------------------------------------------------------------------------------------------------------------
# What is tried


def as_name(text: bytes, longest: int) -> bytes:
    """A name that a file system takes."""
    name = text.replace(b"/", b"").replace(b"\0", b"")[:longest]
    return b"x" if name in (b"", b".", b"..") else name


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map(str.encode)
LIKE_EACH_OTHER = st.sampled_from(
    [text.encode() for text in ("caf\u00e9", "cafe\u0301", "CAF\u00c9", "a", "A", "\u212b", "\u00c5", "\\xe9")]
    + [b"\xe9"]
)
AWKWARD = st.sampled_from(
    [
        b"-rf",
        b"--",
        b"...",
        b".hidden",
        b"~",
        b"*",
        b"a\nb",
        b"\r",
        b"\r\n",
        b"\xff",
        b"|",
        b",",
        b'"',
        b"=1+1",
        b"\x1b[1m",
    ]
)
LONG = st.integers(60, LONGEST).flatmap(lambda size: st.sampled_from([b"n" * size, b"\xff" * size]))
STEMS = st.one_of(TEXTS, st.binary(min_size=1, max_size=6), LIKE_EACH_OTHER, AWKWARD, LONG)
SUFFIXES = st.sampled_from(
    [*(suffix.encode() for suffix in IMAGE_SUFFIXES * 2), b".PNG", b".Jpg", b".txt", b".gif", b""]
)
FILE_NAMES = st.builds(lambda stem, suffix: as_name(stem, LONGEST - len(suffix)) + suffix, STEMS, SUFFIXES)
CLASS_NAMES = STEMS.map(lambda stem: as_name(stem, LONGEST))


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """One to four classes: most of images that can be read and enough of them, some empty, small or with others."""
    any_size = draw(st.integers(0, 3)) == 0
    sizes = draw(st.lists(st.integers(0, 3) if any_size else st.integers(4, 12), min_size=1, max_size=4))
    kinds = st.integers(0, len(CONTENTS if draw(st.integers(0, 5)) == 0 else GOLDEN) - 1)
    names = draw(st.lists(CLASS_NAMES, min_size=len(sizes), max_size=len(sizes), unique=True))
    files = [draw(st.dictionaries(FILE_NAMES, kinds, min_size=size, max_size=size)) for size in sizes]
    fractions = draw(st.sampled_from([0.05, 0.2, 0.5, 0.9])), draw(st.sampled_from([0.0, 0.1, 0.3, 0.5]))
    return Source(dict(zip(names, files, strict=True)), *fractions)


# ----------------------------------------------------------------------------------------------------------------------
# What is expected


def images_of(source: Source) -> dict[bytes, dict[bytes, int]]:
    """The visible classes with the files that have the suffix of an image and are visible."""
    return {
        name: {file: kind for file, kind in files.items() if is_image(file)}
        for name, files in source.classes.items()
        if not name.startswith((b".", b"__MACOSX"))
    }


def is_image(file: bytes) -> bool:
    return file.lower().endswith(tuple(suffix.encode() for suffix in IMAGE_SUFFIXES)) and not file.startswith(b".")


def shown(name: bytes) -> str:
    return printable(os.fsdecode(name))


def is_usable(images: dict[bytes, dict[bytes, int]]) -> bool:
    """Whether every class can be told from the others, has a folder, and has an image to train and one to test."""
    names = {shown(name) for name in images}
    kinds = {kind for files in images.values() for kind in files.values()}
    return (
        len(images) == len(names) >= 2
        and max(len(name.encode()) for name in names) <= LONGEST
        and min(map(len, images.values())) >= 2
        and max(kinds) < len(GOLDEN)
    )


# ----------------------------------------------------------------------------------------------------------------------
# The property


@pytest.mark.fault(30)
@pytest.mark.parametrize("examples", [25, pytest.param(400, marks=pytest.mark.slow)])
def test_every_image_arrives_once_under_its_class_or_one_line_says_why_not(examples, record_property):
    outcomes: Counter[str] = Counter()

    @settings(max_examples=examples, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(sources())
    def check(source: Source) -> None:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            outcomes[run_stages(source)] += 1

    check()
    record_property("faults", outcomes.total())
    assert min(outcomes["both stages"], outcomes["refused"]) > examples / 25, outcomes


def run_stages(source: Source) -> str:
    """Run the first two stages on the photos, check what they leave, and say how far they came."""
    images = images_of(source)
    write(source)
    if not succeeds(datadownload.main):
        assert not is_usable(images)
        return "refused"
    assert is_usable(images)
    check_images(images)
    if not succeeds(features.main, "features.val_fraction"):
        return "stage 1"
    check_features(images, source.val_fraction)
    return "both stages"


def write(source: Source) -> None:
    """The photos, and parameters, in the current directory."""
    for name, files in source.classes.items():
        os.makedirs(b"photos/" + name)
        for file, kind in files.items():
            Path(os.fsdecode(b"photos/" + name + b"/" + file)).write_bytes(CONTENTS[kind])
    Path("params.yaml").write_text(
        f"data: {{dataset: folder, source: photos, image_size: {SIDE}, max_per_class: null, "
        f"test_fraction: {source.test_fraction}}}\nfeatures: {{val_fraction: {source.val_fraction}}}\n"
    )


def succeeds(main, named: str = "") -> bool:
    """Whether a stage succeeds; where not it must be by one line for the user, which names what is said."""
    try:
        main()
    except Exception as error:
        line, code = explain(error)
        if code != 2 or named not in line or not one_line(line).isprintable():
            raise
        return False
    return True


def check_images(images: dict[bytes, dict[bytes, int]]) -> None:
    """Every photo is there once, under its class, with its pixels; every class in both splits."""
    rows = read_manifest(PROCESSED_DIR)
    given_pixels: dict[tuple[str, str], list[int]] = {}
    for name, files in images.items():
        for file, kind in files.items():
            given_pixels.setdefault((shown(name), f"{shown(name)}/{shown(file)}"), []).append(kind)
    assert Counter((row.class_name, row.source) for row in rows) == {
        key: len(kinds) for key, kinds in given_pixels.items()
    }
    for row in rows:
        pixels = np.asarray(Image.open(PROCESSED_DIR / row.file)).astype(int)
        candidates = [GOLDEN[kind] for kind in given_pixels[row.class_name, row.source]]
        assert any(abs(pixels - golden.pixels).max() <= golden.tolerance for golden in candidates)
    for split in ("train", "test"):
        assert {row.class_name for row in rows if row.split == split} == {shown(name) for name in images}


def check_features(images: dict[bytes, dict[bytes, int]], val_fraction: float) -> None:
    """Every image is in the arrays, with its class; every class is trained on, and validated if anything is."""
    found, rows = read_features(), read_manifest(PROCESSED_DIR)
    assert found.classes == sorted(map(shown, images))
    for name, split in (("train", found.train), ("test", found.test)):
        expected = [row for row in rows if row.split == name]
        assert split.files == [row.file for row in expected]
        assert [found.classes[target] for target in split.targets] == [row.class_name for row in expected]
        for pixels, row in zip(split.images, expected, strict=True):
            assert np.array_equal(pixels, np.asarray(Image.open(PROCESSED_DIR / row.file)))
    everything = range(len(found.classes))
    assert set(found.train.targets[found.train_indices]) == set(everything)
    assert set(found.train.targets[found.val_indices]) == (set(everything) if val_fraction else set())
    assert sorted([*found.train_indices, *found.val_indices]) == list(range(len(found.train.targets)))

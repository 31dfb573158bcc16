"""A user's own photos, in every state in which users keep them."""

import os
import sys
import tarfile
from pathlib import Path

import pytest
from loguru import logger
from PIL import Image

from Resnet23.config import DataParams
from Resnet23.errors import InputError
from Resnet23.sources import location
from Resnet23.sources.examples import Example, split_examples
from Resnet23.sources.folder import load


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    yield lines
    logger.remove(handler)


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name, "PNG")
    return root


def read(source, seed=0, **data) -> list[Example]:
    return load(DataParams(dataset="folder", source=str(source), **data), seed)


def rows(examples) -> list[tuple[str, str, str]]:
    return [(example.split, example.class_name, example.source) for example in examples]


def test_train_and_test_folders_in_natural_order(tmp_path, log):
    make(
        tmp_path / "photos",
        "train/cat/img10.png",
        "train/cat/img2.PNG",
        "train/a dog/1.jpg",
        "test/cat/ü 1.webp",
        "test/a dog/1.tif",
    )
    assert rows(read("photos")) == [
        ("train", "a dog", "train/a dog/1.jpg"),
        ("train", "cat", "train/cat/img2.PNG"),
        ("train", "cat", "train/cat/img10.png"),
        ("test", "a dog", "test/a dog/1.tif"),
        ("test", "cat", "test/cat/ü 1.webp"),
    ]
    assert log == []


def test_without_a_test_folder_each_class_is_split_by_the_seed(tmp_path, log):
    make(tmp_path, *(f"{name}/{number}.png" for name, count in (("a", 20), ("b", 2)) for number in range(count)))
    split = rows(read(tmp_path, test_fraction=0.2))
    assert [row[0] for row in split if row[1] == "a"].count("test") == 4
    assert sorted(row[0] for row in split if row[1] == "b") == ["test", "train"]
    assert [row[2] for row in split] == [f"a/{number}.png" for number in range(20)] + ["b/0.png", "b/1.png"]
    assert split == rows(read(tmp_path, test_fraction=0.2))
    assert split != rows(read(tmp_path, seed=1, test_fraction=0.2))


@pytest.mark.fault(10)
def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(InputError, match="class b: found 1 image"):
        split_examples([Example("train", name, "x", Path("x")) for name in "aab"], 0.2, 0)


@pytest.mark.fault(9)
def test_stray_and_hidden_files_are_counted_in_one_line(tmp_path, log, record_property):
    record_property("faults", 6)
    make(
        tmp_path,
        "train/a/1.png",
        "train/b/1.png",
        "test/a/1.png",
        "test/b/1.png",
        "train/a/.hidden.png",
        "train/.git/x.png",
    )
    make(tmp_path, "train/b/inner/1.png", "__MACOSX/train/a.png")
    (tmp_path / "train/b/notes.txt").touch()
    (tmp_path / "README").touch()
    assert len(read(tmp_path)) == 4
    assert len(log) == 1
    assert "ignored" in log[0] and ": 6 (train/.git, train/a/.hidden.png, train/b/inner, ...)" in log[0]


@pytest.mark.fault(9)
def test_a_class_that_is_only_in_test_is_refused_with_the_nearest_name(tmp_path, log):
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dogs/1.png")
    with pytest.raises(InputError, match=r"has test images of dogs, but no training images; did you mean dog\?"):
        read(tmp_path)


def test_a_class_that_is_only_in_train_is_told(tmp_path, log):
    make(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "test/a/1.png", "test/b/1.png")
    assert len(read(tmp_path)) == 5
    assert "has training images of c, but no test images" in log[0]


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("names", "empty", "message"),
    [
        (["a/1.png", "b/1.png"], "c", "c: class c has no image"),
        (["train/a/1.png", "train/b/1.png"], "x", "has train/ only"),
        (["1.png", "2.png"], None, "found 0 class folders"),
        (["a/1.png", "a/2.png"], None, "found 1 class folders"),
        ([], None, "found 0 class folders"),
    ],
)
def test_other_layouts_are_refused_and_the_right_one_is_named(tmp_path, log, names, empty, message):
    root = make(tmp_path / "photos", *names)
    (root / (empty or "")).mkdir(parents=True, exist_ok=True)
    with pytest.raises(InputError, match=message):
        read(root)


def test_a_missing_or_absent_source_is_named(log):
    with pytest.raises(InputError, match=r"data\.source: nowhere does not exist"):
        read("nowhere")
    for odd in ("~nobody-of-this-name/photos", "x" * 300):
        with pytest.raises(InputError, match=rf"data\.source: {odd} does not exist"):
            read(odd)
    with pytest.raises(InputError, match=r"data\.source: found null"):
        load(DataParams(dataset="folder"), 0)


@pytest.mark.fault(25)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid Unicode names only")
def test_names_that_are_not_utf8_are_printable(tmp_path, log, record_property):
    record_property("faults", 4)
    make(tmp_path, "a\nb/1\n2.png", "a\nb/3.png")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/c\xff")
    os.mkdir(odd)
    for name in (b"1\xfe.png", b"2.png"):
        Image.new("RGB", (4, 4)).save(os.path.join(odd, os.fsdecode(name)), "PNG")
    assert {row[1:] for row in rows(read(tmp_path))} == {
        ("a\nb", "a\nb/1\n2.png"),
        ("a\nb", "a\nb/3.png"),
        ("c\\xff", "c\\xff/1\\xfe.png"),
        ("c\\xff", "c\\xff/2.png"),
    }


@pytest.mark.fault(25)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid Unicode names only")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([b"c\xff", rb"c\xff"], r"two class folders are called c\\xff when bytes that are not UTF-8 are written"),
        ([b"\xff" * 64, b"c"], r"class (\\xff){64}: found a name of more than 255 bytes"),
    ],
    ids=["alike in print", "too long in print"],
)
def test_classes_whose_printable_names_cannot_be_folders_are_refused(tmp_path, log, names, message):
    for name in names:
        make(tmp_path, *(f"{os.fsdecode(name)}/{number}.png" for number in "12"))
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_an_archive_may_hold_the_folder_or_a_folder_around_it(tmp_path, log):
    make(tmp_path / "photos", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    for inside in (".", "my photos"):
        with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "photos", inside)
        examples = read("photos.tar.gz")
        assert sorted(example.source for example in examples) == ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]
        assert all(example.image.is_file() for example in examples)


def test_a_url_is_downloaded_once(tmp_path, log, monkeypatch):
    make(tmp_path / "photos", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    calls = []

    def fake_download(url, target):
        calls.append(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w") as tar:
            tar.add(tmp_path / "photos", "photos")

    monkeypatch.setattr(location, "download", fake_download)
    for _ in range(2):
        assert len(read("https://example.org/my%20photos.tar?key=1")) == 4
    assert calls == ["https://example.org/my%20photos.tar?key=1"]
    assert "downloaded before" in log[0] and "key" not in log[0]

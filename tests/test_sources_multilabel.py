"""A folder of photos and its labels.csv, in every state in which users keep them."""

import os
import re
import sys
import tarfile
from pathlib import Path
from unicodedata import normalize

import pytest
from loguru import logger
from PIL import Image

from Resnet23.config import DataParams
from Resnet23.errors import InputError
from Resnet23.sources.examples import Example
from Resnet23.sources.multilabel import load


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    yield lines
    logger.remove(handler)


@pytest.fixture
def root(tmp_path, log) -> Path:
    """A folder with the images 1.png to 6.png and no labels yet."""
    return make(tmp_path / "photos", *(f"{number}.png" for number in range(1, 7)))


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name, "PNG")
    return root


def read(root: Path, *lines: str, seed: int = 0, **data) -> list[Example]:
    """The examples of `root` with these lines as its labels.csv."""
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(DataParams(dataset="multilabel", source=str(root), **data), seed)


def labels(examples) -> dict[str, tuple[str, ...]]:
    return {example.source: example.labels for example in examples}


FIRST_FOUR = {"4.png": ("apple", "kiwi"), "1.png": ("apple",), "2.png": ("apple", "kiwi"), "3.png": ("kiwi",)}


@pytest.mark.parametrize(
    "lines",
    [
        ["file,labels", "4.png,kiwi apple", "1.png,apple", "2.png, apple  kiwi ", "3.png,kiwi kiwi"],
        ["\ufefffile , labels", "4.png,kiwi|apple", "1.png,|apple", "", "./2.png,apple | kiwi", "3.png,kiwi"],
        ["kiwi,file,apple", "1,4.png,1", "0,1.png,1", "1,2.png, 1", '"1",3.png,0'],
        ["file\tlabels".replace("\t", ","), '"4.png","apple kiwi"', "1.png,apple", "2.png,kiwi apple", "3.png,kiwi"],
    ],
    ids=["spaces", "bars, byte order mark", "columns", "quotes"],
)
def test_both_forms_give_the_same_labels_in_the_order_of_the_lines(root, lines):
    for name in ("5.png", "6.png"):
        (root / name).unlink()
    examples = read(root, *lines)
    assert list(labels(examples).items()) == list(FIRST_FOUR.items())
    assert all(example.image == root / example.source for example in examples)


def test_the_tables_of_the_guide_say_the_same(tmp_path, log, repository):
    guide = (repository / "docs" / "multi-label.md").read_text(encoding="utf-8")
    tables = re.findall(r"```csv\n(.*?)```", guide, re.DOTALL)
    root = make(tmp_path / "photos", "1.jpg", "2.jpg", "berries/3.jpg", "berries/4.jpg")
    expected = {"1.jpg": ("apple", "banana"), "2.jpg": ("banana",), "berries/3.jpg": ("apple",), "berries/4.jpg": ()}
    assert [labels(read(root, table)) for table in tables] == [expected, expected]


def test_labels_between_bars_and_in_columns_hold_spaces(root):
    between = read(root, "file,labels", *(f"{number}.png,honey bee|ant" for number in (1, 2)), "3.png,honey bee")
    assert labels(between)["3.png"] == ("honey bee",)
    columns = read(root, "file,honey bee,ant", "1.png,1,1", "2.png,1,1", "3.png,1,0")
    assert labels(columns) == labels(between)


def test_the_split_is_that_of_the_folders(tmp_path, log):
    root = make(tmp_path / "photos", "train/a/1.png", "test/b.png", "train/2.jpg")
    examples = read(root, "file,labels", "test/b.png,x", "train/a/1.png,x", "train/2.jpg,x y")
    assert [(example.split, example.source) for example in examples] == [
        ("test", "test/b.png"),
        ("train", "train/a/1.png"),
        ("train", "train/2.jpg"),
    ]
    assert len(log) == 1 and "training images of y, but no test images" in log[0]


def test_a_column_of_the_split_goes_before_the_folders(tmp_path, log):
    root = make(tmp_path / "photos", "train/1.png", "train/2.png", "test/3.png")
    lines = ["file,split,labels", "train/1.png,test,x y", "train/2.png,train,x y", "test/3.png,train,x"]
    assert [example.split for example in read(root, *lines)] == ["test", "train", "train"]


def test_without_a_split_each_label_is_split_by_the_seed(tmp_path, log):
    names = [f"{number}.png" for number in range(40)]
    root = make(tmp_path / "photos", *names)
    lines = [
        "file,labels",
        *(
            f"{name},{'a b c'[: 1 + 2 * (row % 10 == 0) + 2 * (row == 0 or row == 20)]}"
            for row, name in enumerate(names)
        ),
    ]
    examples = read(root, *lines, test_fraction=0.25)
    held_out = [label for example in examples if example.split == "test" for label in example.labels]
    assert {label: held_out.count(label) for label in "abc"} == {"a": 10, "b": 1, "c": 1}
    assert [example.source for example in examples] == names
    splits = [[example.split for example in read(root, *lines, seed=seed)] for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert log == []


def test_images_without_a_label_are_kept_and_those_without_a_line_left_out_in_one_line_each(root, log):
    (root / "notes.txt").touch()
    make(root, ".thumbnails/1.png", "deep/.7.png", "deep/8.png")
    found = labels(read(root, "file,labels", "1.png,a b", "2.png,b a", "3.png,", "4.png,  "))
    assert found == {"1.png": ("a", "b"), "2.png": ("a", "b"), "3.png": (), "4.png": ()}
    assert len(log) == 3
    assert "ignored as no images: 3 (.thumbnails, notes.txt, deep/.7.png)" in log[0]
    assert "images that it does not list: 3 (5.png, 6.png, deep/8.png)" in log[1]
    assert "without any label, kept as showing none of them: 2 (3.png, 4.png)" in log[2]


def test_repeated_lines_are_counted_and_contradictory_ones_refused(root, log):
    for name in ("3.png", "4.png", "5.png", "6.png"):
        (root / name).unlink()
    assert len(read(root, "file,labels", "1.png,a b", "2.png,a b", "./1.png,b a")) == 2
    assert len(log) == 1 and log[0].endswith("labels.csv: ignored as repeated: 1 (1.png in line 4)")
    with pytest.raises(InputError, match=r"contradict each other, keep one: 1\.png in lines 2 and 4"):
        read(root, "file,labels", "1.png,a b", "2.png,a b", "1.png,a")


REFUSED = {
    "no file": (
        ["file,labels", "1.png,a", "2.png,a", "7.png,b", "notes.txt,b"],
        "for 2 of 4 lines: 7.png .line 4., notes",
    ),
    "outside": (["file,labels", "1.png,a", "../other.png,a"], r"for 1 of 2 lines: \.\./other\.png \(line 3\)"),
    "one image": (["file,labels", "1.png,a", "2.png,a b"], "found 1 image of b, expected 2 or more"),
    "no image": (["file,a,b,c", "1.png,1,0,0", "2.png,1,0,0"], "no image has the label b, c; add some"),
    "no label": (["file,labels", "1.png,", "2.png,"], "no image has a label"),
    "test only": (
        ["file,split,labels", "1.png,train,apple", "2.png,test,aple"],
        r"has test images of aple, but no training images; did you mean apple\?",
    ),
    "one split": (["file,split,labels", "1.png,train,a", "2.png,train,b"], "found train in the column split, expected"),
    "other split": (
        ["file,split,labels", "1.png,train,a", "2.png,val,a"],
        "line 3: split: found 'val', expected train",
    ),
    "not 0 or 1": (["file,a", "1.png,1", "2.png,yes", "3.png,"], "line 3: a: found 'yes', .*; line 4: a: found ''"),
    "no name": (["file,labels", ",a"], "line 2: no file"),
    "lengths": (["file,labels", "1.png,a", "2.png,a,b", "3.png"], "expected 2 values .*: line 3 has 3, line 4 has 1"),
    "a cell of commas": (
        ["file,labels", '1.png,"a,b"', '2.png,"a, b"'],
        r"line 2: labels: found 'a,b', expected labels separated by a space or \|; line 3: labels: found 'a, b'",
    ),
    "a cell of semicolons": (["file,labels", "1.png,a;b"], "line 2: labels: found 'a;b', expected labels separated"),
    "a comma in a column": (['file,"a,b"', "1.png,1"], "line 1: found 'a,b', expected labels without comma"),
    "more commas": (["file,labels", "1.png,a,b"], r"line 2 has 3; labels are separated by a space or \|"),
    "a single label": (
        ["file,labels", "1.png,a", "2.png,a", "3.png,"],
        "the only label is a, expected 2 or more; a yes-or-no question is a data.dataset of two class folders",
    ),
    "columns": (["image,labels", "1.png,a"], "found the columns 'image', 'labels'; expected file,labels or file and"),
    "semicolons": (
        ["file;labels", "1.png;a, b"],
        "found ; between the columns, expected a comma; save it as CSV UTF-8",
    ),
    "quoted semicolons": (['"file";"labels"', '"1.png";"a"'], "found ; between the columns, expected a comma"),
    "tabs": (["file\tlabels", "1.png\ta"], "found tabs between the columns, expected a comma"),
    "twice": (["file,a,a", "1.png,1,1"], "found the columns 'file', 'a', 'a'"),
    "a bar": (["file,a|b", "1.png,1"], r"found the columns 'file', 'a\|b'"),
    "no column": (["file", "1.png"], "found the columns 'file'"),
    "no line": (["file,labels"], "no image below the first line"),
    "nothing": ([""], "found the columns none"),
    "open quotes": (["file,labels", '"1.png,a'], "cannot be read as CSV"),
}


@pytest.mark.parametrize(("lines", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named_in_one_line(root, lines, message):
    (root / "notes.txt").touch()
    make(root.parent, "other.png")
    with pytest.raises(InputError, match=message) as caught:
        read(root, *lines)
    assert "labels.csv: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,labels\n1.png,café thé\n".encode("cp1252"), "line 2: found the byte 0xe9, expected text in UTF-8"),
        ("\ufefffile,labels\n1.png,a\n".encode("utf-8") + b"2.png,\xff", "line 3: found the byte 0xff"),
        ("file,labels\n1.png,a b\n".encode("utf-16"), "found UTF-16 or a binary format"),
        ("file,labels\n1.png,a b\n".encode("utf-16-be"), "found UTF-16 or a binary format"),
    ],
    ids=["cp1252", "after a byte order mark", "UTF-16", "UTF-16 without a mark"],
)
def test_other_encodings_are_refused_in_one_line(root, content, message):
    (root / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"labels\.csv: {message}.*; save it as CSV UTF-8") as caught:
        load(DataParams(dataset="multilabel", source=str(root)), 0)
    assert "\n" not in str(caught.value)


def test_labels_in_both_unicode_forms_are_the_same(root):
    composed, decomposed = (normalize(form, "kävä") for form in ("NFC", "NFD"))
    in_a_column = read(root, "file,labels", f"1.png,{composed} a", f"2.png,{decomposed} a")
    as_columns = read(root, f"file,{decomposed},a", "1.png,1,1", "2.png,1,1")
    for examples in (in_a_column, as_columns):
        assert labels(examples) == {"1.png": ("a", composed), "2.png": ("a", composed)}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes one Unicode form for the other")
def test_files_are_found_in_other_spellings_and_once(tmp_path, log):
    composed, decomposed = (normalize(form, "ä.png") for form in ("NFC", "NFD"))
    root = make(tmp_path / "photos", f"a/{composed}", f"b/{decomposed}", "both/" + composed, "both/" + decomposed)
    make(root, "c/1.png", "d\\2.png", "d/2.png")
    lines = [f"a/{decomposed}", f"b\\{composed}", f"both/{composed}", f"both/{decomposed}"]
    lines += ["c\\1.png", ".\\c\\1.png", "d\\2.png"]
    examples = read(root, "file,labels", *(f"{line},x y" for line in lines))
    assert [example.source for example in examples] == [
        *(f"a/{composed}", f"b/{decomposed}", f"both/{composed}", f"both/{decomposed}"),
        *("c/1.png", "d\\2.png"),
    ]
    assert all(example.image == root / example.source for example in examples)
    assert "ignored as repeated: 1 (c/1.png in line 7)" in log[-2] and "it does not list: 1 (d/2.png)" in log[-1]


def test_files_in_one_of_the_folders_only_are_refused(tmp_path, log):
    root = make(tmp_path / "photos", "train/1.png", "test/2.png", "3.png")
    for files, found in ((("train/1.png",), "train"), (("train/1.png", "3.png", "test/2.png"), r"3\.png, test, train")):
        with pytest.raises(
            InputError, match=f"found {found} as the folders of its files, expected both train and test"
        ):
            read(root, "file,labels", *(f"{file},a b" for file in files))


def test_a_folder_without_labels_is_refused(root):
    with pytest.raises(InputError, match=r"labels\.csv: no such file; expected file,labels or file and one column"):
        load(DataParams(dataset="multilabel", source=str(root)), 0)
    with pytest.raises(InputError, match=r"found null, expected your images \(data.dataset: multilabel\)"):
        load(DataParams(dataset="multilabel"), 0)


def test_an_archive_may_hold_the_labels_beside_a_folder_of_images_or_a_folder_around_both(tmp_path, log):
    root = make(tmp_path / "photos", "images/1.png", "images/2.png")
    read(root, "file,labels", "images/1.png,a b", "images/2.png,a b")
    for inside in (".", "my photos"):
        with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as tar:
            tar.add(root, inside)
        examples = load(DataParams(dataset="multilabel", source="photos.tar.gz"), 0)
        assert [example.source for example in examples] == ["images/1.png", "images/2.png"]
        assert all(example.image.is_file() for example in examples)


@pytest.mark.fault(25)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid Unicode names only")
def test_names_may_hold_anything(tmp_path, log):
    root = make(tmp_path / "my photos 🍎", "a b.png", "ü\n1.png", "c,d.png")
    Image.new("RGB", (4, 4)).save(os.fsdecode(os.fsencode(root) + b"/e\xff.png"), "PNG")
    rows = [b"file,labels", b"a b.png,x|\xc3\xa9\n", b'"\xc3\xbc\n1.png",x', b'"c,d.png",\xc3\xa9', b"e\\xff.png,x"]
    (root / "labels.csv").write_bytes(b"\r\n".join(rows))
    examples = load(DataParams(dataset="multilabel", source=str(root)), 0)
    assert labels(examples) == {"a b.png": ("x", "é"), "ü\n1.png": ("x",), "c,d.png": ("é",), "e\\xff.png": ("x",)}
    assert all(example.image.is_file() for example in examples)


@pytest.mark.fault(25)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid Unicode names only")
def test_two_files_of_one_printable_name_are_refused(tmp_path, log):
    root = make(tmp_path / "photos", r"e\xff.png")
    Image.new("RGB", (4, 4)).save(os.fsdecode(os.fsencode(root) + b"/e\xff.png"), "PNG")
    with pytest.raises(InputError, match=r"photos: two files are called e\\xff\.png when bytes that are not UTF-8"):
        read(root, "file,labels", r"e\xff.png,x")


def test_the_photos_of_fruits(log):
    folder = os.environ.get("RESNET23_PHOTOS")
    if not folder or not Path(folder, "fruits").is_dir():
        pytest.skip("set RESNET23_PHOTOS to a folder that holds the photos of fruits to run this test")
    examples = load(DataParams(dataset="multilabel", source=str(Path(folder, "fruits"))), 0)
    splits = [example.split for example in examples]
    assert (splits.count("train"), splits.count("test")) == (240, 60)
    assert {label for example in examples for label in example.labels} == {"apple", "banana", "orange"}
    assert sum(len(example.labels) > 1 for example in examples) == 24
    assert log == []

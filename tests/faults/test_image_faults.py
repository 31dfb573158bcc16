"""Bad, huge, odd and repeated images, stray files and small classes: what the commands make of them."""

import csv
import json
import math
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_images import join_png
from folder_project import DATA, FEATURES, PREDICT, contents, failure, make_project, photo, run
from golden_images import Golden, golden_files, refused_files, save
from PIL import Image
from small_checkpoint import PREPROCESSING, small_checkpoint

from Resnet23.config import CHECKPOINT_FILE
from Resnet23.errors import InputError
from Resnet23.features import split_validation
from Resnet23.images import MAX_PIXELS, decode_image
from Resnet23.modeling.checkpoint import save_checkpoint
from Resnet23.processed import read_manifest
from Resnet23.webapp.answers import Answerer, Upload

pytestmark = pytest.mark.slow  # most of the time is the start of processes that have imported PyTorch

PROCESSED = "data/processed"
FILES = 1000
TWO_CLASSES = {f"{name}/{number}.png": photo(10 * ord(name) + number) for name in "ab" for number in range(6)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with twelve photos of two classes."""
    return make_project(tmp_path / "project", TWO_CLASSES)


@pytest.fixture
def model(project: Path) -> Path:
    """The same with a trained network of its image size."""
    save_checkpoint(project / CHECKPOINT_FILE, small_checkpoint())
    return project


# ----------------------------------------------------------------------------------------------------------------------
# 6: damaged files


def flip_a_bit(content: bytes) -> bytes:
    return content[:200] + bytes([content[200] ^ 16]) + content[201:]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "train/a/00000.png": (lambda png: b"", "zero bytes"),
    "train/a/00001.png": (lambda png: b"not a picture", "not an image"),
    "train/a/00002.png": (lambda png: png[: len(png) // 2], "damaged"),
    "train/b/00000.png": (flip_a_bit, "damaged"),
    "train/b/00001.png": (lambda png: png[:-12], "SHA-256 differs from the manifest"),  # decodes without a complaint
    "test/b/00000.png": (lambda png: photo(99), "SHA-256 differs from the manifest"),
}


@pytest.mark.fault(6)
def test_the_features_stage_names_all_damaged_files_or_leaves_them_out(project, record_property):
    record_property("faults", len(DAMAGES))
    assert run(project, DATA)[0] == 0
    good = {file: (project / PROCESSED / file).read_bytes() for file in DAMAGES}
    for file, (damage, _) in DAMAGES.items():
        (project / PROCESSED / file).write_bytes(damage(good[file]))
    assert decode_image(project / PROCESSED / "train/b/00001.png").size == (16, 16)
    code, line = failure(project, FEATURES)
    assert code == 2 and line.startswith("data/processed: 6 bad images: ") and "`make data`" in line
    assert all(f"{file} ({reason}" in line for file, (_, reason) in DAMAGES.items())
    assert not contents(project / "data/features")
    code, lines = run(project, FEATURES, "--set", "features.on_bad_image=skip", "--set", "features.val_fraction=0")
    assert code == 0 and any("6 bad images are left out" in line for line in lines)
    info = json.loads((project / "data/features/features.json").read_text(encoding="utf-8"))
    assert {entry["file"] for entry in info["skipped"]} == DAMAGES.keys()
    assert sum(info["counts"].values()) == 12 - len(DAMAGES)
    assert run(project, DATA)[0] == 0 and run(project, FEATURES)[0] == 0


@pytest.mark.fault(6)
def test_the_download_stage_names_all_damaged_photos_and_keeps_what_was_there(project, record_property):
    record_property("faults", 3)
    assert run(project, DATA)[0] == 0
    before = contents(project / "data")
    for name, content in {"a/0.png": b"", "a/1.png": b"text", "b/2.png": photo(7)[:300]}.items():
        (project / "photos" / name).write_bytes(content)
    code, line = failure(project, DATA)
    assert code == 2 and line.startswith("3 unreadable images, repair or remove them: ")
    assert all(f"photos/{name}: " in line for name in ("a/0.png", "a/1.png", "b/2.png"))
    assert contents(project / "data") == before


# ----------------------------------------------------------------------------------------------------------------------
# 7: huge images


def huge_png(side: int) -> bytes:
    """A whole PNG file of a black square, one bit a pixel."""
    compressor, row = zlib.compressobj(1), bytes(1 + side // 8)
    data = b"".join(compressor.compress(row * 1000) for _ in range(side // 1000)) + compressor.flush()
    return join_png([(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")])


def with_size(content: bytes, mark: bytes, place: int, form: str, *size: int) -> bytes:
    """A file whose header says another size, `place` bytes behind a mark."""
    changed = bytearray(content)
    struct.pack_into(form, changed, content.index(mark) + place, *size)
    return bytes(changed)


def huge_files() -> dict[str, bytes]:
    """Small files that promise up to four billion pixels; those of the PNG format hold them."""
    small = Image.new("RGB", (8, 8))
    lossless = save(small, "WEBP", lossless=True)
    return {
        "whole.png": huge_png(16_000),
        "just too large.png": huge_png(9_000),
        "jpeg.jpg": with_size(save(small, "JPEG"), b"\xff\xc0", 5, ">HH", 65_500, 65_500),
        "bitmap.bmp": with_size(save(small, "BMP"), b"BM", 18, "<ii", 60_000, 60_000),
        "fax.tif": with_size(
            with_size(save(small, "TIFF"), struct.pack("<HHI", 256, 4, 1), 8, "<I", 60_000),
            struct.pack("<HHI", 257, 4, 1),
            8,
            "<I",
            60_000,
        ),
        "lossless.webp": with_size(lossless, b"VP8L", 9, "<I", 16_382 | 16_382 << 14),
    }


@pytest.mark.fault(7)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits the memory by /proc, which Linux has")
def test_huge_images_are_refused_before_they_take_memory(model, record_property):
    """Predicted with so little address space that none could be decoded; the decoder of WebP wants its own at once."""
    files = huge_files()
    record_property("faults", 3 * len(files))
    for name, content in files.items():
        (model / "photos/a" / name).write_bytes(content)
    code, line = failure(model, DATA)
    assert code == 2 and line.startswith(f"{len(files)} unreadable images")
    assert all(f"photos/a/{name}: " in line for name in files)
    assert line.count(f"{MAX_PIXELS:,}") == len(files)
    code, lines = run(model, PREDICT, "photos/a", memory=MAX_PIXELS)
    errors = [line for line in lines if "  error: " in line]
    assert code == 0 and len(errors) == len(files)
    assert all(f"{MAX_PIXELS:,}" in line for line in errors if ".webp" not in line)
    rows = ask_the_page(model / "photos/a", files)
    assert all(f"{MAX_PIXELS:,}" in row["error"] for row in rows)


def ask_the_page(folder: Path, names) -> list[dict]:
    """What the page that takes uploads says of the files."""
    answerer = Answerer(small_checkpoint(), torch.device("cpu"))
    return list(answerer.rows([Upload(folder / name, name) for name in names]))


# ----------------------------------------------------------------------------------------------------------------------
# 8: modes


@pytest.mark.fault(8)
def test_every_mode_becomes_its_golden_array_in_stage_1_and_gets_its_answer(tmp_path, record_property):
    """Stage 1 writes the array; of the file and of that array the prediction and the page say the same."""
    golden = golden_files()
    record_property("faults", 3 * len(golden))
    photos = {f"train/odd/{name}": file.content for name, file in golden.items()}
    others = {f"{split}/plain/1.png": photo(1) for split in ("train", "test")}
    place = make_project(tmp_path / "project", photos | others | {"test/odd/1.png": photo(2)})
    save_checkpoint(place / CHECKPOINT_FILE, small_checkpoint())
    assert run(place, DATA)[0] == 0
    made = {row.source: place / PROCESSED / row.file for row in read_manifest(place / PROCESSED)}
    found = {name: made[f"train/odd/{name}"] for name in golden}
    wrong = [name for name, file in golden.items() if differs(found[name], file)]
    assert wrong == []
    pairs = [str(path) for name in golden for path in (place / "photos/train/odd" / name, found[name])]
    assert run(place, PREDICT, *pairs, "--output", "table.json")[0] == 0
    rows = json.loads((place / "table.json").read_text(encoding="utf-8"))
    assert all(one["top5"] == other["top5"] != {} for one, other in zip(rows[::2], rows[1::2], strict=True))
    answers = ask_the_page(place / "photos/train/odd", golden)
    assert [answer["top5"] for answer in answers] == [row["top5"] for row in rows[::2]]


def differs(png: Path, golden: Golden) -> bool:
    """Whether a file of stage 1 is not what it should be."""
    pixels = np.asarray(Image.open(png)).astype(int)
    return bool(abs(pixels - golden.pixels).max() > golden.tolerance)


@pytest.mark.fault(8)
def test_pixels_of_an_unknown_range_are_refused_by_name(project, record_property):
    files = refused_files()
    record_property("faults", len(files))
    for name, content in files.items():
        (project / "photos/a" / name).write_bytes(content)
    code, line = failure(project, DATA)
    assert code == 2 and line.startswith("2 unreadable images")
    for name in files:
        assert f"photos/a/{name}: 32-bit pixels, whose range is unknown; save the image with 8 or 16 bits" in line


# ----------------------------------------------------------------------------------------------------------------------
# 9: stray files; classes in test only


@pytest.mark.fault(9)
def test_what_is_no_image_is_counted_and_ignored(project, record_property):
    stray = [
        "imageNotFound.gif",
        ".DS_Store",
        "a/Thumbs.db",
        "a/.hidden.png",
        ".git/x.png",
        "b/inner/1.png",
        "__MACOSX/1",
    ]
    record_property("faults", len(stray))
    for name in stray:
        path = project / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(0))
    (project / "photos/b/broken link.png").symlink_to("nowhere.png")
    code, lines = run(project, DATA)
    assert code == 0 and len(read_manifest(project / PROCESSED)) == len(TWO_CLASSES)
    (line,) = [line for line in lines if "ignored" in line]
    assert f": {len(stray) + 1} (" in line


@pytest.mark.fault(9)
def test_a_class_without_training_images_is_refused_with_the_nearest_name(tmp_path):
    names = ["train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dogs/1.png"]
    place = make_project(tmp_path / "project", {name: photo(number) for number, name in enumerate(names)})
    code, line = failure(place, DATA)
    assert code == 2
    assert line == "photos: has test images of dogs, but no training images; did you mean dog?"
    assert not contents(place / "data")


# ----------------------------------------------------------------------------------------------------------------------
# 10: empty and small classes


@pytest.mark.fault(10)
def test_empty_and_single_classes_are_named_by_stage_1(project, record_property):
    record_property("faults", 2)
    (project / "photos/empty").mkdir()
    code, line = failure(project, DATA)
    assert code == 2 and line.startswith("photos/empty: class empty has no image (.jpg, ")
    for name in ("empty", "second"):
        (project / "photos" / name).mkdir(exist_ok=True)
        (project / "photos" / name / "1.png").write_bytes(photo(0))
    code, line = failure(project, DATA)
    assert code == 2 and "empty, second" in line and "at least 2" in line and "test/" in line


@pytest.mark.fault(10)
def test_a_class_too_small_to_hold_some_out_is_named_by_stage_2(tmp_path):
    names = [f"train/{name}/{number}.png" for name in "ab" for number in range(6)] + ["train/rare/0.png"]
    names += [f"test/{name}/0.png" for name in ("a", "b", "rare")]
    place = make_project(tmp_path / "project", {name: photo(number) for number, name in enumerate(names)})
    assert run(place, DATA)[0] == 0
    code, line = failure(place, FEATURES)
    assert code == 2 and line.startswith("features.val_fraction 0.25: ") and "rare (1)" in line
    assert "add images, or set it to 0" in line and not contents(place / "data/features")
    assert run(place, FEATURES, "--set", "features.val_fraction=0")[0] == 0


@pytest.mark.fault(10)
def test_any_sizes_of_classes_are_split_or_refused_by_name(record_property):
    """All sizes up to five of three classes, and several shares: every class is on both sides, or the smallest named.

    Accepted is every split without a class of one image and with three images or more on each side, one of a class.
    """
    sizes = [(one, two, three) for one in range(1, 6) for two in range(one, 6) for three in range(two, 6)]
    fractions, accepted = (0.05, 0.3, 0.5, 0.9), []
    record_property("faults", len(sizes) * len(fractions))
    for counts in sizes:
        for fraction in fractions:
            images = sum(counts)
            held_out = math.ceil(fraction * images)
            accepted.append(min(counts) > 1 and min(held_out, images - held_out) >= 3)
            smallest = [name for name, count in zip("abc", counts, strict=True) if count == counts[0]]
            assert too_small(counts, fraction) == ([] if accepted[-1] else smallest), (counts, fraction)
    assert any(accepted) and not all(accepted)


@pytest.mark.fault(10)
def test_a_class_whose_share_is_less_than_an_image_is_named():
    """Where there are enough images to hold out, but all are of the other classes."""
    assert too_small((2, 20, 20), 0.3) == []
    assert too_small((2, 20, 20), 0.05) == ["a"]
    assert too_small((20, 2, 20), 0.05) == ["b"]


def too_small(counts: tuple[int, ...], fraction: float) -> list[str]:
    """The classes, of a, b and c, that a refusal names with their sizes; none if every one of them is on both sides."""
    targets = np.repeat([0, 1, 2], counts)
    try:
        held_out = split_validation(targets, ["a", "b", "c"], fraction, seed=0)
    except InputError as error:
        named = dict(re.findall(r"\b([abc]) \((\d+)\)", str(error)))
        assert all(int(size) == counts["abc".index(name)] for name, size in named.items())
        return list(named)
    held = np.bincount(targets[held_out], minlength=3)
    assert (held > 0).all() and (held < counts).all()
    return []


# ----------------------------------------------------------------------------------------------------------------------
# 11: the same image in training and test


@pytest.mark.fault(11)
def test_repeated_images_are_reported_and_limited(tmp_path, record_property):
    record_property("faults", 3)
    names = [f"{split}/{name}/{number}.png" for split in ("train", "test") for name in "ab" for number in range(4)]
    files = {name: photo(number) for number, name in enumerate(names)}
    files["test/a/1.png"] = files["train/a/2.png"]
    files["test/b/0.png"] = files["train/a/3.png"]
    files["train/b/1.png"] = files["train/b/0.png"]
    place = make_project(tmp_path / "project", files)
    assert run(place, DATA)[0] == 0
    code, lines = run(place, FEATURES)
    assert code == 0 and any("identical pairs: train-train 1, test-test 0, train-test 2;" in line for line in lines)
    info = json.loads((place / "data/features/features.json").read_text(encoding="utf-8"))
    leaks = [["train/a/00002.png", "test/a/00001.png"], ["train/a/00003.png", "test/b/00000.png"]]
    assert info["duplicates"]["identical"]["train-test"] == {"count": 2, "pairs": leaks}
    shutil.rmtree(place / "data/features")
    code, line = failure(place, FEATURES, "--set", "features.max_leaked=1")
    assert code == 2 and line.startswith("2 identical images in train and test, features.max_leaked allows 1: ")
    assert all(" = ".join(pair) in line for pair in leaks) and not contents(place / "data/features")
    assert run(place, FEATURES, "--set", "features.max_leaked=2")[0] == 0


# ----------------------------------------------------------------------------------------------------------------------
# 23: one unreadable file among many


@pytest.mark.fault(23)
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_one_unreadable_file_among_a_thousand_costs_one_row(model, suffix):
    many = model / "many"
    many.mkdir()
    files = [many / f"{number:04d}.png" for number in range(FILES)]
    for number, file in enumerate(files):
        file.write_bytes(photo(number % 20, PREPROCESSING.image_size))
    files[617].write_bytes(photo(617)[:200])
    code, lines = run(model, PREDICT, "many", "--output", f"table{suffix}")
    assert code == 0 and lines[-1] == f"1 of {FILES} files could not be read; their rows say why"
    rows = read_table(model / f"table{suffix}")
    assert [row["file"] for row in rows] == [f"many/{file.name}" for file in files]
    assert [number for number, row in enumerate(rows) if row["error"]] == [617]
    assert sum(bool(row["class"]) for row in rows) == FILES - 1
    (model / f"table{suffix}").unlink()
    code, line = failure(model, PREDICT, "many", "--output", f"table{suffix}", "--strict")
    assert code == 2 and line == f"1 of {FILES} files could not be read; their rows say why"
    assert read_table(model / f"table{suffix}") == rows


def read_table(path: Path) -> list[dict]:
    """The rows of a table of predictions."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else json.load(file)

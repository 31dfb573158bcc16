"""Names that hold anything, of files, classes and the project's own folder, give the results of plain names."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from folder_project import DATA, FEATURES, PLOTS, PREDICT, TRAIN, make_project, photo, run
from forked_processes import start

from Resnet23.config import CHECKPOINT_FILE, METRICS_FILE, PAGE_FILE, PREDICTIONS_FILE, PROCESSED_DIR
from Resnet23.errors import one_line
from Resnet23.files import printable
from Resnet23.history import read_history
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.predictions import read_predictions
from Resnet23.processed import read_manifest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid names only"),
]

CLASSES = [
    b"\t tab",
    b"two\nlines",
    b"car\rriage",
    b'"quoted", with; comma',
    b"$x_1$ & <b>",
    b"-dash",
    b"=1+1",
    b"a class",
    b"c\xff\xfe",
    b"e\xcc\x81",  # e and an accent
    "\u00e9".encode(),  # the same letter in one piece
    "\u871c\u8702 \U0001f41d".encode(),
]
FILES = [
    b" .png",
    b"-1.png",
    b"1\n2.png",
    b"1\r2.png",
    b"100%.png",
    b'"a", b;.png',
    b"\x1b[31mred.png",
    b"\xff\xfe.png",
    b"a\\b.png",
    "\U0001f41d.png".encode(),
    b"x" * 251 + b".png",
]
ODD_FOLDER = os.fsdecode("sp ace \U0001f41d\nline %41 #x?y".encode() + b"\xff")
TESTED = 3  # files of each class that are test images
NAMES = len(CLASSES) + len(FILES) + 1
CLOCK = ("seconds", "images_per_second", "data_wait")


def odd_photos() -> dict[str, bytes]:
    """Photos below odd names, each with pixels of its own."""
    places = [
        (b"test" if number < TESTED else b"train", name, file, 100 * one + number)
        for one, name in enumerate(CLASSES)
        for number, file in enumerate(FILES)
    ]
    return {os.fsdecode(b"/".join(place)): photo(number) for *place, number in places}


def plain_photos(odd: Path) -> dict[str, bytes]:
    """The images that the first stage has made of these, below plain names in the same order."""
    processed = odd / PROCESSED_DIR
    rows = read_manifest(processed)
    numbers = {name: number for number, name in enumerate(sorted({row.class_name for row in rows}))}
    return {
        f"{row.split}/{numbers[row.class_name]:02d}/{Path(row.file).name}": (
            odd / PROCESSED_DIR / row.file
        ).read_bytes()
        for row in rows
    }


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project of odd names and one of plain names, both after all stages."""
    top = tmp_path_factory.mktemp("projects")
    odd = make_project(top / ODD_FOLDER, odd_photos())
    run_stages(odd, DATA)
    plain = make_project(top / "plain", plain_photos(odd))
    run_stages(plain, DATA)
    for folder in (odd, plain):
        run_stages(folder, FEATURES, TRAIN, PREDICT, PLOTS)
    return odd, plain


def run_stages(folder: Path, *stages: str) -> None:
    """Run stages that succeed, whose lines are lines."""
    for stage in stages:
        code, lines = run(folder, stage)
        assert code == 0, lines


@pytest.mark.fault(25)
def test_every_image_arrives_under_its_class(projects, record_property):
    record_property("faults", NAMES)
    odd, _ = projects
    given = {printable(name): content for name, content in odd_photos().items()}
    rows = read_manifest(odd / PROCESSED_DIR)
    assert {row.source: (odd / PROCESSED_DIR / row.file).read_bytes() for row in rows} == given
    assert all(row.source.startswith(f"{row.split}/{row.class_name}/") for row in rows)


@pytest.mark.fault(25)
def test_features_training_and_predictions_are_those_of_plain_names(projects, record_property):
    record_property("faults", NAMES)
    odd, plain = projects
    assert arrays(odd) == arrays(plain)
    assert history(odd) == history(plain)
    (model, classes), (expected, _) = weights(odd), weights(plain)
    assert all(torch.equal(model[name], expected[name]) for name in expected)
    found, wanted = (read_predictions(folder / PREDICTIONS_FILE) for folder in projects)
    assert np.array_equal(found.probabilities, wanted.probabilities) and np.array_equal(found.labels, wanted.labels)
    assert found.classes == classes == sorted(printable(os.fsdecode(name)) for name in CLASSES)
    assert found.files == [row.file for row in read_manifest(odd / PROCESSED_DIR) if row.split == "test"]
    assert metrics(odd) == metrics(plain)


@pytest.mark.fault(25)
def test_the_page_shows_the_names_as_text(projects):
    page = (projects[0] / PAGE_FILE).read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page and "<b>" not in page.partition("<body")[2].replace("&lt;b&gt;", "")
    assert "\U0001f41d" in page and "c\\xff\\xfe" in page


@pytest.mark.fault(25)
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_files_under_odd_names_get_the_answers_of_plain_ones(projects, suffix, record_property):
    """On the screen each row is one line without control characters; the table gives the names back."""
    record_property("faults", NAMES)
    tables = []
    for folder in projects:
        code, lines = run(folder, PREDICT, "data/processed/test", "photos", "--output", f"table{suffix}")
        assert code == 0
        shown = [line for line in lines if "%" in line]
        assert len(shown) == len(lines) and all(line.isprintable() for line in lines)
        tables.append(read_table(folder / f"table{suffix}"))
        assert len(tables[-1]) == len(lines)
    found, expected = tables
    names = {row["file"] for row in found}
    assert {f"photos/{printable(name)}" for name in odd_photos()} <= names
    assert sorted(answers(found)) == sorted(answers(expected))


@pytest.mark.fault(25)
def test_a_terminal_that_is_not_of_utf8_gets_escapes(projects):
    command = start(projects[0], PREDICT, "data/processed/test", before=print_ascii)
    assert command.wait() == 0
    lines = command.lines()
    assert lines and all(line.isascii() for line in lines) and any(r"\U0001f41d" in line for line in lines)


def print_ascii() -> None:
    """Let this process print to what takes nothing but ASCII."""
    sys.stdout = open(1, "w", encoding="ascii", closefd=False)  # noqa: SIM115 - until the process ends


@pytest.mark.fault(25)
def test_runs_are_tracked_inside_the_folder_or_one_line_says_why_not(projects):
    """MLflow would write what belongs to a folder that is not UTF-8 into another one beside it."""
    odd, _ = projects
    text = odd.with_name(os.fsencode(odd.name)[:-1].decode())
    shutil.copytree(odd, text)
    before = set(os.listdir(odd.parent)) | {f"{text.name}.log"}
    complaints = []
    for folder in (odd, text):
        code, lines = run(folder, TRAIN, "--set", "tracking.enabled=true")
        assert code == 0
        complaints += [line for line in lines if "tracking" in line]
    (complaint,) = complaints
    place = one_line(printable(odd))
    assert complaint.startswith(
        f"tracking stops, the work goes on: {place}: holds bytes that are not UTF-8, and MLflow"
    )
    assert any((text / "mlruns/artifacts").rglob(CHECKPOINT_FILE.name)) and not (odd / "mlruns").exists()
    assert set(os.listdir(odd.parent)) == before


def arrays(folder: Path) -> dict[str, bytes]:
    """The images and the targets."""
    paths = (folder / "data/features").rglob("*.npy")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def history(folder: Path) -> dict[str, list[float]]:
    """What training measured, but for the time it took."""
    read = read_history(folder / "reports/history.csv")
    return {name: values.tolist() for name, values in read.items() if name not in CLOCK}


def weights(folder: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The trained weights, and the names of the classes beside them."""
    checkpoint = load_checkpoint(folder / CHECKPOINT_FILE)
    return checkpoint.state_dict, checkpoint.classes


def metrics(folder: Path) -> list:
    """The values in metrics.json, without the names of classes."""
    return without_names(json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")))


def without_names(value):
    """Values of dictionaries as lists."""
    return [without_names(each) for each in value.values()] if isinstance(value, dict) else value


def read_table(path: Path) -> list[dict]:
    """The rows of a table of predictions."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True)) if path.suffix == ".csv" else json.load(file)


def answers(rows: list[dict]) -> list[str]:
    """What was said of each file, without the names."""
    confidences = [str(row["confidence"]) for row in rows]
    assert all(confidences)
    return confidences

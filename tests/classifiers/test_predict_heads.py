"""The command that classifies image files with a saved head."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from small_encoders import FEATURES, hugging_face_encoder, save_hugging_face_encoder
from typer.testing import CliRunner, Result

from Resnet23.classifiers import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.classifiers.encoders import load_encoder
from Resnet23.classifiers.predict import main
from Resnet23.classifiers.saved import describe_head, save_head
from Resnet23.errors import InputError, IntegrityError

CLASSES = ["ant", 'a "bee"', "cat"]


@pytest.fixture
def place(no_project: Path) -> Path:
    """A folder with an encoder, the heads binary.pth and multiclass.pth, three photos and a broken one."""
    encoder = load_encoder(save_hugging_face_encoder(Path("encoder"), image_size=16))
    torch.manual_seed(0)
    save_head(
        "multiclass.pth", describe_head(create_multiclass_classifier_head(FEATURES, 16, 0.2, 3), encoder, CLASSES)
    )
    binary = create_binary_classifier_head(FEATURES, 16)
    random = np.random.default_rng(0)
    Path("photos").mkdir()
    for index in range(3):
        Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(f"photos/{index}.png")
    Path("photos/broken.png").write_bytes(b"no image")
    save_head("binary.pth", describe_head(binary, encoder, ["cat"], threshold=0.0))
    save_head("never.pth", describe_head(binary, encoder, ["cat"], threshold=1.0))
    return no_project


def run(*arguments: str) -> Result:
    """The command with these arguments, in this process; what it raises is raised."""
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, arguments, catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize("head", ["binary", "multiclass"])
def test_every_file_gets_a_row_that_csv_and_json_agree_on(place, head):
    main(Path(f"{head}.pth"), [Path("photos")], output=Path("table.json"), batch_size=2)
    result = run(f"{head}.pth", "photos", "--output", "table.csv", "--batch_size", "3", "--device", "cpu")
    rows = json.loads(Path("table.json").read_text(encoding="utf-8"))
    with open("table.csv", newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"photos/{name}.png" for name in ("0", "1", "2", "broken")]
    assert [(row["file"], row["class"], row["error"]) for row in read] == [
        (row["file"], row["class"], row["error"]) for row in rows
    ]
    assert [json.loads(row["top5"]).keys() for row in read] == [row["top5"].keys() for row in rows]
    assert len(result.stdout.splitlines()) == 4
    assert (rows[3]["class"], rows[3]["error"][:12]) == ("", "not an image")
    for row in rows[:3]:
        assert sum(row["top5"].values()) == pytest.approx(1, abs=1e-5)
        assert row["confidence"] == row["top5"][row["class"]]


def test_the_threshold_of_a_binary_head_decides(place):
    assert run("binary.pth", "photos/0.png").stdout.startswith("photos/0.png  cat  ")
    assert run("never.pth", "photos/0.png").stdout.startswith("photos/0.png  not cat  ")


def test_an_encoder_that_has_moved_is_named_by_hand(place, monkeypatch):
    before = run("multiclass.pth", "photos").stdout
    shutil.move("encoder", "elsewhere")
    with pytest.raises(InputError, match=r"multiclass\.pth: its encoder was loaded from encoder, .* --encoder"):
        run("multiclass.pth", "photos")
    assert run("multiclass.pth", "photos", "--encoder", "elsewhere").stdout == before


@pytest.mark.fault(21)
def test_another_encoder_is_refused(place):
    shutil.copytree("encoder", "other")
    other = hugging_face_encoder()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    other.save_pretrained("other")
    with pytest.raises(IntegrityError, match="the encoder other has other weights than encoder"):
        run("multiclass.pth", "photos", "--encoder", "other")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.pth", "photos"], r"nothing\.pth: no such file; expected a head"),
        (["binary.pth", "nothing.png"], r"nothing\.png: no such file or folder"),
        (["binary.pth", "photos", "--output", "table.xlsx"], r"ends in \.csv or \.json"),
        (["binary.pth", "photos", "--strict"], "1 of 4 files could not be read"),
    ],
)
def test_a_wrong_call_is_one_clear_line(place, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)

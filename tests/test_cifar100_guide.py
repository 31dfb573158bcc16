"""docs/cifar100.md: its commands work, and the small setting gives what it promises, on made-up images."""

import json
import re
import shlex
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import typer
from small_project import REPOSITORY

from Resnet23 import datadownload, features, plots
from Resnet23.arrays import read_features
from Resnet23.config import PRESETS_DIR, DataParams, load_params
from Resnet23.modeling import predict, train
from Resnet23.project import main as project_command
from Resnet23.sources import DATASETS
from Resnet23.sources.cifar import CIFAR100
from Resnet23.sources.examples import Example

GUIDE = (REPOSITORY / "docs/cifar100.md").read_text(encoding="utf-8")
PROJECTS = re.findall(r"^python -m Resnet23\.project (.*)$", GUIDE, re.MULTILINE)
COPIED = ("params.yaml", "dvc.yaml", "reports/extras/README.md")
TINY = [
    "model.width=4",
    "train.epochs=1",
    "train.device=cpu",
    "train.precision=fp32",
    "predict.device=cpu",
    "plots.dpi=50",
    "plots.examples=4",
    "tracking.enabled=false",
    "tracking.tensorboard=false",
]


def made_up(data: DataParams, seed: int) -> list[Example]:
    """Noise of 32 pixels in every class of CIFAR-100, ten images to train on and four to test with."""
    random = np.random.default_rng(seed)
    return [
        Example(split, name, f"{split}/{number}", random.integers(0, 256, (32, 32, 3), np.uint8))
        for split, count in (("train", 10), ("test", 4))
        for name in CIFAR100.classes
        for number in range(count)
    ]


@pytest.fixture
def small_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the guide's commands need of the repository as the current directory, with a CIFAR-100 of noise."""
    for name in COPIED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / PRESETS_DIR, tmp_path / PRESETS_DIR)
    (tmp_path / "Resnet23").mkdir()  # for the link to it
    monkeypatch.setitem(DATASETS, "cifar100", made_up)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_projects() -> list[Path]:
    """Run the guide's commands that make a project folder; the folders."""
    app = typer.Typer()
    app.command()(project_command)
    for arguments in PROJECTS:
        typer.main.get_command(app).main(shlex.split(arguments), standalone_mode=False)
    return [Path(shlex.split(arguments)[0]) for arguments in PROJECTS]


def test_every_project_of_the_guide_can_be_made(small_repository):
    folders = make_projects()
    assert len(folders) == 3
    for folder in folders:
        assert load_params(folder / "params.yaml").data.dataset == "cifar100"
        assert re.search(rf"^cd {folder}$", GUIDE, re.MULTILINE), "the guide says how to go on"
    by_name = {folder.name: load_params(folder / "params.yaml") for folder in folders}
    assert by_name["cifar100-small"].tracking.tensorboard
    assert by_name["cifar100-validated"].features.val_fraction == 0.1
    assert by_name["cifar100-animals"].data.classes == ["bear", "lion", "wolf", "bee", "crab"]


def test_the_make_commands_name_presets_that_exist():
    presets = set(re.findall(r"^make \S+ PRESET=(\S+)$", GUIDE, re.MULTILINE))
    assert presets == {"cifar100-small", "cifar100-resnet34", "cifar100-best"}
    assert all((REPOSITORY / PRESETS_DIR / f"{preset}.yaml").is_file() for preset in presets)


def test_the_links_of_the_guide_exist():
    links = re.findall(r"\]\(([^)#]+)", GUIDE)
    assert links
    assert not [link for link in links if not (REPOSITORY / "docs" / link).is_file()]


@pytest.mark.slow
def test_the_small_setting_gives_what_the_guide_promises(small_repository):
    folder = next(folder for folder in make_projects() if folder.name == "cifar100-small")
    with chdir(folder):
        for stage in (datadownload, features, train, predict, plots):
            stage.main(assignments=TINY)
        info, metrics = read_features().info, json.loads(Path("reports/metrics.json").read_text(encoding="utf-8"))
        figures = {path.stem for path in Path("reports/figures").iterdir()}
    assert len(info["classes"]) == 20 and list(info["superclasses"]) == info["classes"]
    assert list(metrics["per_superclass"]) == ["people", "trees", "vehicles_1", "vehicles_2"]
    assert metrics["accuracy"] <= min(metrics["top5_accuracy"], metrics["superclass_accuracy"])
    for name in ("top5_accuracy", "superclass_accuracy", "per_superclass"):
        assert f"`{name}`" in GUIDE
    assert {"superclasses", "confusion_matrix"} <= figures
    assert all(f"`{name}.png`" in GUIDE for name in ("superclasses", "confusion_matrix"))

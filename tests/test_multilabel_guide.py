"""docs/multi-label.md: its tables of labels, parameters, command and examples work as they stand."""

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import typer
from PIL import Image
from ruamel.yaml import YAML
from small_project import REPOSITORY

from Resnet23.config import PRESETS_DIR, load_params
from Resnet23.modeling.losses import LOSSES
from Resnet23.sources.labelfile import read_labels

GUIDE = (REPOSITORY / "docs/multi-label.md").read_text(encoding="utf-8")
TABLES = re.findall(r"```csv\n(.*?)```", GUIDE, re.DOTALL)
COLORS = {"apple": (200, 30, 30), "banana": (200, 200, 30)}
TINY = [
    "features.val_fraction=0.25",
    "model.width=16",
    "train.epochs=1",
    "train.batch_size=8",
    "train.device=cpu",
    "train.precision=fp32",
    "tracking.enabled=false",
]


def blocks(language: str) -> list[str]:
    """The code blocks of the guide in this language."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def run(module: str, arguments: list[str]) -> None:
    """Run a command of the package in this process."""
    app = typer.Typer()
    app.command()(importlib.import_module(module).main)
    typer.main.get_command(app).main(arguments, standalone_mode=False)


def write_photos(folder: Path, table: str, copies: int = 6) -> None:
    """The images of the guide's labels.csv, several of each line, with a patch of colour for each label."""
    header, *lines = table.splitlines()
    records = [f"{line.partition('.')[0]}-{copy}.{line.partition('.')[2]}" for line in lines for copy in range(copies)]
    random = np.random.default_rng(0)
    for record in records:
        name, _, labels = record.partition(",")
        pixels = random.integers(0, 50, (20, 24, 3), np.uint8)
        for place, label in enumerate(labels.split()):
            pixels[4:12, 12 * place : 12 * place + 8] = COLORS[label]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    (folder / "labels.csv").write_text("\n".join([header, *records]) + "\n", encoding="utf-8")


def test_both_forms_of_the_table_say_the_same(tmp_path):
    assert len(TABLES) == 2
    readings = []
    for table in TABLES:
        (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
        readings.append([(row.file, row.labels) for row in read_labels(tmp_path / "labels.csv")])
    assert readings[0] == readings[1]
    assert readings[0][0] == ("1.jpg", ("apple", "banana"))
    assert readings[0][-1] == ("berries/4.jpg", ())


def test_the_tables_of_choices_and_the_presets_are_those_of_the_code():
    assert re.findall(r"^\| `(\w+)` \| .* \| .* \|$", GUIDE.split("## Losses")[1].split("##")[0], re.MULTILINE) == list(
        LOSSES["multilabel"]
    )
    presets = re.findall(r"make repro PRESET=(\S+?)[`\s]", GUIDE)
    assert {"multilabel-digits", "multilabel-fruits"} == set(presets)
    assert all((REPOSITORY / PRESETS_DIR / f"{preset}.yaml").is_file() for preset in presets)
    for target in re.findall(r"\]\(([^)#]+)", GUIDE):
        assert (REPOSITORY / "docs" / target).is_file(), target


def test_the_parameters_the_command_and_the_examples_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "params.yaml", "params.yaml")
    data, train = (YAML(typ="safe").load(block) for block in blocks("yaml"))
    settings = [f"data.{key}={'null' if value is None else value}" for key, value in data["data"].items()]
    settings += [f"train.thresholds.{key}={value}" for key, value in train["train"]["thresholds"].items()]
    arguments = [part for setting in [*TINY, *settings, "data.image_size=32"] for part in ("--set", setting)]
    write_photos(Path(load_params(assignments=settings).data.source), TABLES[0])
    for module in ("datadownload", "features", "modeling.train", "modeling.predict"):
        run(f"Resnet23.{module}", arguments)
    shutil.copytree("data/external/fruits/berries", "holiday")
    shutil.copy("data/external/fruits/1-0.jpg", "photo.jpg")
    (command,) = re.findall(r"^python -m (Resnet23.*)$", GUIDE, re.MULTILINE)
    module, *given = shlex.split(command)
    run(module, given)
    assert re.search(r"^photo\.jpg +(no label|apple|banana).*", capsys.readouterr().out, re.MULTILINE)
    answers = json.loads(Path("labels.json").read_text(encoding="utf-8"))
    assert len(answers) == 13
    assert {"class", "confidence", "labels", "top5", "error"} <= set(answers[0])
    for block in blocks("python"):
        exec(compile(block, "docs/multi-label.md", "exec"), {})
    assert "multilabel ['apple', 'banana']" in capsys.readouterr().out

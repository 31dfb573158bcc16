"""The commands that people type: the Makefile's targets, and what README says about them."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from package_imports import ROOT

from Resnet23.config import read_yaml

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE))
TARGETS = {target for line in TARGETS for target in line.split()}
README = ROOT / "README.md"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A repository, in a path with a space, whose environment counts as installed."""
    folder = tmp_path / "my repository"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements.txt",
        "requirements-dev.txt",
        "requirements-tensorflow.txt",
        "requirements-tfjs.txt",
        "Resnet23/keras_variant/web/package-lock.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in (".core-stamp", ".dev-stamp", ".tensorflow-python", ".tensorflow-stamp"):
        (folder / ".venv" / name).touch()
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as a user would, without the settings of a make that may have started the tests."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def recipe(folder: Path, *arguments: str) -> str:
    """The commands that make would run."""
    result = make(folder, "--dry-run", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_make_alone_lists_every_target_with_its_purpose(installed):
    result = make(installed)
    assert result.returncode == 0
    listed = set(re.findall(r"^  ([a-z0-9-]+) +\S", result.stdout, re.MULTILINE))
    assert listed == TARGETS


def test_nothing_is_installed_again_until_the_requirements_change(installed):
    assert "pip install" not in recipe(installed, "setup")
    later = os.stat(installed / ".venv" / ".dev-stamp").st_mtime + 10
    os.utime(installed / "requirements-dev.txt", (later, later))
    assert "pip install" not in recipe(installed, "setup")
    assert "-r requirements-dev.txt" in recipe(installed, "lint")
    os.utime(installed / "pyproject.toml", (later, later))
    assert "-r requirements.txt" in recipe(installed, "setup")


def test_an_unsuitable_python_is_refused_in_one_sentence(installed):
    shutil.rmtree(installed / ".venv")
    old = installed / "old python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1"\nexit 1\n')
    old.chmod(0o755)
    result = make(installed, "setup", "PYTHON='./old python'")
    assert result.returncode == 2
    assert "needs Python 3.11 to 3.14" in result.stdout
    assert "Python 3.9.1" in result.stdout
    assert not (installed / ".venv").exists()


def test_data_looks_at_the_source_again(installed):
    commands = recipe(installed, "data")
    assert "dvc repro --single-item --force datadownload" in commands
    assert commands.rstrip().endswith("dvc repro features")


@pytest.mark.parametrize("stage", ["features", "train", "predict", "plots"])
def test_a_stage_runs_here_or_in_a_presets_own_folder(stage, installed):
    assert recipe(installed, stage).strip() == f"dvc repro {stage}"
    commands = recipe(installed, stage, "PRESET=digits")
    assert 'python -m Resnet23.project "runs/digits" --preset "digits"' in commands
    assert f'cd "runs/digits" && dvc repro {stage}' in commands


@pytest.mark.parametrize("stage", ["train", "predict", "plots"])
def test_a_training_afresh_is_forced_before_the_stages_that_follow(stage, installed):
    afresh = "dvc repro features && RESNET23_FRESH=1 dvc repro --single-item --force train && dvc repro"
    assert recipe(installed, stage, "FRESH=1").strip() == f"{afresh} {stage}"
    assert f'cd "runs/digits" && {afresh} {stage}' in recipe(installed, stage, "FRESH=1", "PRESET=digits")


def test_features_can_be_forced(installed):
    assert "dvc repro --single-item --force features" in recipe(installed, "features", "FORCE=1")


def test_an_export_follows_the_training_and_ends_on_the_page(installed):
    assert recipe(installed, "export").strip() == "dvc repro train && python -m Resnet23.export && dvc repro plots"
    commands = recipe(installed, "export", "PRESET=digits", "FORMATS=onnx,pt2")
    assert 'cd "runs/digits" && dvc repro train && python -m Resnet23.export --formats "onnx,pt2" &&' in commands


def test_explanations_follow_the_predictions_and_end_on_the_page(installed):
    assert recipe(installed, "explain").strip() == "dvc repro predict && python -m Resnet23.explain && dvc repro plots"
    assert 'python -m Resnet23.explain --count "3" &&' in recipe(installed, "explain", "PRESET=digits", "COUNT=3")


def test_a_card_follows_the_predictions_and_ends_on_the_page(installed):
    assert recipe(installed, "card").strip() == "dvc repro predict && python -m Resnet23.model_card && dvc repro plots"


def test_the_app_serves_the_trained_model(installed):
    assert recipe(installed, "serve").strip() == "dvc repro train && python -m Resnet23.serve"
    assert "python -m Resnet23.serve --port 8080" in recipe(installed, "serve", "PRESET=digits", "PORT=8080")


def test_a_new_project_may_lie_anywhere_and_runs_at_once(installed):
    made, run = recipe(installed, "new", "DIR=../my flowers", "DATA=my photos").splitlines()
    assert made == 'python -m Resnet23.new_project "../my flowers" --data "my photos"'
    assert run == 'cd "../my flowers" && dvc repro && python -m Resnet23.summary'
    assert f'cd "{Path.home()}/flowers"' in recipe(installed, "new", "DIR=~/flowers", "DATA=photos")


@pytest.mark.parametrize("stage", ["train", "predict", "plots"])
def test_the_keras_pipeline_runs_its_own_stages(stage, installed):
    pipeline = "pipelines/keras/dvc.yaml"
    assert recipe(installed, f"{stage}-keras").strip() == f"dvc repro {pipeline}:{stage}"
    commands = recipe(installed, f"{stage}-keras", "PRESET=digits", "FRESH=1")
    afresh = f"RESNET23_FRESH=1 dvc repro --single-item --force {pipeline}:train"
    assert f'cd "runs/digits" && dvc repro features && {afresh} && dvc repro {pipeline}:{stage}' in commands


def test_both_pipelines_run_before_they_are_compared(installed):
    commands = recipe(installed, "compare-keras", "PRESET=digits")
    both = "dvc repro && dvc repro pipelines/keras/dvc.yaml && python -m Resnet23.keras_variant.compare"
    assert f'cd "runs/digits" && {both}' in commands


def test_tensorflow_is_installed_for_what_needs_it_and_for_nothing_else(installed):
    (installed / ".venv" / ".tensorflow-stamp").unlink()
    assert "-r requirements-tensorflow.txt" in recipe(installed, "test-keras")
    for target in ("demo", "test", "export"):
        assert "tensorflow" not in recipe(installed, target)


def test_the_python_is_looked_at_before_anything_is_installed_for_tensorflow(installed):
    shutil.rmtree(installed / ".venv")
    for target in ("setup-tensorflow", "export-tfjs", "test-browser"):
        commands = recipe(installed, target)
        assert commands.index("sys.version_info >= ") < commands.index("pip install"), target


def test_tensorflow_js_is_installed_from_its_pins_and_found_behind_the_environment(installed):
    for target in ("export-tfjs", "test-browser"):
        commands = recipe(installed, target)
        assert f'PATH="{installed}/.venv/tfjs/bin:$PATH" python -m pip install' in commands
        assert "-r requirements-tfjs.txt" in commands
        assert f'PATH="$PATH:{installed}/.venv/tfjs/bin"' in commands
        assert "npm ci" in commands
    assert "tests/keras_variant/test_keras_browser.py" in recipe(installed, "test-browser")


def test_a_keras_export_follows_its_training_and_ends_on_its_page(installed):
    (installed / ".venv" / ".tensorflow-stamp").touch()
    pipeline, command = "pipelines/keras/dvc.yaml", "python -m Resnet23.keras_variant.export"
    found = " ".join(recipe(installed, "export-keras").replace("\\\n", " ").split())
    assert found == f"dvc repro {pipeline}:train && {command} && dvc repro {pipeline}:plots"
    commands = recipe(installed, "export-keras", "PRESET=digits", "FORMATS=onnx")
    assert 'cd "runs/digits" &&' in commands
    assert '--formats "onnx" &&' in commands


def test_the_demo_works_in_a_folder_of_its_own(installed):
    commands = recipe(installed, "demo").splitlines()
    assert commands[:2] == ["python -m Resnet23.project demo --preset digits", "cd demo && dvc repro"]


def readme() -> str:
    """The text of README.md."""
    return README.read_text(encoding="utf-8")


def code_of(text: str) -> str:
    """The code blocks and the inline code of a Markdown text."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^(?: {4}[^\n]*\n)+", text, re.MULTILINE)
    return "\n".join(blocks + re.findall(r"`([^`\n]+)`", text))


def test_the_commands_of_the_readme_exist():
    code = code_of(readme())
    targets = set(re.findall(r"\bmake ((?!-)[a-z][a-z0-9-]*)", code))
    assert targets <= TARGETS, f"README names make targets that do not exist: {targets - TARGETS}"
    assert {"demo", "test"} <= targets
    stages = set(re.findall(r"\bdvc repro ([a-z]+)", code))
    assert stages <= set(read_yaml(ROOT / "dvc.yaml")["stages"])
    for module in re.findall(r"python -m Resnet23\.([a-z0-9_.]+)", code):
        assert (ROOT / "Resnet23" / (module.replace(".", "/") + ".py")).is_file(), module
    for preset in re.findall(r"PRESET=([a-z0-9_-]+)", code):
        assert (ROOT / "presets" / f"{preset}.yaml").is_file(), preset


def test_the_links_and_paths_of_the_readme_exist():
    text = readme()
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert re.match(r"[a-z]+:", target) or (ROOT / target).exists(), f"README links to {target}"
    for path in re.findall(r"\b(?:Resnet23|tests|presets|docs)/[\w./-]*\w", code_of(text)):
        assert (ROOT / path).exists(), f"README names {path}"


def test_the_layout_that_the_readme_draws_exists():
    """Names stand at the beginning of a line, apart by two spaces; those below Resnet23/ are indented."""
    block = readme().split("## Where things are")[1].split("```")[1]
    drawn = []
    for line in block.strip().splitlines():
        columns = re.split(r" {1,}", line.strip())
        names = list(itertools.takewhile(re.compile(r"[\w.-]+(\.py|\.yaml|/)|Makefile").fullmatch, columns))
        drawn += [f"Resnet23/{name}" if line.startswith(" ") else name for name in names]
    assert {"Makefile", "dvc.yaml", "presets/", "Resnet23/dataset.py", "Resnet23/modeling/", "docs/"} <= set(drawn)
    missing = [name for name in drawn if not (ROOT / name).exists()]
    assert not missing


def test_the_layout_stands():
    folders = ["data", "models", "notebooks", "references", "reports", "reports/extras", "docs"]
    missing = [folder for folder in folders if not (ROOT / folder / "README.md").is_file()]
    assert not missing, f"folders without a README.md, which git therefore may not keep: {missing}"

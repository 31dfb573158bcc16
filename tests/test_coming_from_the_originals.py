"""docs/coming-from-the-originals.md: whatever its middle column names exists in this repository."""

import ast
import re
import typing
from functools import cache

import pytest
from package_imports import PACKAGE, module_files, parse
from pydantic import BaseModel
from small_project import REPOSITORY

from Resnet23.config import Params, read_yaml

GUIDE = (REPOSITORY / "docs/coming-from-the-originals.md").read_text(encoding="utf-8")
CELL = re.compile(r"(?<!\\)\|")
SYSTEMS = 4
HEADER = ["there", "here", "what is different"]
PIPELINES = ("dvc.yaml", "pipelines/keras/dvc.yaml")


def rows_of(guide: str) -> list[list[str]]:
    """The rows of all tables, without their headers."""
    lines = [line for line in guide.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    rows = [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in lines]
    return [row for row in rows if row != HEADER]


ROWS = rows_of(GUIDE)
MODULES = module_files()
NAMES = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[1])})


@cache
def outs() -> set[str]:
    """Everything that the stages of both pipelines write."""
    stages = [stage for file in PIPELINES for stage in read_yaml(REPOSITORY / file)["stages"].values()]
    kinds = [entry for stage in stages for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in kinds}


@cache
def targets() -> set[str]:
    """The targets of the Makefile."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return {name for line in re.findall(r"^([a-z0-9 -]+):(?!=)", makefile, re.MULTILINE) for name in line.split()}


def is_target(words: list[str]) -> bool:
    """Whether make has the target, and the preset that it is to run exists."""
    presets = [word.partition("=")[2] for word in words if word.startswith("PRESET=")]
    return words[1] in targets() and all((REPOSITORY / f"presets/{preset}.yaml").is_file() for preset in presets)


def is_defined(name: str) -> bool:
    """Whether a dotted name of the package is a module, or a name or a method in one; nothing is imported."""
    parts = name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        module, rest = ".".join(parts[:length]), parts[length:]
        if module in MODULES:
            return has_names(parse(MODULES[module]), rest)
    return False


def has_names(tree: ast.AST, names: list[str]) -> bool:
    """Whether a module or class defines the first name and that, if more follow, the next one."""
    if not names:
        return True
    for node in tree.body:
        defined = {getattr(node, "name", None)}
        if isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if names[0] in defined:
            return has_names(node, names[1:])
    return False


def is_parameter(name: str) -> bool:
    """Whether params.yaml may hold the key, and a section that is named with a value takes it."""
    section: typing.Any = Params
    for part in name.partition(":")[0].split("."):
        if not (isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields):
            return False
        section = section.model_fields[part].annotation
    return True


def exists(name: str) -> bool:
    """Whether what the guide names is there: a command, a name in Python, a parameter, or a file."""
    words = name.split()
    if words[0] == "make":
        return is_target(words)
    if words[:2] == ["python", "-m"]:
        return is_defined(words[2]) or is_defined(f"{words[2]}.__main__")
    if words[0] == "dvc":
        return all(word.endswith(".yaml") is (REPOSITORY / word).is_file() for word in words[1:])
    if re.fullmatch(rf"{PACKAGE}(\.\w+)+", name):
        return is_defined(name)
    if is_parameter(name):
        return True
    return (REPOSITORY / name).exists() or name in outs()


def test_there_is_a_table_for_each_system():
    assert GUIDE.count("| there | here | what is different |") == GUIDE.count("\n## ") == SYSTEMS
    assert {len(row) for row in ROWS} == {len(HEADER)}
    assert all(row[0] and row[1] for row in ROWS)


def test_what_is_named_here_exists():
    missing = [name for name in NAMES if not exists(name)]
    assert not missing, f"docs/coming-from-the-originals.md names what is not in the repository: {missing}"


@pytest.mark.parametrize(
    "name",
    [
        "make repo",
        "make repro PRESET=resnet51",
        "python -m Resnet23.validates",
        "Resnet23.modeling.fit.Training.train_epochs",
        "Resnet23.modeling.nothing",
        "train.epoch",
        "train.augment.policy.name",
        "Resnet23/modeling/matrics.py",
        "dvc repro pipelines/kerass/dvc.yaml",
    ],
)
def test_the_check_finds_what_does_not_exist(name):
    assert not exists(name)


def test_a_row_names_something_or_says_that_there_is_nothing():
    for there, here, _ in ROWS:
        assert here == "-" or "`" in here, there


def test_the_links_exist():
    links = re.findall(r"\]\(([^)#]+)\)", GUIDE)
    assert links
    assert all((REPOSITORY / "docs" / link).is_file() for link in links)


def test_module_names_in_the_third_column_exist_too():
    for _, _, different in ROWS:
        for name in re.findall(rf"`({PACKAGE}(?:\.\w+)+)`", different):
            assert is_defined(name), name

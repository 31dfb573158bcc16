"""Whether a command that a document shows could run: nothing is run but `make --dry-run`, help is asked of nobody.

Options are checked by the functions that take them, parameters by the classes that validate params.yaml.
"""

import argparse
import functools
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from documented_commands import ASSIGNMENT, PROGRAMS, simple_commands
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from small_project import REPOSITORY

from Resnet23.cli import ROWS
from Resnet23.command import as_command
from Resnet23.config import load_params, read_yaml
from Resnet23.errors import InputError
from Resnet23.keras_variant.params import load_keras_params
from Resnet23.project import split_assignments

OWN_PACKAGES = ("Resnet23", "benchmarks")
# Modules that start the `main` of another one.
STARTED_BY = {"Resnet23.modeling.zoo": "Resnet23.modeling.zoo_table", "Resnet23.studies": "Resnet23.studies.__main__"}
PLACEHOLDER = re.compile(r"\.\.\.|…|<[a-z_ ]+>|=[A-Z_]+$|^[A-Z_]+$")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = {target for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE) for target in line.split()}
VARIABLES = set(re.findall(r"\$[({](?:if |or )?\$?[({]?([A-Z_]+)", MAKEFILE))
STAMPS = (".core-stamp", ".dev-stamp", ".tensorflow-python", ".tensorflow-stamp", ".tfjs-python", ".tfjs-stamp")
MAKE_READS = ("Makefile", "pyproject.toml", "Resnet23/keras_variant/web/package-lock.json")

# What a recipe does itself; the rest of it prints or looks.
RECIPE = re.compile(r"(cd \S+ && )?(\w+=\S+ )?(python -m (Resnet23|benchmarks)|dvc )")


def is_placeholder(word: str) -> bool:
    """Whether a word stands for what the reader puts in its place, as NAME, OWNER=... and <class> do."""
    return bool(PLACEHOLDER.search(word))


class Checker:
    """Finds what is wrong with commands; make is asked in `folder`, where everything counts as installed."""

    def __init__(self, folder: Path) -> None:
        """Prepare the folder: the Makefile, what its targets depend on, and stamps newer than those."""
        self.folder = folder
        for name in [*MAKE_READS, *(file.name for file in REPOSITORY.glob("requirements*.txt"))]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
        (folder / ".venv/bin").mkdir(parents=True)
        for name in ("bin/python", *STAMPS, ".web-stamp"):
            (folder / ".venv" / name).touch()

    def problems(self, line: str) -> list[str]:
        """All that is wrong with a line of the shell; empty when it could run."""
        return [problem for words in simple_commands(line) for problem in self._of_program(words)]

    def _of_program(self, words: Sequence[str]) -> Iterator[str]:
        for word in words:
            if re.match(r"RESNET23_\w+=", word) and not occurs_in_the_code(word.partition("=")[0]):
                yield f"no module reads {word.partition('=')[0]}"
        words = [word for number, word in enumerate(words) if any(not ASSIGNMENT.match(w) for w in words[: number + 1])]
        match words:
            case ["make", *rest]:
                yield from self._of_make(rest)
            case ["python" | "python3", "-m", module, *rest]:
                yield from of_module(module, tuple(rest))
            case ["python", "-c", code, *_]:
                compile(code, "python -c", "exec")
            case ["resnet23", *rest]:
                yield from of_resnet23(rest)
            case ["dvc", *rest]:
                yield from of_dvc(tuple(rest))
            case ["torchrun" | "accelerate", *_] if "-m" in words:
                yield from of_module(*split_module(words))
            case [program, *_] if program not in PROGRAMS:
                yield f"{program} is not known to tests/documented_commands.py"
        yield from missing_files(words)

    def _of_make(self, words: Sequence[str]) -> Iterator[str]:
        variables = [word for word in words if re.match(r"[A-Z_]+=", word)]
        targets = [word for word in words if word not in variables]
        for word in variables:
            if word.partition("=")[0] not in VARIABLES:
                yield f"the Makefile has no variable {word.partition('=')[0]}"
        unknown = [target for target in targets if target not in TARGETS and not is_placeholder(target)]
        yield from (f"the Makefile has no target {target}" for target in unknown)
        if not unknown and not any(map(is_placeholder, words)):
            for line in self._recipe(words):
                for inner in simple_commands(line):
                    yield from (self._of_program(inner) if inner[0] in ("python", "dvc") else ())

    def _recipe(self, words: Sequence[str]) -> list[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
        command = ["make", "--dry-run", "--no-print-directory", *words]
        result = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result.stderr
        lines = result.stdout.replace("\\\n", "").splitlines()
        return [line for line in lines if RECIPE.match(line)]


def split_module(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The module that a launcher starts, and its options."""
    place = list(words).index("-m")
    return words[place + 1], tuple(words[place + 2 :])


def of_resnet23(words: Sequence[str]) -> Iterator[str]:
    """What is wrong with the arguments of the program resnet23."""
    name = next((word for word in words if not word.startswith("-")), None)
    modules = {row.name: row.module for row in ROWS}
    if name is None or is_placeholder(name):
        return
    if name not in modules:
        yield f"resnet23 has no command {name}"
        return
    yield from of_module(modules[name], tuple(words[list(words).index(name) + 1 :]))


@functools.cache
def of_module(module: str, arguments: tuple[str, ...]) -> list[str]:
    """What is wrong with `python -m module arguments`."""
    if is_placeholder(module) or any(map(is_placeholder, arguments)):
        return []
    if module == "Resnet23":
        return list(of_resnet23(arguments))
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        return [f"there is no module {module}"]
    return list(of_options(module, arguments)) if module.split(".")[0] in OWN_PACKAGES else []


def of_options(module: str, arguments: Sequence[str]) -> Iterator[str]:
    """What the signature of a module's `main`, and then params.yaml's classes, have against these options."""
    main = importlib.import_module(STARTED_BY.get(module, module)).main
    with chdir(REPOSITORY):
        try:
            values = as_command(main).make_context(module, list(arguments)).params
            check_parameters(module, values)
        except InputError as error:
            yield str(error)
        except Exception as error:
            if hasattr(error, "format_message"):  # a usage error of the library below Typer
                yield f"{module}: {error.format_message()}"
            elif type(error).__name__ != "Exit":  # --help and --version end so
                raise


def check_parameters(module: str, values: dict[str, Any]) -> None:
    """Raise InputError for a preset that does not exist, and for keys or values that the parameters do not have."""
    preset, assignments = values.get("preset"), values.get("assignments")
    if not isinstance(preset, str | None) or not (preset or assignments):
        return  # nothing to check, or the presets of a benchmark, which has a list of its own
    own, twin = split_assignments(assignments)
    if "keras_variant" in module:
        own, twin = [], own
    load_params(preset=preset, assignments=own)
    if twin:
        load_keras_params(preset=preset, assignments=twin)


@functools.cache
def of_dvc(words: tuple[str, ...]) -> list[str]:
    """What DVC's own parser has against these arguments, stages that do not exist, and parameters that are refused."""
    if any(map(is_placeholder, words)):
        return []
    try:
        arguments = dvc_parser().parse_args(list(words))
    except (DvcParserError, SystemExit) as end:  # --help ends with 0
        return [] if getattr(end, "code", None) == 0 else [f"dvc does not understand: dvc {' '.join(words)}"]
    targets = getattr(arguments, "targets", None) or () if words[0] == "repro" else ()
    unknown = [target for target in targets if not is_target(target)]
    problems = [f"dvc repro: there is no stage {target}" for target in unknown]
    changes = getattr(arguments, "set_param", None)
    try:
        with chdir(REPOSITORY):
            _ = changes and load_params(assignments=changes)
    except InputError as error:
        problems.append(str(error))
    return problems


@functools.cache
def dvc_parser() -> argparse.ArgumentParser:
    """DVC's own parser, which takes long to make."""
    return get_main_parser()


def is_target(target: str) -> bool:
    """Whether DVC could run this: a stage, a stage of a file, or a file of stages."""
    file, _, stage = target.rpartition(":")
    return (REPOSITORY / target).is_file() or stage in stages_of(file or "dvc.yaml")


@functools.cache
def stages_of(file: str) -> list[str]:
    """The names of the stages in a file of DVC's."""
    return list(read_yaml(REPOSITORY / file)["stages"])


def missing_files(words: Sequence[str]) -> Iterator[str]:
    """Presets, studies, documents and requirements that are named but not there."""
    named = re.compile(r"(presets|studies|docs|notebooks)/[\w./-]+\.\w+|requirements[\w-]*\.txt")
    yield from (
        f"{word} does not exist" for word in words if named.fullmatch(word) and not (REPOSITORY / word).exists()
    )


@functools.cache
def occurs_in_the_code(name: str) -> bool:
    """Whether any module of the package mentions an environment variable."""
    return any(name in file.read_text(encoding="utf-8") for file in (REPOSITORY / "Resnet23").rglob("*.py"))

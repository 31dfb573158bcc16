"""Make a project folder inside the repository, in which the pipeline runs without touching the repository's own.

The folder holds the effective params.yaml, a copy of dvc.yaml, links to the code and the downloads, and a DVC
configuration that shares the repository's cache. It ignores itself, so git and DVC of the repository do not see it.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from loguru import logger
from ruamel.yaml import YAML, RoundTripRepresenter

from Resnet23.command import DebugOption, PresetOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, RAW_DIR, TWIN, load_params
from Resnet23.errors import InputError, one_line
from Resnet23.files import atomic_write, printable
from Resnet23.keras_variant.params import KERAS_PARAMS_FILE, KerasParams, load_keras_params
from Resnet23.outputs import KERAS, PYTORCH

PIPELINE_FILE = Path("dvc.yaml")
LINKED_FOLDERS = (Path("Resnet23"), RAW_DIR)
COPIED_FILES = (PIPELINE_FILE, PYTORCH.extras / "README.md")
KERAS_COPIED_FILES = (KERAS_PARAMS_FILE.with_name(PIPELINE_FILE.name), KERAS.extras / "README.md")
DVC_CONFIG = """\
[core]
    no_scm = true
    analytics = false
    check_update = false
[cache]
    dir = {cache}
    type = "reflink,hardlink,copy"
"""
HEADING = re.compile(r"\A# Written by Resnet23\..*\n")  # of a parameter file that is a project's own


class ExplicitNullRepresenter(RoundTripRepresenter):
    """Writes `key: null` where ruamel.yaml would write an empty value."""

    def represent_none(self, data: None) -> Any:
        """The scalar for None."""
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


ExplicitNullRepresenter.add_representer(type(None), ExplicitNullRepresenter.represent_none)


def make_project(folder: Path, preset: str | None = None, assignments: list[str] | None = None) -> None:
    """Make or refresh the project `folder`, a path inside the current repository.

    A folder that exists keeps its outputs and its dvc.lock; parameters, pipeline and configuration are written anew.
    Raises InputError for a wrong parameter, an unknown preset, or a folder that is none of ours.
    """
    check_folder(folder)
    own, twin = split_assignments(assignments)
    params = load_params(PARAMS_FILE, preset, own).model_dump()
    keras_params = load_keras_params(KERAS_PARAMS_FILE, preset, twin) if KERAS_PARAMS_FILE.exists() else None
    params["data"]["source"] = seen_from(folder, params["data"]["source"])
    for linked in LINKED_FOLDERS:
        link_folder(linked, folder / linked)
    copy_texts(COPIED_FILES, folder)
    if keras_params:
        add_keras_pipeline(folder, keras_params, describe_origin(preset, twin, KERAS_PARAMS_FILE))
    cache = Path(os.path.relpath(Path(".dvc/cache"), folder / ".dvc")).as_posix()
    write_text(folder / ".dvc" / "config", DVC_CONFIG.format(cache=cache))
    write_text(folder / ".dvcignore", "/data/raw/\n/data/processed/train/\n/data/processed/test/\n/models/.resume/\n")
    write_text(folder / ".gitignore", "*\n")
    write_params(folder / PARAMS_FILE, params, describe_origin(preset, own))


def add_keras_pipeline(folder: Path, params: KerasParams, origin: str) -> None:
    """Give the project the Keras pipeline with its effective parameters."""
    copy_texts(KERAS_COPIED_FILES, folder)
    write_params(folder / KERAS_PARAMS_FILE, params.model_dump(), origin, template=KERAS_PARAMS_FILE)


def split_assignments(assignments: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Those for the project's parameters, and those for the Keras pipeline's, as in keras.train.epochs=3."""
    prefix = f"{TWIN}."
    twin = [each.removeprefix(prefix) for each in assignments or () if each.startswith(prefix)]
    return [each for each in assignments or () if not each.startswith(prefix)], twin


def check_folder(folder: Path) -> None:
    """Raise InputError unless `folder` is new, empty or one of our projects, inside the current repository."""
    if not PIPELINE_FILE.is_file():
        raise InputError(f"{PIPELINE_FILE}: no such file; run this in the repository's top folder")
    repository, target = Path.cwd().resolve(), folder.resolve()
    if target == repository or repository not in target.parents:
        raise InputError(f"{printable(folder)}: expected a folder inside {printable(repository)}, as in runs/mine")
    is_project = (folder / ".dvc").is_dir()
    if folder.exists() and not is_project and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{printable(folder)}: exists and is no project; name a new folder, as in runs/mine")


def seen_from(folder: Path, source: str | None) -> str | None:
    """The data source as `folder` has to name it: a relative path is relative to the repository until now."""
    if source is None or "://" in source or Path(source).expanduser().is_absolute():
        return source
    return Path(os.path.relpath(source, folder)).as_posix()


def link_folder(source: Path, target: Path) -> None:
    """Make `target` a relative link to the folder `source`, or where links are not allowed a fresh copy of it."""
    source.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    if not target.exists():
        try:
            target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=True)
            return
        except OSError:
            logger.warning(f"{printable(target)}: links are not allowed here; copying {printable(source)}")
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def copy_texts(files: Iterable[Path], folder: Path) -> None:
    """Copy text files of the repository to the same places below `folder`."""
    for file in files:
        write_text(folder / file, file.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as file:
        file.write(text)


def write_params(path: Path, params: Mapping[str, Any], origin: str, template: Path = PARAMS_FILE) -> None:
    """Write all parameters with the comments of the repository's own file, under a line that tells their origin."""
    write_headed_params(path, params, f"Resnet23.project from {origin}; the next call overwrites it.", template)


def write_headed_params(path: Path, params: Mapping[str, Any], writer: str, template: Path = PARAMS_FILE) -> None:
    """Write all parameters with the comments of `template`, under a line "Written by ..." that says what wrote them."""
    yaml = YAML()  # the kind that keeps comments
    yaml.Representer = ExplicitNullRepresenter
    yaml.width = 200  # columns; no value of ours is broken into lines
    document = yaml.load(HEADING.sub("", template.read_text(encoding="utf-8")))
    update_values(document, params)
    with atomic_write(path) as file:
        file.write(f"# Written by {one_line(writer)}\n")  # it may name a value with a line break
        yaml.dump(document, file)


def update_values(document: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set nested values in place, leaving those alone that are equal already, with the way they are written."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), dict):
            update_values(document[key], value)
        elif key not in document or document[key] != value:
            document[key] = value


def describe_origin(preset: str | None, assignments: Sequence[str] | None, file: Path = PARAMS_FILE) -> str:
    """The places that a project's parameters come from, as in "params.yaml + preset digits + train.epochs=3"."""
    return " + ".join([file.as_posix(), *([f"preset {preset}"] if preset else []), *(assignments or [])])


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make, inside the repository.")],
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Make a project folder for a run of its own: `cd DIR && dvc repro` runs the pipeline in it."""
    make_project(folder, preset, assignments)
    logger.info(f"{printable(folder)}: ready, with the parameters of {describe_origin(preset, assignments)}")


if __name__ == "__main__":
    run_command(main)

"""Make a project for a folder of your own images, outside this repository, with parameters that suit them.

The project has the code, a git repository and a DVC project of its own; `dvc repro` runs in it at once.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from Resnet23.command import DebugOption, PresetOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, Params, load_params
from Resnet23.errors import InputError
from Resnet23.files import atomic_folder, is_text, printable, require_writable
from Resnet23.newproject.capacity import measure_capacity
from Resnet23.newproject.layout import find_layout
from Resnet23.newproject.readme import render_readme, summary_lines
from Resnet23.newproject.skeleton import (
    ENVIRONMENT,
    add_images,
    check_repository,
    copy_files,
    existing_environment,
    link_environment,
    start_versions,
)
from Resnet23.newproject.suggestions import Plan, Suggestion, suggest
from Resnet23.newproject.survey import Survey, survey
from Resnet23.project import write_headed_params, write_text
from Resnet23.revision import git_revision

EXAMPLE = "as in make new DIR=../flowers DATA=~/flowers"
WRITER = "Resnet23.new_project; README.md gives the reasons. The file is yours to change."


def check_places(folder: Path, images: Path) -> None:
    """Raise InputError unless `folder` can be made or is empty, outside the repository, and apart from the images."""
    target, data, repository = folder.resolve(), images.resolve(), Path.cwd().resolve()
    name = printable(folder)
    if not is_text(target):
        raise InputError(f"{printable(target)}: holds bytes that are not UTF-8, which DVC refuses; name another folder")
    if target == repository or repository in target.parents:
        raise InputError(
            f"{name}: is inside this repository; name a folder outside, {EXAMPLE}. "
            "In here, make repro PRESET=NAME and python -m Resnet23.project runs/NAME make projects"
        )
    if data == repository or data in repository.parents:
        raise InputError(f"{printable(images)}: holds this repository; expected the folder of your images, {EXAMPLE}")
    if target == data or target in data.parents:
        raise InputError(f"{printable(images)}: the images are inside {name}; name another folder for the project")
    if data in target.parents:
        raise InputError(
            f"{name}: is inside the images' folder {printable(images)}, as if it were a class; name another"
        )
    with _naming(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{name}: exists and is not empty; name a new folder, {EXAMPLE}")
        parent = next(each for each in target.parents if each.exists())
        if not parent.is_dir():
            raise InputError(f"{name}: cannot be made, {printable(parent)} is no folder; name another, {EXAMPLE}")
        require_writable(parent)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Raise what the system has against making `folder` as an InputError that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{printable(folder)}: cannot be made ({reason}); name another folder, {EXAMPLE}") from error


def make_new_project(
    folder: Path, images: Path, preset: str | None = None, assignments: Sequence[str] | None = None
) -> tuple[Survey, Plan]:
    """Make the project `folder` for the images in the folder `images`; what was found there, and what was chosen.

    `folder` appears when it is complete. Raises InputError for wrong places, images that the first stage would refuse,
    an unknown preset and wrong parameters.
    """
    check_repository()
    check_places(folder, images)
    layout = find_layout(images)
    found = survey(layout, load_params().seed)
    name = printable(folder.resolve().name)
    plan = suggest(found, measure_capacity(), name, preset)
    params = load_params(PARAMS_FILE, plan.preset, [*plan.assignments, *(assignments or ())])
    plan = apply_choices(plan, params, assignments or ())
    environment, origin = existing_environment(), _origin()
    with _naming(folder), atomic_folder(folder.resolve()) as made:
        copy_files(made)
        add_images(layout, made)
        write_headed_params(made / PARAMS_FILE, params.model_dump(), WRITER)
        write_text(made / "README.md", render_readme(name, found, plan, environment is not None, origin))
        if environment:
            link_environment(made, environment)
        start_versions(made, f"A project for the images of {name}, made by {origin}")
    return found, plan


def apply_choices(plan: Plan, params: Params, assignments: Sequence[str]) -> Plan:
    """The plan with the user's own parameters among the suggestions, in the place of those for the same keys."""
    chosen = dict.fromkeys(assignment.partition("=")[0] for assignment in assignments)
    kept = [each for each in plan.suggestions if not any(_overlap(each.key, key) for key in chosen)]
    added = [Suggestion(key, _value_at(params.model_dump(), key), "you asked for it") for key in chosen]
    return replace(plan, suggestions=[*kept, *added], minutes=None if added else plan.minutes)


def _overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one is a part of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _value_at(values: dict[str, Any], key: str) -> Any:
    """The value of a dotted key."""
    for part in key.split("."):
        values = values[part]
    return values


def _origin() -> str:
    """The version of this repository's code."""
    revision = git_revision()
    return f"revision {revision}" if revision else "without git"


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make, outside this repository.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Your images: a folder for each class, within train/ and test/ or not; or a labels.csv.",
        ),
    ],
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Make a project of your own for a folder of images, with parameters that suit them."""
    folder, data = folder.expanduser(), data.expanduser()
    found, plan = make_new_project(folder, data, preset, assignments)
    print("\n".join(summary_lines(found, plan)))
    print(f"Made     {printable(folder)}: README.md says why each parameter is what it is")
    print(how_to_run(folder))


def how_to_run(folder: Path) -> str:
    """The lines on running the project: right before a first run, and when `make new` runs it straight after."""
    enter = f"To run   cd {shlex.quote(printable(folder))} &&"
    again = "         (again after a change of params.yaml; after new photos `make data` first)"
    if (folder / ENVIRONMENT).exists():
        return f"{enter} make repro\n{again}"
    installing = "         (in the environment that is active now; `make` first installs one for the project, 6 GB)"
    return f"{enter} dvc repro\n{installing}\n{again}"


if __name__ == "__main__":
    run_command(main)

"""The files of a new project: code and settings from this repository, a git repository and a DVC project of its own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from loguru import logger

from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.newproject.layout import Layout, link_images
from Resnet23.newproject.suggestions import SOURCE
from Resnet23.project import write_text

# Of tests, docs, studies and benchmarks the new project gets none: they are about this repository, its documents and
# its record, and would fail beside another README. Neither does it get the record: dvc.lock, metrics, history.
COPIED_FOLDERS = ("Resnet23", "pipelines", "presets")
COPIED_FILES = (
    "Makefile", "dvc.yaml", "pyproject.toml", "setup.cfg", "LICENSE", ".gitignore", ".dvcignore", ".env.example",
    "requirements.txt", "requirements-dev.txt", "requirements-tensorflow.txt", "requirements-tfjs.txt",
)  # fmt: skip
DESCRIBED_FOLDERS = ("data", "models", "reports", "reports/extras", "reports/keras/extras", "references")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "dvc.lock", ".*")
NOTEBOOKS_README = """\
# notebooks

Yours. Name them by number, initials and subject, as in `1.0-ab-looking-at-mistakes.ipynb`. No stage reads or writes
here.
"""
TESTS_README = """\
# tests

Yours. `python -m pytest` runs them, with the code in this project's `Resnet23/`.
"""

# Targets of the Makefile that work on what is not copied.
OMITTED_TARGETS = re.compile(r"bench-.*|stud(y|ies|y-worker)|test(-.*)?|soak|audit|notebooks|docs")
OMITTED_SETTINGS = "SCALE ?="  # of the studies
DOCS_REFERENCE = re.compile(r" \(docs/[a-z-]+\.md\)")  # in its headings
DOCS_LINK = re.compile(r"\[([^]]+)\]\(\.\./docs/[^)]*\)")

DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
    autostage = false
[cache]
    type = "reflink,hardlink,copy"
"""
ENVIRONMENT = ".venv"
STAMP = ".core-stamp"  # in an environment that `make setup` has made
REQUIREMENTS = ("requirements.txt", "pyproject.toml")  # which make compares with the stamp
FALLBACK_IDENTITY = ("-c", "user.name=Resnet23", "-c", "user.email=resnet23@localhost")
# Where git says these, as in a hook, they are about another repository.
GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")


def check_repository() -> None:
    """Raise InputError unless the current directory has everything that a project is made of."""
    missing = [name for name in (*COPIED_FOLDERS, *COPIED_FILES, "params.yaml") if not Path(name).exists()]
    if missing:
        raise InputError(f"{missing[0]}: no such file; run this in the repository's top folder")


def copy_files(folder: Path) -> None:
    """Copy code and settings to `folder`, with their times, by which make tells whether to install anything anew.

    Of folders only what git knows, where it answers: a file that nobody has added may be private, and is committed.
    """
    known = files_in_git()

    def left_out(source: str, names: list[str]) -> set[str]:
        unknown = {name for name in names if known and Path(source, name) not in known}
        return NOT_COPIED(source, names) | unknown

    for name in COPIED_FOLDERS:
        shutil.copytree(name, folder / name, ignore=left_out)
    for name in COPIED_FILES:
        shutil.copy2(name, folder / name)
    write_text(folder / "Makefile", trim_makefile(Path("Makefile").read_text(encoding="utf-8")))
    for name in DESCRIBED_FOLDERS:
        text = Path(name, "README.md").read_text(encoding="utf-8")
        write_text(folder / name / "README.md", DOCS_LINK.sub(r"\1 of Resnet23", text))
    write_text(folder / "notebooks" / "README.md", NOTEBOOKS_README)
    write_text(folder / "tests" / "README.md", TESTS_README)


def files_in_git() -> Collection[Path]:
    """The files of COPIED_FOLDERS that git knows, and their folders; none outside git. Others get a line in the log."""
    listing = ("git", "ls-files", "-z")
    try:
        known = _run(Path(), *listing, "--", *COPIED_FOLDERS).split("\0")[:-1]
        others = _run(Path(), *listing, "--others", "--exclude-standard", "--", *COPIED_FOLDERS).split("\0")[:-1]
    except InputError:  # no repository, or no git
        return ()
    if known and others:
        more = f" and {len(others) - 1:,} more" if others[1:] else ""
        logger.warning(f"{others[0]}{more}: not copied, because nobody has added it to git")
    return {path for name in known for path in (Path(name), *Path(name).parents)}


def trim_makefile(text: str) -> str:
    """A Makefile without what is about files that are not copied; blank lines separate its blocks."""
    kept: list[str] = []
    for block in DOCS_REFERENCE.sub("", text).split("\n\n"):
        named = re.match(r"(?:\.PHONY: )?([a-z][a-z0-9 -]*)(?::|\n|$)", block)
        targets = named[1].split() if named else []
        if block.startswith(OMITTED_SETTINGS) or (targets and all(map(OMITTED_TARGETS.fullmatch, targets))):
            continue
        if block.startswith("##@") and kept[-1].startswith("##@"):  # a heading of nothing
            kept.pop()
        kept.append(block)
    return "\n\n".join(kept)


def add_images(layout: Layout, folder: Path) -> None:
    """Link the user's images to where the project's `data.source` names them."""
    link_images(layout, folder / SOURCE)


def existing_environment() -> Path | None:
    """The environment of this process where `make setup` has made it from the present requirements, else None.

    In a linked environment that is older than they are, make would install into what belongs to another project.
    """
    environment = Path(sys.prefix).resolve()
    stamp = environment / STAMP
    if sys.prefix == sys.base_prefix or not stamp.is_file():
        return None
    is_current = all(Path(name).stat().st_mtime <= stamp.stat().st_mtime for name in REQUIREMENTS)
    return environment if is_current else None


def link_environment(folder: Path, environment: Path) -> None:
    """Let the project use an environment that is there, rather than install 6 GB once more."""
    (folder / ENVIRONMENT).symlink_to(environment, target_is_directory=True)


def start_versions(folder: Path, message: str) -> None:
    """Make `folder` a git repository and a DVC project, with everything in a first commit.

    Raises InputError when git is not installed or fails.
    """
    _run(folder, "git", "init", "--quiet")
    exclude = folder / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)  # a template of the user's may lack it
    with open(exclude, "a", encoding="utf-8") as file:
        file.write(f"/{ENVIRONMENT}\n")  # a link is no folder, which .gitignore's line stands for
    _run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    write_text(folder / ".dvc" / "config", DVC_CONFIG)
    _run(folder, "git", "add", "--all")
    identity = () if _has_identity(folder) else FALLBACK_IDENTITY
    _run(folder, "git", *identity, "commit", "--quiet", "--no-verify", "--no-gpg-sign", f"--message={message}")


def _has_identity(folder: Path) -> bool:
    """Whether git knows whose commits these are."""
    try:
        _run(folder, "git", "var", "GIT_COMMITTER_IDENT")
    except InputError:
        return False
    return True


def _run(folder: Path, *command: str) -> str:
    """What a program prints in `folder`; raises InputError with what it says when it fails or is not there."""
    environment = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}
    environment["DVC_NO_ANALYTICS"] = "1"
    program = printable(Path(command[0]).name)
    try:
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=True
        )
    except FileNotFoundError:
        raise InputError(f"{program}: not installed; a project of its own needs git") from None
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout).split()) or f"exit code {error.returncode}"
        raise InputError(f"{program}: {said}") from None
    return result.stdout

"""Commands that are to refuse something, run as a person runs them."""

from pathlib import Path

from forked_processes import start

from Resnet23.resuming import RESUME_DIR


def refusal(code: int, folder: Path, module: str, *arguments: str) -> str:
    """The line with which `python -m module arguments` ends in `folder`, with this exit code.

    It says nothing else and leaves the folder as it was.
    """
    before = contents(folder)
    command = start(folder, module, *arguments)
    assert (command.wait(), len(command.lines())) == (code, 1), command.lines()
    assert contents(folder) == before
    [line] = command.lines()
    assert line.startswith("error: ") and line.isprintable()
    return line.removeprefix("error: ")


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in a folder but the locks of trainings, and the size and last change of each file."""
    files = {path.relative_to(folder).as_posix(): path.lstat() for path in folder.rglob("*")}
    return {name: (each.st_size, each.st_mtime_ns) for name, each in files.items() if is_content(folder / name)}


def is_content(path: Path) -> bool:
    """Whether this is a file, and none of those by which a training says that it runs."""
    return not path.is_dir() and RESUME_DIR.name not in path.parts

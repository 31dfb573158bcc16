"""Interrupted trainings of whatever framework: where their states lie, and that one training runs at a time.

Each has a folder of its own, models/.resume/<key> or, of the Keras pipeline, models/.resume/keras/<key>. The key stands
for everything that the result depends on: other parameters, data or code never pick the state up.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout
from loguru import logger

from Resnet23.config import MODELS_DIR
from Resnet23.errors import InputError
from Resnet23.files import atomic_write, sweep

RESUME_DIR = MODELS_DIR / ".resume"
RUN_FILE = "run.json"  # in every such folder: names the tracker's run of the training
KEPT_STATES = 3  # of ResNet-23 about 200 MB each
PACKAGE = Path(__file__).parent
# Modules that never change a result, or act only through the parameters.
FREE_MODULES = {
    "__init__", "__main__", "cli", "config", "errors", "files", "command", "environment", "interrupts", "machine",
    "revision", "watch",
}  # fmt: skip
FREE_PACKAGE = "tracking"

FreshOption = Annotated[
    bool,
    typer.Option("--fresh", envvar="RESNET23_FRESH", help="Do not go on from an interrupted training; start anew."),
]


def resume_key(decisive: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that stand for these values and for the code that this process has imported."""
    text = json.dumps({**decisive, "code": code_digest()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def code_digest() -> str:
    """The SHA-256 over the names and the source of `code_files`."""
    digest = hashlib.sha256()
    for file in code_files():
        digest.update(file.as_posix().encode() + (PACKAGE / file).read_bytes())
    return digest.hexdigest()


def code_files() -> list[Path]:
    """The modules of this package that this process has imported and that can change a result, inside the package."""
    loaded = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    ours = {file.relative_to(PACKAGE) for file in loaded if file.is_relative_to(PACKAGE)}
    return sorted(file for file in ours if file.stem not in FREE_MODULES and file.parts[0] != FREE_PACKAGE)


def remove_old_states(own: Path) -> None:
    """Keep, beside the folder `own`, those of the `KEPT_STATES` interrupted trainings that were saved last.

    Of none is kept what it had half written when it was killed.
    """
    for folder in own.parent.glob("*/"):
        sweep(folder)
    others = [file.parent for file in own.parent.glob(f"*/{RUN_FILE}") if file.parent != own]
    for folder in sorted(others, key=lambda folder: folder.stat().st_mtime)[:-KEPT_STATES]:
        logger.info(f"{folder}: an interrupted training of other parameters, too old to be kept, is removed")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def training_lock(folder: Path = RESUME_DIR) -> Iterator[None]:
    """Let one training at a time work in this project, of those that keep their states in `folder`.

    Raises InputError with the number of the process that holds the lock. The operating system releases it when that
    process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "pid"
    try:
        held = FileLock(folder / "lock", timeout=0).acquire()
    except Timeout:
        number = holder.read_text(encoding="utf-8") if holder.exists() else "unknown"
        raise InputError(
            f"{folder.parent}: another training is running in this project, process {number}; "
            f"wait for it, or stop it with: kill {number}"
        ) from None
    with held:
        with atomic_write(holder) as file:
            file.write(str(os.getpid()))
        yield

"""The interpreter, the memory and the disk."""

import platform
import shutil
import sys
from pathlib import Path

import psutil

from Resnet23.doctoring.findings import Finding, ok, problem, warning
from Resnet23.files import printable
from Resnet23.machine import describe_machine

OLDEST, TOO_NEW, BROKEN = (3, 11), (3, 15), (3, 14, 1)  # as requires-python in pyproject.toml
GIB = 2**30
LITTLE_MEMORY = 2 * GIB  # free; PyTorch alone takes a few hundred MiB in each process
LITTLE_DISK, NO_DISK = 5 * GIB, 1 * GIB  # free; a training keeps up to four states of 200 MB besides the data


def check_python() -> Finding:
    """The version of Python that runs this."""
    version, place = sys.version_info, printable(Path(sys.executable))
    found = f"{platform.python_version()} at {place}"
    if OLDEST <= version[:2] < TOO_NEW and version[:3] != BROKEN:
        return ok(found)
    return problem(
        f"{found}; expected 3.11 to 3.14, and not 3.14.1", "make the environment anew: make setup PYTHON=python3.12"
    )


def check_processor() -> Finding:
    """The processor and its cores."""
    machine = describe_machine()
    return ok(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}")


def check_memory() -> Finding:
    """How much memory is free."""
    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB"
    if memory.available >= LITTLE_MEMORY:
        return ok(found)
    return warning(found, "end other programs, or take a smaller train.batch_size and predict.batch_size")


def check_disk(folder: Path = Path()) -> Finding:
    """How much space is left where the project lies."""
    free = shutil.disk_usage(folder).free
    found = f"{free / GIB:.1f} GiB free in {printable(folder.resolve())}"
    if free >= LITTLE_DISK:
        return ok(found)
    mend = "free some space; `dvc gc --workspace` removes from DVC's cache what the project no longer names"
    return problem(found, mend) if free < NO_DISK else warning(found, mend)

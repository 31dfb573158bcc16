"""Whose run it is: the process that works on a run signs it, so that a run whose process was killed can be told."""

import hashlib
import platform
from typing import TYPE_CHECKING

import psutil

from Resnet23.interrupts import has_ended

if TYPE_CHECKING:
    from mlflow.entities import Run

OWNER = "process"  # a tag of the run


def signature() -> str:
    """This process: a hash of the computer's name, the process's number and the second it was started in."""
    return f"{_computer()}-{psutil.Process().pid}-{int(psutil.Process().create_time())}"


def is_abandoned(run: "Run") -> bool:
    """Whether a run counts as running although the process that signed it is gone.

    Of a process on another computer nobody here can tell, so its runs count as alive.
    """
    computer, _, signed = run.data.tags.get(OWNER, "").partition("-")
    if run.info.status != "RUNNING" or computer != _computer():
        return False
    number, started = (int(part) for part in signed.split("-"))
    try:
        process = psutil.Process(number)
        return int(process.create_time()) != started or has_ended(process)
    except psutil.NoSuchProcess:
        return True


def _computer() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]

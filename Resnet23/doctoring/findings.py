"""What a check of the doctor says: how bad it is, what was found, and how to mend it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One answer. A warning is worth knowing and stops nothing; a problem makes some command fail."""

    status: Status
    found: str
    mend: str = ""


def ok(found: str) -> Finding:
    """All is well, or what is missing is not needed."""
    return Finding("ok", found)


def warning(found: str, mend: str) -> Finding:
    """Something works less well than it might, or will be missed later."""
    return Finding("warning", found, mend)


def problem(found: str, mend: str) -> Finding:
    """Something has to be mended first."""
    return Finding("problem", found, mend)

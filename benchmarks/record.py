"""The record of a benchmark: what was measured where, and a JSON file of it in reports/benchmarks."""

import platform
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from Resnet23.config import REPORTS_DIR, suggest
from Resnet23.errors import InputError
from Resnet23.files import write_json
from Resnet23.machine import describe_machine
from Resnet23.modeling.device import gpu_name
from Resnet23.revision import git_revision

BENCHMARKS_DIR = REPORTS_DIR / "benchmarks"
PACKAGES = ("torch", "torchvision", "accelerate", "numpy", "pillow")


def summarize(samples: Iterable[float]) -> dict[str, Any]:
    """Number, mean, spread and median of some samples, and the samples themselves.

    The spread is the standard deviation, None of a single sample. The median is what to believe where other work
    disturbed one of them.
    """
    samples = list(samples)
    return {
        "n": len(samples),
        "mean": statistics.fmean(samples),
        "spread": statistics.stdev(samples) if len(samples) > 1 else None,
        "median": statistics.median(samples),
        "samples": samples,
    }


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """The summary of the ratios of two speeds, each pair measured one right after the other."""
    return summarize(our / their for our, their in zip(ours, theirs, strict=True))


def check_parts(names: Sequence[str], known: Sequence[str]) -> None:
    """Raise InputError for a part that a benchmark does not have."""
    for name in names:
        if name not in known:
            raise InputError(f"--part: found {name!r}, which is no part of this benchmark; {suggest(name, known)}")


def machine() -> dict[str, Any]:
    """What this computer is: processor, cores that may be used, memory, GPU."""
    return {
        **describe_machine(),
        "gpu": gpu_name(),
        "load_before": round(psutil.getloadavg()[0], 2),  # mean of the last minute: other work disturbs the clock
    }


def versions() -> dict[str, str | None]:
    """The versions of Python, of the libraries that do the work, and of the project's code."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "git_revision": git_revision(),
    }


def describe_run(module: str) -> dict[str, Any]:
    """What every record begins with; call it in the project's folder, before the measurement loads the machine."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
    }


def write_record(name: str, device: str, content: Mapping[str, Any]) -> Path:
    """Write reports/benchmarks/`name`-`device`.json atomically and give its path."""
    path = BENCHMARKS_DIR / f"{name}-{device}.json"
    write_json(path, dict(content))
    return path

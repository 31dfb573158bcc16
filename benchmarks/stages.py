"""Start a stage as a program of its own, in the current project, and read what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from Resnet23.errors import Resnet23Error

REPOSITORY = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """That of this process, with this Python first on the path and the benchmarks among the modules."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    modules = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PATH": path, "PYTHONPATH": modules}


def run_program(*arguments: str) -> str:
    """What `python ARGUMENTS` prints; a failure is an error with its last line."""
    command = [sys.executable, *arguments]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr.strip() or result.stdout.strip() or "it said nothing").splitlines()
        raise Resnet23Error(f"{' '.join(arguments)}: ended with {result.returncode}: {lines[-1]}")
    return result.stdout


def measure_stage(stage: str) -> dict[str, Any]:
    """Seconds and bytes of a stage, as `measured_stage` says."""
    return json.loads(run_program("-m", "benchmarks.measured_stage", stage).splitlines()[-1])

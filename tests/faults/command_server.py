"""Runs commands of the project for `private_disk`, each in a fork of a process that has imported what they need.

Requests come as lines of JSON, answers go out as such: {"module", "arguments", "cwd", "environment"} is
`python -m module arguments`, {"program"} any other program.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from Resnet23.command import run_command
from Resnet23.tracking.store import prepare_mlflow

PRELOADED = (
    "Resnet23.datadownload", "Resnet23.features", "Resnet23.modeling.train", "Resnet23.modeling.predict",
    "Resnet23.plots",
)  # fmt: skip


def main() -> None:
    """Answer requests until there are no more."""
    for module in PRELOADED:
        importlib.import_module(module)
    prepare_mlflow()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    for line in sys.stdin:
        request = json.loads(line)
        answer = run_program(request["program"]) if "program" in request else run_module(request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def run_program(arguments: list[str]) -> dict[str, Any]:
    """Run a program to its end."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def run_module(request: dict[str, Any]) -> dict[str, Any]:
    """Run a module's command in a fork; what it prints goes to memory, so that no full disk keeps it from us."""
    outputs = [os.memfd_create(name) for name in ("stdout", "stderr")]
    process = os.fork()
    if process == 0:
        for descriptor, output in enumerate(outputs, start=1):
            os.dup2(output, descriptor)
        become(request)
    _, status = os.waitpid(process, 0)
    stdout, stderr = map(read_all, outputs)
    return {"code": os.waitstatus_to_exitcode(status), "stdout": stdout, "stderr": stderr}


def become(request: dict[str, Any]) -> None:
    """Turn this process into one that was started as the command; it ends with the command."""
    tempfile.tempdir = None  # chosen anew, from this environment
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = [request["module"], *request["arguments"]]
    run_command(importlib.import_module(request["module"]).main)


def read_all(descriptor: int) -> str:
    """What was written to a file in memory."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode()


if __name__ == "__main__":
    main()

"""A project's own store, and processes that use it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from Resnet23.tracking.store import STORE_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPOSITORY = Path(__file__).resolve().parents[2]
REFUSE_NETWORK = """
import os, socket
def refuse(*arguments):  # an exception might be swallowed by whoever connects
    os.write(2, f"network: {arguments}".encode())
    os._exit(9)
socket.socket.connect = socket.getaddrinfo = refuse
"""
TRACKED_RUN = """
from Resnet23.config import TrackingParams
from Resnet23.tracking import start_run
with start_run(TrackingParams(), {"seed": 0}) as tracker:
    tracker.log_metrics({"loss": 1.0}, step=1)
"""


class FirstProject(NamedTuple):
    """Where two processes made a store at once, and the exit code, output and errors of each."""

    folder: Path
    outputs: list[tuple[int, str, str]]


def make_first_project(folder: Path) -> FirstProject:
    """Let two processes make the store in `folder` at once."""
    processes = [python_process(REFUSE_NETWORK + TRACKED_RUN, folder) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    return FirstProject(folder, [(p.returncode, *output) for p, output in zip(processes, outputs, strict=True)])


def python_process(code: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    """As a user runs it: without the variables by which MLflow recognises a test or a build machine."""
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "SYSTEMROOT") if key in os.environ}
    environment |= {"PYTHONPATH": str(REPOSITORY), **variables}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment, **pipes)


def store_client() -> "MlflowClient":
    """MLflow's client for the store of the project in the current directory."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path.cwd() / STORE_FILE}")

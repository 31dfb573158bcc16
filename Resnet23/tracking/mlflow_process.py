"""Becoming one of MLflow's own servers."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from Resnet23.errors import InputError


def require_free_port(host: str, port: int) -> None:
    """Raise InputError when this process could not listen on that port."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0].lower()
        raise InputError(f"--port {port}: cannot listen on {host} ({reason}); name another port") from None


def become_mlflow(*arguments: str | int) -> NoReturn:
    """Replace this process by the command `mlflow`, which is told of no remote and does not call home."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_TRACKING_")}
    environment |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nothing here needs
    }
    scripts = str(Path(sys.executable).parent)  # mlflow starts uvicorn by its name, also where .venv is not activated
    environment["PATH"] = os.pathsep.join([scripts, environment.get("PATH", os.defpath)])
    command = [sys.executable, "-m", "mlflow", *(str(argument) for argument in arguments)]
    os.execvpe(command[0], command, environment)

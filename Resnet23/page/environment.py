"""Where the results came from: the tracker's run, the machine it ran on, and the versions of the libraries."""

import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from Resnet23.tracking.previous import RunHistory

LOCAL_PAGE = "http://127.0.0.1:5000"  # of Resnet23.tracking.ui
MACHINE = {
    "machine.cpu": "processor",
    "machine.cores": "cores",
    "machine.memory_gib": "memory, GiB",
    "machine.gpu": "GPU",
    "machine.system": "system",
}


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed, without importing them."""
    versions = {"Python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def describe_run(history: RunHistory | None) -> dict[str, Any]:
    """Of the tracker's run: its id and name, when it began, the machine that trained it, and where to look at it."""
    if history is None:
        return {"run_id": None, "name": None, "started": None, "machine": {}, "local": None, "remote": None}
    run = history.current
    machine = {name: run.tags[tag] for tag, name in MACHINE.items() if tag in run.tags}
    return {
        "run_id": run.run_id,
        "name": run.name,
        "started": run.started,
        "machine": machine,
        "local": f"{LOCAL_PAGE}/#/experiments/{run.experiment_id}/runs/{run.run_id}",
        "remote": history.remote,
    }

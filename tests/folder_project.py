"""A small project whose images are the files of a folder, and the lines that its commands print."""

from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import numpy as np
from forked_processes import start
from small_project import REPOSITORY, SHRUNK

from Resnet23.config import load_params
from Resnet23.images import encode_png
from Resnet23.project import write_params

SIDE = 16  # pixels
CHANGES = [
    *SHRUNK,
    "data.dataset=folder",
    "data.source=photos",
    f"data.image_size={SIDE}",
    "data.max_per_class=null",
    "features.val_fraction=0.25",
    "tracking.enabled=false",
]
DATA, FEATURES = "Resnet23.datadownload", "Resnet23.features"
TRAIN, PREDICT, PLOTS = "Resnet23.modeling.train", "Resnet23.modeling.predict", "Resnet23.plots"


def make_project(folder: Path, photos: Mapping[str | bytes, bytes], *changes: str) -> Path:
    """Write params.yaml and the photos, by their names below photos/, into a new folder; gives it."""
    with chdir(REPOSITORY):
        params = load_params(assignments=[*CHANGES, *changes]).model_dump()
        (folder / "photos").mkdir(parents=True)
        write_params(folder / "params.yaml", params, "tests/folder_project.py")
    for name, content in photos.items():
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def photo(number: int, side: int = SIDE) -> bytes:
    """The PNG file of a random image, each number another one."""
    return encode_png(np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8))


def run(folder: Path, module: str, *arguments: str, memory: int | None = None) -> tuple[int, list[str]]:
    """The exit code of `python -m module arguments` in the folder, and the lines that it prints."""
    command = start(folder, module, *arguments, memory=memory)
    return command.wait(), command.lines()


def failure(folder: Path, module: str, *arguments: str) -> tuple[int, str]:
    """The exit code of a command that fails, and the one line that says why, without "error: "."""
    code, lines = run(folder, module, *arguments)
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and lines[-1] == errors[0], lines
    assert not any("Traceback" in line for line in lines)
    return code, errors[0].removeprefix("error: ")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

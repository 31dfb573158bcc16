"""Time, memory and disk of every stage as the data grows, each stage in a process of its own.

Up to a number of files the images begin as PNG files and go through all stages. Beyond it the arrays are written
directly, and only the stages that read them are measured. The network is as small as can be: what grows with the images
is measured here, not what the network takes.
"""

from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from loguru import logger

from benchmarks.measured_stage import STAGES
from benchmarks.noise import split_counts, write_features, write_source
from benchmarks.projects import RUNS_DIR
from benchmarks.stages import measure_stage
from Resnet23.config import PARAMS_FILE, Params
from Resnet23.files import write_json

SOURCE = Path("source")
GIB = 2**30
QUANTITIES = ("seconds", "above_import_bytes", "above_import_file_bytes", "disk_bytes")
OUTLOOK = (1_000_000, 100_000_000)  # images


def measure_growth(params: Params, sizes: Sequence[int], most_files: int) -> list[dict[str, Any]]:
    """What every stage takes at each number of images, smallest first; at least two numbers, so that it can be seen."""
    RUNS_DIR.mkdir(exist_ok=True)
    measured = []
    for size in sorted(sizes):
        with TemporaryDirectory(prefix="bench-growth-", dir=RUNS_DIR) as folder:
            write_json(Path(folder, PARAMS_FILE), params.model_dump())  # JSON is YAML
            with chdir(folder):
                measured += measure_size(size, size <= most_files)
    return measured


def measure_size(size: int, from_files: bool) -> list[dict[str, Any]]:
    """What every stage takes in the current project, which is empty but for its parameters, with so many images."""
    if from_files:
        write_source(SOURCE, size)
        stages = list(STAGES)
    else:
        write_features(size)
        stages = [stage for stage in STAGES if stage not in ("datadownload", "features")]
    found = []
    for stage in stages:
        before = bytes_on_disk()
        measured = measure_stage(stage)
        measured |= {
            "above_import_bytes": measured["anonymous_bytes"] - measured["imported_bytes"],
            "above_import_file_bytes": measured["file_bytes"] - measured["imported_file_bytes"],
            "disk_bytes": bytes_on_disk() - before,
        }
        found.append({"stage": stage, "images": sum(split_counts(size).values()), **measured})
        logger.info(stage_line(found[-1]))
    return found


def bytes_on_disk() -> int:
    """Of all files below the current directory."""
    return sum(path.stat().st_size for path in Path().rglob("*") if path.is_file())


def stage_line(measured: Mapping[str, Any]) -> str:
    """A stage in a line."""
    return (
        f"{measured['stage']}, {measured['images']:,} images: {measured['seconds']:.1f} s, "
        f"{measured['above_import_bytes'] / GIB:.3f} GiB above the import, "
        f"{measured['above_import_file_bytes'] / GIB:.3f} GiB of file pages, "
        f"{measured['disk_bytes'] / GIB:.3f} GiB written"
    )


def outlook(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each stage measured at two sizes or more, what a straight line through them says of other numbers of images.

    The line is fitted by least squares of the relative errors, so that small sizes count as well.
    """
    found = []
    for stage in STAGES:
        points = [each for each in measured if each["stage"] == stage]
        if len(points) < 2:
            continue
        images = np.array([point["images"] for point in points], float)
        for size in OUTLOOK:
            row = {"stage": stage, "images": size, "measured_up_to": int(images.max())}
            for name in QUANTITIES:
                row[name] = predict_at(images, np.array([point[name] for point in points]), size)
            found.append(row)
    return found


def predict_at(images: np.ndarray, values: np.ndarray, size: int) -> float:
    """The value at `size` images on the straight line through (images, values), never below 0."""
    slope, start = np.polyfit(images, values, 1, w=1 / np.maximum(np.abs(values), 1))
    return max(0.0, float(start + slope * size))

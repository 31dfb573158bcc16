"""What it costs to find out that there is nothing to do: `dvc repro` with everything up to date."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loguru import logger

from benchmarks.noise import SIDE, VAL_FRACTION, write_source
from benchmarks.projects import RUNS_DIR, UNTRACKED
from benchmarks.record import paired_ratios, summarize
from benchmarks.stages import run_program
from Resnet23.errors import Resnet23Error
from Resnet23.project import make_project, write_text

UP_TO_DATE = "Data and pipelines are up to date"
OWN_CACHE = "[cache]\n    dir = cache\n"  # so that the repository's cache is not filled with noise
# What a pipeline over folders of noise needs, in as little time as may be.
SMALL = [
    "data.dataset=folder",
    "data.max_per_class=null",
    f"data.image_size={SIDE}",
    "features.storage=array",
    f"features.val_fraction={VAL_FRACTION}",
    "model={name: resnet10, width: 4}",
    "train={epochs: 1, batch_size: 256, precision: fp32}",
    UNTRACKED,
]


def measure_idle(sizes: Sequence[int], repeats: int) -> dict[str, Any]:
    """Seconds of `dvc repro` in finished projects of so many images, in turns, after a turn that does not count."""
    with ExitStack() as stack:
        folders = {size: stack.enter_context(finished_project(size)) for size in sizes}
        turns = [{size: time_repro(folder) for size, folder in folders.items()} for _ in range(repeats + 1)][1:]
    seconds = {size: [turn[size] for turn in turns] for size in sizes}
    return {
        "sizes": list(sizes),
        "seconds": {str(size): summarize(samples) for size, samples in seconds.items()},
        "largest_divided_by_smallest": paired_ratios(seconds[max(sizes)], seconds[min(sizes)]),
    }


@contextmanager
def finished_project(size: int) -> Iterator[Path]:
    """A project of about `size` images in which all stages have run; it is removed when the block ends."""
    folder = RUNS_DIR / f"bench-idle-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        RUNS_DIR.mkdir(exist_ok=True)
        with TemporaryDirectory(prefix="bench-source-", dir=RUNS_DIR) as source:  # not where DVC would look into it
            write_source(Path(source), size)
            make_project(folder, assignments=[*SMALL, f"data.source={source}"])
            write_text(folder / ".dvc" / "config.local", OWN_CACHE)
            logger.info(f"{size:,} images: the pipeline runs once")
            with chdir(folder):
                run_program("-m", "dvc", "repro")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def time_repro(folder: Path) -> float:
    """Seconds of `dvc repro`, the interpreter's start included; it must find nothing to do."""
    with chdir(folder):
        started = time.perf_counter()
        output = run_program("-m", "dvc", "repro")
        seconds = time.perf_counter() - started
    if UP_TO_DATE not in output:
        raise Resnet23Error(f"{folder}: dvc repro found something to do: {output.strip().splitlines()[-1]}")
    logger.info(f"{folder}: {seconds:.2f} s for nothing")
    return seconds

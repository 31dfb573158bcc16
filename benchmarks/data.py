"""What the data costs: reading it, finding out that nothing has changed, and memory as it grows.

    make bench-data                       (or: python -m benchmarks.data --part reading)

`reading`: PNG folders to the first batch, against torchvision's ImageFolder and DataLoader. `idle`: `dvc repro` with
everything up to date at 600, 6,000 and 60,000 images. `growth`: seconds, memory and disk of every stage at 5,000,
50,000 and 500,000 images, from which docs/scale.md draws its lines. Projects of noise are made below runs/ and removed
again. The record goes to reports/benchmarks/data-cpu.json; parts that are not run stay in it as they were.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from loguru import logger

from benchmarks.growth import GIB, measure_growth, outlook
from benchmarks.idle import SMALL, measure_idle
from benchmarks.reading import measure_reading
from benchmarks.record import BENCHMARKS_DIR, check_parts, describe_run, write_record
from benchmarks.tables import Row, result_row, spread_of, update_table
from Resnet23.command import DebugOption, ParamsOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, load_params
from Resnet23.errors import InputError

PARTS = ["reading", "idle", "growth"]
IDLE_SIZES = [600, 6_000, 60_000]
GROWTH_SIZES = [5_000, 50_000, 500_000]
SCALE_DOCUMENT = Path("docs/scale.md")
DEVICE = "cpu"  # nothing here is computed elsewhere

PartsOption = Annotated[
    list[str] | None, typer.Option("--part", help=f"One of them only: {', '.join(PARTS)}. Repeatable.")
]
IdleOption = Annotated[
    list[int] | None, typer.Option("--idle-size", min=120, help="Images of the part idle. Repeatable.")
]
GrowthOption = Annotated[
    list[int] | None, typer.Option("--growth-size", min=120, help="Images of the part growth. Repeatable.")
]
FilesOption = Annotated[
    int, typer.Option("--most-files", help="Beyond so many images, growth begins with arrays and not with files.")
]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Turns that count, after one to warm up.")]


def main(
    params_file: ParamsOption = PARAMS_FILE,
    assignments: SetOption = None,
    parts: PartsOption = None,
    idle_sizes: IdleOption = None,
    growth_sizes: GrowthOption = None,
    most_files: FilesOption = 50_000,
    repeats: RepeatsOption = 5,
    debug: DebugOption = False,
) -> None:
    """Measure what reading the data, an idle pipeline, and more data cost."""
    check_parts(parts or PARTS, PARTS)
    cpu = ["train.device=cpu", "predict.device=cpu"]
    params = load_params(params_file, assignments=[*(assignments or []), *cpu])
    small = load_params(params_file, assignments=[*SMALL, *cpu, "data.source=source"])
    for part, sizes in (("idle", idle_sizes), ("growth", growth_sizes)):
        if sizes and len(set(sizes)) < 2:
            raise InputError(f"--{part}-size: found {sizes[0]} only, expected at least two sizes to compare")
    measures = {
        "reading": lambda: measure_reading(params_file, params, repeats),
        "idle": lambda: measure_idle(idle_sizes or IDLE_SIZES, repeats),
        "growth": lambda: measure_growth(small, growth_sizes or GROWTH_SIZES, most_files),
    }
    for part in parts or PARTS:
        run = describe_run("benchmarks.data")
        add_part(part, run | {"results": measures[part]()})


def add_part(part: str, result: Mapping[str, Any]) -> None:
    """Write a part into the record, beside the others, and into the documents."""
    path = BENCHMARKS_DIR / f"data-{DEVICE}.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_record("data", DEVICE, {**record, part: result})
    logger.info(f"{path}: {part}")
    update_table("data", TABLE_ROWS[part](result))
    if part == "growth":
        update_table("growth", growth_rows(result), SCALE_DOCUMENT)
        update_table("outlook", outlook_rows(result), SCALE_DOCUMENT)


def reading_rows(run: Mapping[str, Any]) -> list[Row]:
    """Features once, and reading the arrays later, each against an epoch over the folders."""
    found = run["results"]
    speeds, folders = found["images_per_second"], found["faster_folders"]
    arms = {
        f"PNG folders, features, first batch; {found['images']:,} images": ("features", "G7: at least 3"),
        f"an epoch of batches from the arrays; {found['images']:,} images": ("later_epochs", ""),
    }
    rows = []
    for what, (arm, goal) in arms.items():
        ratio = found[f"{arm}_divided_by_folders"]
        columns = {
            "goal": goal,
            "reference": f"ImageFolder and DataLoader: {speeds[folders]['mean']:,.0f} images/s",
            "ours": f"{speeds[arm]['mean']:,.0f} images/s",
            "ratio": f"{ratio['mean']:.2f}",
            "n": ratio["n"],
            "spread": spread_of(ratio, ".2f"),
        }
        rows.append(result_row(run, what, columns))
    return rows


def idle_rows(run: Mapping[str, Any]) -> list[Row]:
    """Every size against the smallest."""
    seconds = run["results"]["seconds"]
    smallest = min(seconds, key=int)
    rows = []
    for size, found in seconds.items():
        is_goal = int(size) == max(IDLE_SIZES)
        columns = {
            "goal": "G8: under 5 s, and under 3 times that of 600 images" if is_goal else "",
            "reference": f"{int(smallest):,} images: {seconds[smallest]['mean']:.2f} s",
            "ours": f"{found['mean']:.2f} s",
            "ratio": f"{found['mean'] / seconds[smallest]['mean']:.2f}",
            "n": found["n"],
            "spread": spread_of(found, ".2f"),
        }
        rows.append(result_row(run, f"dvc repro with nothing to do, {int(size):,} images", columns))
    return rows


def memory_rows(run: Mapping[str, Any]) -> list[Row]:
    """The two stages whose memory has a goal, at their largest number of images."""
    rows = []
    for stage in ("features", "train"):
        points = [each for each in run["results"] if each["stage"] == stage]
        if not points:  # no size with files
            continue
        largest, smallest = points[-1], points[0]
        held, mapped = (f"{largest[f'above_import{kind}_bytes'] / 1e9:.3f} GB" for kind in ("", "_file"))
        columns = {
            "goal": "G9: at most 1.5 GB at 500,000 images",
            "reference": f"{smallest['images']:,} images: {smallest['above_import_bytes'] / 1e9:.3f} GB",
            "ours": f"{held}, and {mapped} of file pages",
            "ratio": f"{largest['above_import_bytes'] / max(1, smallest['above_import_bytes']):.2f}",
            "n": 1,
            "spread": "",
        }
        what = f"anonymous memory of {stage} above its import, {largest['images']:,} images"
        rows.append(result_row(run, what, columns))
    return rows


TABLE_ROWS = {"reading": reading_rows, "idle": idle_rows, "growth": memory_rows}


def growth_rows(run: Mapping[str, Any]) -> list[Row]:
    """Every stage at every number of images, as it was measured."""
    return [
        result_row(run, f"{each['stage']}, {each['images']:,} images", scale_columns(each)) for each in run["results"]
    ]


def outlook_rows(run: Mapping[str, Any]) -> list[Row]:
    """Every stage at numbers of images that were not measured, computed from those that were."""
    rows = []
    for each in outlook(run["results"]):
        measured = {"computed from up to": f"{each['measured_up_to']:,} images"}
        rows.append(result_row(run, f"{each['stage']}, {each['images']:,} images", scale_columns(each) | measured))
    return rows


def scale_columns(each: Mapping[str, Any]) -> dict[str, str]:
    """Time, memory and disk of a stage."""
    return {
        "time": duration(each["seconds"]),
        "anonymous memory above the import": f"{each['above_import_bytes'] / GIB:,.2f} GiB",
        "file pages": f"{each['above_import_file_bytes'] / GIB:,.2f} GiB",
        "written": f"{each['disk_bytes'] / GIB:,.2f} GiB",
    }


def duration(seconds: float) -> str:
    """A time as a person says it."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} s"


if __name__ == "__main__":
    run_command(main)

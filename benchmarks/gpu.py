"""What a GPU makes of the recipes: seconds of the shipped training, mixed precision, and ten minutes of the longest.

    make bench-gpu                        (or: python -m benchmarks.gpu --part shipped)

`shipped`: the training of params.yaml, again and again; the first one compiles and does not count. `precision`: the
same in mixed precision and in fp32, in turns, each after one that does not count. `long`: the preset long for a number
of minutes, its epochs from the speed of a short training before it; what the whole command took is recorded.
Each is the real pipeline, without tracking, in a project below runs/. The record goes to
reports/benchmarks/gpu-cuda.json, each part as soon as it is done. Where the data cannot be fetched, name it:
--set data.dataset=folder --set data.source=data/processed/images.tar.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
import typer
from loguru import logger

from benchmarks.projects import load_recipe, project_with_data
from benchmarks.record import BENCHMARKS_DIR, check_parts, describe_run, paired_ratios, summarize, write_record
from benchmarks.tables import Row, result_row, spread_of, update_table
from benchmarks.trainings import log_training, train_and_test
from Resnet23.command import DebugOption, SetOption, run_command
from Resnet23.errors import InputError
from Resnet23.modeling.device import choose_device, choose_precision

PARTS = ["shipped", "precision", "long"]
TRIAL_EPOCHS = 4  # of the training that tells the speed; the first may compile
MARGIN = 0.97  # of the time; the rest is for what an epoch more would overrun
ALL_TEST_IMAGES = "data.max_per_class={train: 500, test: null}"

PartsOption = Annotated[
    list[str] | None, typer.Option("--part", help=f"One of them only: {', '.join(PARTS)}. Repeatable.")
]
MinutesOption = Annotated[float, typer.Option(min=0.01, help="Of training, in the part long.")]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Trainings of each kind that count, after one that does not.")]
LongOption = Annotated[str, typer.Option("--preset", help="The recipe of the part long.")]


def main(
    parts: PartsOption = None,
    preset: LongOption = "long",
    minutes: MinutesOption = 10.0,
    repeats: RepeatsOption = 3,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Measure the recipes on a CUDA GPU."""
    check_parts(parts or PARTS, PARTS)
    if not torch.cuda.is_available():
        raise InputError("bench-gpu: PyTorch sees no CUDA GPU here; run it on a machine with one")
    changes = [ALL_TEST_IMAGES, *(assignments or [])]
    measures = {
        "shipped": lambda: measure_shipped(changes, repeats),
        "precision": lambda: measure_precision(changes, repeats),
        "long": lambda: measure_long(preset, changes, minutes),
    }
    for part in parts or PARTS:
        run = describe_run("benchmarks.gpu")
        add_part(part, run | {"changes": changes, "results": measures[part]()})


def measure_shipped(changes: Sequence[str], repeats: int) -> dict[str, Any]:
    """Whole trainings of params.yaml; seconds of their steps, without validation and after compilation."""
    with project_with_data("gpu", None, changes):
        results = [train_and_test() for _ in range(repeats + 1)]
    log_training("params.yaml", results[-1])
    return {
        "seconds": summarize(result["seconds"]["training"] for result in results[1:]),
        "seconds_with_compilation": results[0]["seconds"]["training"],
        "trainings": results,
    }


def measure_precision(changes: Sequence[str], repeats: int) -> dict[str, Any]:
    """Images per second of the shipped training in mixed precision and in fp32, in turns."""
    device = choose_device("cuda")
    mixed, reason = choose_precision("auto", device)
    if mixed == "fp32":
        raise InputError(f"--part precision: found fp32 only: {reason}; run it on another GPU")
    turns: list[dict[str, dict[str, Any]]] = []
    for turn in range(repeats + 1):
        turns.append({name: train_in(name, changes) for name in (mixed, "fp32")})
        speeds = ", ".join(f"{name} {result['images_per_second']:,.0f}" for name, result in turns[-1].items())
        logger.info(f"{f'turn {turn} of {repeats}' if turn else 'warm-up'}: {speeds} images/s")
    speeds = {name: [turn[name]["images_per_second"] for turn in turns[1:]] for name in turns[0]}
    return {
        "mixed": mixed,
        "images": images_of(turns[0][mixed]),
        "images_per_second": {name: summarize(samples) for name, samples in speeds.items()},
        "mixed_divided_by_fp32": paired_ratios(speeds[mixed], speeds["fp32"]),
        "test_accuracy": {name: summarize(turn[name]["test_accuracy"] for turn in turns) for name in speeds},
    }


def train_in(precision: str, changes: Sequence[str]) -> dict[str, Any]:
    """The shipped training in this precision, and its speed."""
    with project_with_data("gpu", None, [*changes, f"train.precision={precision}"]):
        result = train_and_test()
    return result | {"images_per_second": result["images_seen"] / result["seconds"]["training"]}


def measure_long(preset: str, changes: Sequence[str], minutes: float) -> dict[str, Any]:
    """The preset for as many epochs as fit into the minutes, judged by its speed in a short training."""
    phases = load_recipe(preset, changes).train.phases
    if len(phases) > 1 or phases[0].epochs:
        raise InputError(f"--preset {preset}: found phases with epochs of their own, expected one without")
    with project_with_data("gpu-long", preset, [*changes, f"train.epochs={TRIAL_EPOCHS}"]):
        train_and_test()  # compiles
        trial = train_and_test()
    epochs = max(1, int(MARGIN * 60 * minutes * TRIAL_EPOCHS / trial["seconds"]["training"]))
    logger.info(f"preset {preset}: {epochs:,} epochs in {minutes:g} minutes")
    with project_with_data("gpu-long", preset, [*changes, f"train.epochs={epochs}"]):
        result = train_and_test()
    log_training(f"preset {preset}", result)
    return {"preset": preset, "minutes": minutes, **result}


def add_part(part: str, result: Mapping[str, Any]) -> None:
    """Write a part into the record, beside the others, and into the table."""
    path = BENCHMARKS_DIR / "gpu-cuda.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_record("gpu", "cuda", {**record, part: result})
    logger.info(f"{path}: {part}")
    update_table("gpu", [TABLE_ROWS[part](result)])


def images_of(result: Mapping[str, Any]) -> str:
    """On how many images a training trained and was tested."""
    return f"{result['training_images']:,} to train, {result['test_images']:,} to test"


def shipped_row(run: Mapping[str, Any]) -> Row:
    """Seconds of the shipped training."""
    found = run["results"]
    accuracy = summarize(result["test_accuracy"] for result in found["trainings"])
    columns = {
        "goal": "G14: under 5 s",
        "reference": "",
        "ours": f"{found['seconds']['mean']:.2f} s",
        "ratio": "",
        "n": found["seconds"]["n"],
        "spread": spread_of(found["seconds"], ".2f"),
        "test accuracy": f"{accuracy['mean']:.2%}",
        "images": images_of(found["trainings"][0]),
    }
    return result_row(run, "params.yaml: seconds of training after compilation", columns)


def precision_row(run: Mapping[str, Any]) -> Row:
    """Mixed precision against fp32."""
    found = run["results"]
    speeds, ratio, mixed = found["images_per_second"], found["mixed_divided_by_fp32"], found["mixed"]
    columns = {
        "goal": "G14: at least 2",
        "reference": f"fp32: {speeds['fp32']['mean']:,.0f} images/s",
        "ours": f"{mixed}: {speeds[mixed]['mean']:,.0f} images/s",
        "ratio": f"{ratio['mean']:.2f}",
        "n": ratio["n"],
        "spread": spread_of(ratio, ".2f"),
        "test accuracy": f"{found['test_accuracy'][mixed]['mean']:.2%}",
        "images": found["images"],
    }
    return result_row(run, f"params.yaml: {mixed} against fp32", columns)


def long_row(run: Mapping[str, Any]) -> Row:
    """What the minutes are good for."""
    found = run["results"]
    columns = {
        "goal": "G4: at least 90%" if found["minutes"] == 10 else "",
        "reference": "88.0% (HAET 2021), 89.4% (PBA)",
        "ours": f"{found['test_accuracy']:.2%}",
        "ratio": f"{found['test_accuracy'] / 0.88:.2f}",
        "n": 1,
        "spread": "",
        "test accuracy": f"{found['test_accuracy']:.2%}",
        "images": images_of(found),
    }
    minutes = found["seconds"]["training"] / 60
    return result_row(run, f"preset {found['preset']}: {found['epochs']:,} epochs in {minutes:.1f} minutes", columns)


TABLE_ROWS = {"shipped": shipped_row, "precision": precision_row, "long": long_row}


if __name__ == "__main__":
    run_command(main)

"""How much of the machine's speed the training loop passes on.

    make bench-loop                       (or: python -m benchmarks.loop --width 16)

The engine, end to end, against the bare optimizer step and against a plain loop over PNG files: one stretch of training
after the other, in turns, so that what disturbs the machine disturbs all of them. The record with every sample goes to
reports/benchmarks/loop-DEVICE.json; what the training itself writes goes to a temporary project folder.
"""

from math import ceil
from typing import Annotated, Any, Literal

import torch
import typer
from loguru import logger

from benchmarks.arms import Bare, Engine, Plain, Stretch, TimedResumeFile
from benchmarks.images import Images, images_to_train_on, spread_rows
from benchmarks.record import describe_run, paired_ratios, summarize, write_record
from benchmarks.tables import Row, result_row, spread_of, update_table
from Resnet23.command import DebugOption, ParamsOption, SetOption, run_command
from Resnet23.config import MODELS_DIR, PARAMS_FILE, Params, PhaseParams, load_params
from Resnet23.modeling.device import choose_device, choose_precision, uses_compilation
from Resnet23.tracking import start_run

WIDTHS = [16, 64]
STEPS = {"cpu": 8, "cuda": 560}  # of width 64: about ten seconds
PLAIN_WORKERS = (0, 2)
# Device -> what the engine is compared with, at a width where it matters -> goal.
GOALS = {
    "cpu": {
        "bare": "G5: at least 0.97",
        "plain 16": "G6: at least 2",
        "plain 64": "G6: at least 1.05",
    },
    "cuda": {"bare": "G5: at least 0.95", "plain": "G6: at least 10"},
}
TEXTBOOK_WORKERS = {"cpu": 0, "cuda": 2}  # a CPU that trains has no core to spare for workers

WidthOption = Annotated[list[int] | None, typer.Option("--width", min=1, help="Network's width. Repeatable.")]
StepsOption = Annotated[
    int | None, typer.Option(min=1, help="Optimizer steps of a stretch at width 64; a narrower network takes more.")
]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Stretches of each arm that count, after one to warm up.")]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]


def main(
    params_file: ParamsOption = PARAMS_FILE,
    assignments: SetOption = None,
    width: WidthOption = None,
    steps: StepsOption = None,
    repeats: RepeatsOption = 5,
    device: DeviceOption = "auto",
    debug: DebugOption = False,
) -> None:
    """Measure the training loop against a bare optimizer step and a plain loop over PNG files."""
    params = load_params(params_file, assignments=[*(assignments or []), f"train.device={device}"])
    kind = choose_device(device).type
    record = describe_run("benchmarks.loop") | {"settings": describe_settings(params, repeats)}
    with images_to_train_on(params_file) as images:
        record["data"] = {"dataset": images.features.info["dataset"], "origin": images.origin}
        record["results"] = [
            measure(create_stretch(images, params, number, steps or STEPS[kind], repeats), repeats)
            for number in width or WIDTHS
        ]
    path = write_record("loop", kind, record)
    for result in record["results"]:
        logger.info(summary_line(result))
    logger.info(f"{path}: every sample")
    update_table("loop", table_rows(record))


def describe_settings(params: Params, repeats: int) -> dict[str, Any]:
    """What decides the speed, beside the machine and the width."""
    device = choose_device(params.train.device)
    return {
        "model": params.model.name,
        "seed": params.seed,
        "batch_size": params.train.batch_size,
        "optimizer": params.train.optimizer,
        "augment": params.train.augment.model_dump(),
        "device": device.type,
        "precision": choose_precision(params.train.precision, device)[0],
        "channels_last": params.train.channels_last,
        "compiled": uses_compilation(params.train, device),
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "tracking": params.tracking.enabled,
        "checkpoint_minutes": params.train.checkpoint_minutes,
    }


def create_stretch(images: Images, params: Params, width: int, steps: int, repeats: int) -> Stretch:
    """At least so many steps at this width: whole batches, in as many epochs as it takes, the state saved at the end.

    Raises InputError when there are not even the images of one batch.
    """
    batch_size, rows = params.train.batch_size, images.features.train_indices
    steps = max(1, steps * 64 // width)
    epochs = ceil(steps / max(1, len(rows) // batch_size))
    steps_per_epoch = ceil(steps / epochs)
    changes = {
        "phases": [PhaseParams()],
        "epochs": epochs * (repeats + 1),
        "checkpoint_steps": epochs * steps_per_epoch,
    }
    model = params.model.model_copy(update={"width": width})
    params = params.model_copy(update={"model": model, "train": params.train.model_copy(update=changes)})
    return Stretch(images, params, spread_rows(rows, steps_per_epoch * batch_size), epochs)


def measure(stretch: Stretch, repeats: int) -> dict[str, Any]:
    """Run all arms in turns, `repeats` times after a turn that does not count, and sum up what the clock said."""
    tracked = stretch.params.model_dump(include={"seed", "model", "train"})
    with start_run(stretch.params.tracking, tracked, {"stage": "benchmark"}) as tracker:
        engine = Engine(stretch, tracker, TimedResumeFile(MODELS_DIR / "state"))
        arms = {"engine": engine, "bare": Bare(stretch), **plain_arms(stretch)}
        turns = [take_turn(stretch, arms, turn, repeats) for turn in range(repeats + 1)][1:]
    speeds = {name: [turn[name] for turn in turns] for name in arms}
    return summarize_arms(stretch, speeds) | {
        "seconds_of_saving": summarize(engine.saving[1:]),
        "validation_images_per_second": summarize(engine.validation[1:]) if engine.validation else None,
    }


def take_turn(stretch: Stretch, arms: dict[str, Engine | Bare | Plain], turn: int, repeats: int) -> dict[str, float]:
    """One stretch of each arm; images per second. Turn 0 is the one to warm up."""
    speeds = {name: stretch.count / arm.run() for name, arm in arms.items()}
    line = ", ".join(f"{name} {speed:.1f}" for name, speed in speeds.items())
    width, number = stretch.params.model.width, f"turn {turn} of {repeats}" if turn else "warm-up"
    logger.info(f"width {width}, {number}: {line} images/s")
    return speeds


def plain_arms(stretch: Stretch) -> dict[str, Plain]:
    """The plain loop in the engine's precision, without and with worker processes, and the one of the textbook."""
    plain = {f"plain_{workers}_workers": Plain(stretch, workers, textbook=False) for workers in PLAIN_WORKERS}
    return {**plain, "textbook": Plain(stretch, TEXTBOOK_WORKERS[stretch.device.type], textbook=True)}


def summarize_arms(stretch: Stretch, speeds: dict[str, list[float]]) -> dict[str, Any]:
    """The speeds of all arms, and the engine's ratios to the bare step, the better plain loop and the textbook's."""
    plain = max((name for name in speeds if name.startswith("plain")), key=lambda name: sum(speeds[name]))
    return {
        "width": stretch.params.model.width,
        "steps": stretch.steps,
        "epochs": stretch.epochs,
        "images_per_second": {name: summarize(samples) for name, samples in speeds.items()},
        "engine_divided_by": {
            name: paired_ratios(speeds["engine"], speeds[name]) for name in ("bare", plain, "textbook")
        },
    }


def summary_line(result: dict[str, Any]) -> str:
    """The ratios of one width in a line."""
    parts = []
    for name, ratio in result["engine_divided_by"].items():
        spread = "" if ratio["spread"] is None else f" +- {ratio['spread']:.3f}"
        parts.append(f"{ratio['mean']:.3f}{spread} (median {ratio['median']:.3f}) of {name}")
    return f"width {result['width']}: the engine's speed is {', '.join(parts)}"


def table_rows(record: dict[str, Any]) -> list[Row]:
    """A row for each width and each arm that the engine is compared with."""
    settings, goals = record["settings"], GOALS[record["settings"]["device"]]
    rows = []
    for result in record["results"]:
        speeds = result["images_per_second"]
        for name, ratio in result["engine_divided_by"].items():
            arm = name.partition("_")[0]
            columns = {
                "goal": goals.get(arm, goals.get(f"{arm} {result['width']}", "")),
                "reference": f"{name.replace('_', ' ')}: {speeds[name]['mean']:,.1f} images/s",
                "ours": f"{speeds['engine']['mean']:,.1f} images/s",
                "ratio": f"{ratio['mean']:.3f}",
                "n": ratio["n"],
                "spread": spread_of(ratio, ".3f"),
                "median": f"{ratio['median']:.3f}",
            }
            what = f"{settings['model']}, width {result['width']}, {settings['precision']}, against {arm}"
            rows.append(result_row(record, what, columns))
    return rows


if __name__ == "__main__":
    run_command(main)

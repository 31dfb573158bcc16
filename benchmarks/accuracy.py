"""What the recipes reach, and what it takes: accuracy, arithmetic, images seen and seconds of whole trainings.

    make bench-accuracy                                     (or: python -m benchmarks.accuracy --preset quick --seed 1)
    make bench-accuracy OPTIONS="--preset default --take last"                     the same from other training images
    make bench-accuracy OPTIONS="--images 500 --images 1000 --images 2000"          the same from fewer, or from more

Each run is the real pipeline in a project of its own, runs/bench-PRESET: data, features, training, prediction on all
test images. Training begins from random weights, takes as many epochs as the recipe says, whatever the number of
images, and the epoch is the last one or that best on validation, never best on test. A run is recorded in
reports/benchmarks/accuracy-DEVICE.json as soon as it is done and is not done twice; an interrupted one goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, Literal

import typer
from loguru import logger

from benchmarks.projects import load_recipe, project_with_data, recipe_digest
from benchmarks.record import describe_run, summarize
from benchmarks.runs import Runs
from benchmarks.tables import Row, result_row, spread_of, update_table
from benchmarks.trainings import log_training, train_and_test
from Resnet23.command import DebugOption, SetOption, run_command
from Resnet23.config import NUM_CLASSES
from Resnet23.errors import InputError
from Resnet23.modeling.device import choose_device

SHIPPED = "default"  # stands for params.yaml
PRESETS = [SHIPPED, "fast", "quick", "reference", "reference-resnet18"]
IMAGES = 5000  # of the task that the goals are for: the first 500 of each class
# Preset -> goal, and the test accuracy that others reached.
GOALS = {
    SHIPPED: ("G1: at least 80%", 0.58),
    "fast": ("G3: at least 86% within 0.47 PFLOP", 0.82),
    "quick": ("G16: at least 74% after 10 minutes on 2 cores", 0.707),
    "reference": ("", 0.58),
    "reference-resnet18": ("", 0.40),
}

PresetsOption = Annotated[
    list[str] | None, typer.Option("--preset", help=f"A recipe from presets/, or {SHIPPED}: params.yaml. Repeatable.")
]
SeedsOption = Annotated[list[int] | None, typer.Option("--seed", min=0, help="A seed; 0 without any. Repeatable.")]
TakeOption = Annotated[Literal["first", "last"], typer.Option(help="Which training images of each class.")]
ImagesOption = Annotated[
    list[int] | None, typer.Option("--images", help="Training images, a tenth for each class. Repeatable.")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Do again what has been done.")]


def main(
    presets: PresetsOption = None,
    seeds: SeedsOption = None,
    take: TakeOption = "first",
    images: ImagesOption = None,
    assignments: SetOption = None,
    fresh: FreshOption = False,
    debug: DebugOption = False,
) -> None:
    """Train each recipe from each seed and number of images, and test it on all test images."""
    planned = list(plan(presets or PRESETS, seeds or [0], take, images or [IMAGES], assignments or []))
    for identity in planned:
        find_or_measure(identity, fresh)
    devices = sorted({device_of(identity) for identity in planned})
    for device in devices:
        update_table("accuracy", table_rows(Runs("accuracy", device).all()))


def plan(
    presets: Sequence[str], seeds: Sequence[int], take: str, images: Sequence[int], assignments: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """What identifies each run, all seeds of a recipe one after the other.

    Raises InputError for a recipe with mistakes in it before anything is trained.
    """
    for preset, count, seed in product(presets, images, seeds):
        if count < NUM_CLASSES or count % NUM_CLASSES:
            raise InputError(f"--images: found {count}, expected a multiple of {NUM_CLASSES}, the number of classes")
        run = {"preset": preset, "images": count, "take": take, "changes": list(assignments), "seed": seed}
        params = load_recipe(name_of_preset(run), all_assignments(run))
        if "multilabel" in params.data.dataset:
            raise InputError(f"--preset {preset}: found a recipe for several labels, expected one for a class each")
        yield {**run, "recipe": recipe_digest(params)}


def name_of_preset(run: Mapping[str, Any]) -> str | None:
    """The preset of a run, None where it is params.yaml itself."""
    return None if run["preset"] == SHIPPED else run["preset"]


def all_assignments(run: Mapping[str, Any]) -> list[str]:
    """The parameters of a run that are not its preset's: all test images, so many training images, the seed."""
    limits = f"data.max_per_class={{train: {run['images'] // NUM_CLASSES}, test: null}}"
    return [*run["changes"], limits, f"data.take={run['take']}", f"seed={run['seed']}"]


def device_of(run: Mapping[str, Any]) -> str:
    """The kind of device that a run trains on."""
    return choose_device(load_recipe(name_of_preset(run), all_assignments(run)).train.device).type


def find_or_measure(identity: Mapping[str, Any], fresh: bool) -> dict[str, Any]:
    """The run, from the record where it is there unless `fresh`, else trained now and recorded."""
    runs, name = Runs("accuracy", device_of(identity)), describe(identity)
    done = runs.find(identity)
    if done and not fresh:
        log_training(f"{name}, measured {done['date'][:10]} at commit {done['versions']['git_revision']}", done)
        return done
    logger.info(f"{name}: begins")
    run = describe_run("benchmarks.accuracy")
    with project_with_data(identity["preset"], name_of_preset(identity), all_assignments(identity)) as counts:
        found = counts["train"] + counts["val"]
        if found != identity["images"]:  # the task would silently be another one
            raise InputError(f"{name}: found {found:,} training images, expected {identity['images']:,}; choose fewer")
        result = train_and_test()
    runs.add(identity, run | result)
    log_training(name, result)
    return runs.find(identity)


def describe(run: Mapping[str, Any]) -> str:
    """A run in words, its seed included."""
    return f"{describe_recipe(run)}, seed {run['seed']}"


def describe_recipe(run: Mapping[str, Any]) -> str:
    """What the seeds of a recipe have in common, in words."""
    preset = "params.yaml" if run["preset"] == SHIPPED else f"preset {run['preset']}"
    return ", ".join([preset, f"{run['take']} {run['images']:,} images", *run["changes"]])


def table_rows(runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row for each recipe and machine, the mean of its seeds; of the newest of them are date, commit and command."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault((describe_recipe(run), run["recipe"], run["machine"]["cpu"]), []).append(run)
    return [table_row(group) for group in groups.values()]


def table_row(runs: Sequence[Mapping[str, Any]]) -> Row:
    """The row of runs that differ in nothing but the seed."""
    newest = max(runs, key=lambda run: run["date"])
    training, test = (summarize(run[f"{kind}_accuracy"] for run in runs) for kind in ("training", "test"))
    is_task = newest["images"] == IMAGES and not newest["changes"]
    goal, reference = GOALS.get(newest["preset"], ("", None)) if is_task else ("", None)
    columns = {
        "goal": goal,
        "reference": None if reference is None else f"{reference:.1%}",
        "ours: test accuracy": f"{test['mean']:.2%}",
        "ratio": None if reference is None else f"{test['mean'] / reference:.2f}",
        "n": len(runs),
        "spread": spread_of(test, ".2%"),
        "training accuracy": f"{training['mean']:.2%}",
        "test images": f"{newest['test_images']:,}",
        "network": newest["network"],
        "precision": newest["precision"],
        "epochs": newest["epochs"],
        "images seen": f"{newest['images_seen']:,}",
        "PFLOP": f"{newest['pflop']:.3g}",
        "seconds of training": f"{summarize(run['seconds']['training'] for run in runs)['mean']:.0f}",
    }
    return result_row(newest, describe_recipe(newest), columns)


if __name__ == "__main__":
    run_command(main)

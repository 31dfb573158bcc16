"""How much arithmetic it takes to classify 58% of the test images, after 5,000 training images, with any network.

    make bench-steps-to-58                (or: python -m benchmarks.steps_to_58 --preset fast --epochs 4)

58% is what the first system reached with ResNet-23, Adam and 20 epochs. Ours is a short training, whose last epoch has
to reach it with every seed on all test images. Beside it runs that system's recipe, the preset reference, tested after
every epoch and ended by the first that reaches 58%: the arithmetic up to there, and that of all its 20 epochs, each
divided by ours. Nothing is interpolated. Forward and backward count, as benchmarks/arithmetic.py says. The record goes
to reports/benchmarks/steps-to-58-DEVICE.json, each training as soon as it is done.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from loguru import logger

from benchmarks.accuracy import FreshOption, SeedsOption
from benchmarks.arithmetic import training_arithmetic
from benchmarks.projects import load_recipe, project_with_data, recipe_digest
from benchmarks.record import describe_run, summarize
from benchmarks.runs import Runs
from benchmarks.tables import Row, result_row, spread_of, update_table
from benchmarks.trainings import log_training, train_and_test
from Resnet23.arrays import read_features
from Resnet23.command import DebugOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, load_params
from Resnet23.errors import InputError
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.fit import fit
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.new_network import new_network

NAME = "steps-to-58"
LEVEL = 0.58
EPOCHS = 2  # of ours
SHORTENED = ["model.width=32", "train.augment.policy=none"]  # of ours: few epochs want easy images and a small network
SEEDS = [0, 1, 2]
ALL_TEST_IMAGES = "data.max_per_class={train: 500, test: null}"

OursOption = Annotated[str, typer.Option("--preset", help="Our recipe.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="Epochs of ours.")]
ReferenceOption = Annotated[str, typer.Option("--reference", help="The recipe it is compared with.")]
LevelOption = Annotated[float, typer.Option(min=0, max=1, help="The test accuracy to be reached.")]


def main(
    preset: OursOption = "fast",
    epochs: EpochsOption = EPOCHS,
    seeds: SeedsOption = None,
    reference: ReferenceOption = "reference",
    level: LevelOption = LEVEL,
    assignments: SetOption = None,
    fresh: FreshOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare the arithmetic of our shortest training to 58% with that of the first system's recipe."""
    changes = assignments or []
    short = [*SHORTENED, *changes, f"train.epochs={epochs}"]
    ours = [find_or_measure("ours", preset, short, seed, fresh) for seed in seeds or SEEDS]
    theirs = find_or_measure("reference", reference, changes, 0, fresh, level)
    compared = compare(ours, theirs, level)
    logger.info(summary_line(compared, level))
    update_table(NAME, table_rows(ours, theirs, compared, level))


def find_or_measure(
    arm: str, preset: str, changes: Sequence[str], seed: int, fresh: bool, level: float | None = None
) -> dict[str, Any]:
    """A run of one arm, from the record where it is there unless `fresh`, else trained now and recorded.

    With a `level`, as the reference has it, the first epoch that reaches it is the last.
    """
    assignments = [ALL_TEST_IMAGES, *changes, f"seed={seed}"]
    params = load_recipe(preset, assignments)
    runs = Runs(NAME, choose_device(params.train.device).type)
    identity = {"arm": arm, "preset": preset, "seed": seed, "recipe": recipe_digest(params), "level": level}
    if fresh or not runs.find(identity):
        run = describe_run("benchmarks.steps_to_58")
        with project_with_data(f"{NAME}-{arm}", preset, assignments):
            result = train_and_test() if level is None else train_until(level)
        runs.add(identity, run | {"changes": list(changes)} | result)
    found = runs.find(identity)
    if arm == "ours":
        log_training(f"preset {preset}, seed {seed}", found)
    return found


class LevelReached(Exception):
    """Ends a training that has shown what it was run for."""


def train_until(level: float) -> dict[str, Any]:
    """Train in the current project as the stage does, the test images in the place of the validation images.

    They choose nothing but the end: the first epoch whose test accuracy is at least `level`, else the recipe's last.
    Gives the accuracies, the arithmetic of the first epoch, of the first two, and so on, and that of all planned ones.
    """
    params, features = load_params(PARAMS_FILE), read_features()
    if params.train.patience:
        raise InputError(f"train.patience: found {params.train.patience}, expected 0: test images would end it")
    how, classes = network_preprocessing(features, params), len(features.classes)
    data, test = network_images(features.train, how, features.train_indices), network_images(features.test, how)
    model, task = new_network(features, params), get_task(features.task)
    history = []

    def watch(record: Any) -> None:
        log_epoch(record)
        history.append(record)
        if record.val_accuracy >= level:
            raise LevelReached

    with suppress(LevelReached):
        fit(model, data, test, task, classes, params.train, params.seed, watch)
    model, count = new_network(features, params), len(data)  # one that is neither compiled nor on a GPU
    work = [
        training_arithmetic(model, params.train, how.image_size, count, epoch)["pflop"]
        for epoch in (*range(1, len(history) + 1), params.train.epochs)
    ]
    return {
        "training_images": count,
        "test_images": len(test),
        "epochs": params.train.epochs,
        "test_accuracies": [record.val_accuracy for record in history],
        "pflop_after_epochs": work[:-1],
        "pflop": work[-1],
        "seconds": {"training": sum(record.seconds for record in history)},
    }


def log_epoch(record: Any) -> None:
    """An epoch in a line; what the engine calls validation are the test images."""
    logger.info(f"epoch {record.epoch}: training loss {record.train_loss:.3f}, test accuracy {record.val_accuracy:.2%}")


def compare(ours: Sequence[Mapping[str, Any]], theirs: Mapping[str, Any], level: float) -> dict[str, Any]:
    """Whether ours reaches the level with every seed, and how many times its arithmetic the reference takes."""
    accuracies, work = theirs["test_accuracies"], theirs["pflop_after_epochs"]
    first = next((epoch for epoch, accuracy in enumerate(accuracies, 1) if accuracy >= level), None)
    own = max(run["pflop"] for run in ours)
    return {
        "reached": all(run["test_accuracy"] >= level for run in ours),
        "test_accuracy": summarize(run["test_accuracy"] for run in ours),
        "pflop": own,
        "reference_epochs": theirs["epochs"],
        "reference_pflop": theirs["pflop"],
        "reference_divided_by_ours": theirs["pflop"] / own,
        "reference_first_epoch": first,
        "first_epoch_divided_by_ours": work[first - 1] / own if first else None,
    }


def summary_line(compared: Mapping[str, Any], level: float) -> str:
    """The comparison in a line."""
    verdict = "reached" if compared["reached"] else "NOT reached"
    first = compared["reference_first_epoch"]
    until = f", {compared['first_epoch_divided_by_ours']:.1f} times until epoch {first} reaches it" if first else ""
    return (
        f"{level:.0%} {verdict} with every seed, mean {compared['test_accuracy']['mean']:.2%}, in "
        f"{compared['pflop']:.3g} PFLOP; the reference takes {compared['reference_divided_by_ours']:.1f} times as many "
        f"for its {compared['reference_epochs']} epochs{until}"
    )


def table_rows(
    ours: Sequence[Mapping[str, Any]], theirs: Mapping[str, Any], compared: Mapping[str, Any], level: float
) -> list[Row]:
    """Two rows: against the whole training of the reference, and against its first epoch at the level."""
    accuracy, newest, first = compared["test_accuracy"], ours[-1], compared["reference_first_epoch"]
    name = ", ".join([f"preset {newest['preset']}", *newest["changes"]])
    ours_text = f"{compared['pflop']:.3g} PFLOP"
    if not compared["reached"]:
        ours_text += f" ({level:.0%} not reached)"
    arms = {f"all {theirs['epochs']} epochs": f"{theirs['pflop']:.3g} PFLOP"}
    ratios = [compared["reference_divided_by_ours"]]
    if first:
        reached = f"{theirs['pflop_after_epochs'][first - 1]:.3g} PFLOP, {theirs['test_accuracies'][first - 1]:.2%}"
        arms[f"its first epoch at {level:.0%}, number {first}"] = reached
        ratios.append(compared["first_epoch_divided_by_ours"])
    rows = []
    for (which, work), ratio in zip(arms.items(), ratios, strict=True):
        columns = {
            "goal": "G2: at most 1/40",
            "reference": work,
            "ours": ours_text,
            "ratio": f"1/{ratio:.1f}",
            "n": accuracy["n"],
            "test accuracy": f"{accuracy['mean']:.2%}",
            "spread": spread_of(accuracy, ".2%"),
        }
        rows.append(result_row(newest, f"{name}, against preset {theirs['preset']}: {which}", columns))
    return rows


if __name__ == "__main__":
    run_command(main)

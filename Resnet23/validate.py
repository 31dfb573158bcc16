"""Validate an encoder: small heads on its frozen features, for one class against the rest and for all classes.

    python -m Resnet23.validate --model_name models/encoder --epochs 20 --lr 0.001 --target_class 3

The images are those of data/features. Heads, figures and results.json go to reports/extras/heads/, and to one MLflow
run with a child for each head.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Annotated, Literal

import typer
from loguru import logger
from matplotlib.figure import Figure

from Resnet23.arrays import INFO_FILE, Features, read_features
from Resnet23.classifiers.encoders import Encoder, load_encoder, weights_digest
from Resnet23.classifiers.experiments import (
    BinaryResult,
    EncodedProject,
    HeadOptions,
    MulticlassResult,
    mean_figures,
    train_all_binary,
    train_binary,
    train_multiclass,
)
from Resnet23.classifiers.options import TrustOption
from Resnet23.classifiers.probes import LayerProbe, probe_layers
from Resnet23.classifiers.report import describe, report_lines
from Resnet23.classifiers.saved import describe_head, save_head
from Resnet23.classifiers.training import EpochWatcher, HeadEpoch
from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import ENCODER_DIR, EXTRAS_DIR, FEATURES_DIR, PARAMS_FILE, Params, load_params
from Resnet23.errors import InputError
from Resnet23.figures.charts import plot_confusion_matrix
from Resnet23.figures.probes import plot_layer_probes
from Resnet23.figures.theme import Theme, draw_picture
from Resnet23.files import atomic_write, printable, require_writable, write_json
from Resnet23.interrupts import opening
from Resnet23.modeling.device import choose_device
from Resnet23.predictions import Predictions
from Resnet23.tracking import Tracker, start_run

OUTPUT_DIR = EXTRAS_DIR / "heads"
RESULTS = "results.json"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model_name",
        metavar="NAME_OR_PATH",
        help="The encoder: a folder or a name for Hugging Face's AutoModel, a .pth of this project, torchvision/NAME.",
    ),
]
EpochsOption = Annotated[int, typer.Option("--epochs", min=1, help="Epochs of each head.")]
RateOption = Annotated[float, typer.Option("--lr", help="Learning rate of Adam.")]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target_class", help="Number or name of the class of the binary head; left out: a head for every class."
    ),
]
DataOption = Annotated[Path, typer.Option("--data", help="The folder of arrays that `make features` makes.")]
BatchOption = Annotated[int, typer.Option("--batch_size", min=1, help="Images of a step.")]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")]
OutputOption = Annotated[Path, typer.Option("--output", help="Where heads, figures and results.json go.")]
WeightsOption = Annotated[
    bool, typer.Option("--class_weights", help="Binary heads: let the class weigh as much as all others in the loss.")
]
SkipOption = Annotated[
    bool,
    typer.Option("--skip_layers", help="Do not probe the encoder's layers, which means encoding all images again."),
]


def main(
    model_name: ModelOption = str(ENCODER_DIR),
    epochs: EpochsOption = 20,
    learning_rate: RateOption = 0.001,
    target_class: TargetOption = None,
    data: DataOption = FEATURES_DIR,
    batch_size: BatchOption = 64,
    device: DeviceOption = "auto",
    output: OutputOption = OUTPUT_DIR,
    class_weights: WeightsOption = False,
    skip_layers: SkipOption = False,
    trust_remote_code: TrustOption = False,
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Train heads on a frozen encoder, for one class against the rest and for all classes, and test both."""
    params = load_params(params_file, preset, assignments)
    options = HeadOptions(epochs, _positive(learning_rate), class_weights)
    place = choose_device(device)
    require_writable(output)
    features = _read(data)
    target = None if target_class is None else find_class(target_class, features.classes)
    encoder = _load(model_name, trust_remote_code).to(place)
    project = EncodedProject(encoder, features, place, batch_size, params.seed)
    project.require_images_of(range(len(features.classes)) if target is None else [target])
    with opening(lambda: _open_run(project, options, params)) as tracker:
        multiclass = run_multiclass(project, options, output, tracker)
        binary = run_binary(project, options, target, output, tracker)
        layers = [] if skip_layers else probe(project)
        figures = draw(project, multiclass, layers, output, params.plots.dpi)
        write_json(output / RESULTS, describe(project, options, multiclass, binary, layers))
        tracker.log_metrics({"test_accuracy": multiclass.test.accuracy / 100, **mean_figures(binary)})
        for file in (output / RESULTS, *figures):
            tracker.log_artifact(file)
    print("\n".join(report_lines(project, multiclass, binary)))
    logger.info(f"{output}: heads, figures and {RESULTS}")


def run_multiclass(project: EncodedProject, options: HeadOptions, output: Path, tracker: Tracker) -> MulticlassResult:
    """Train, test and save the head for all classes, as a child run of `tracker`'s."""
    with tracker.start_child("multiclass", {"head": "multiclass"}) as child:
        result = train_multiclass(project, options, _watch("multiclass", child))
        child.log_metrics({"test_accuracy": result.test.accuracy / 100, "test_loss": result.test.loss})
        path = output / "multiclass.pth"
        save_head(path, describe_head(result.head, project.encoder, project.classes, None, project.preprocessing))
        child.log_artifact(path)
    return result


def run_binary(
    project: EncodedProject, options: HeadOptions, target: int | None, output: Path, tracker: Tracker
) -> list[BinaryResult]:
    """Train, test and save the head for the class `target`, or without one those of all classes, as child runs."""
    if target is None:
        results = train_all_binary(project, options, _watch("one against the rest", tracker, "one_vs_rest_"))
        for result in results:
            with _start_binary(project, result.target, tracker) as child:
                _keep_binary(project, result, output, child)
        return results
    with _start_binary(project, target, tracker) as child:
        result = train_binary(project, options, target, _watch(f"{project.classes[target]} against the rest", child))
        _keep_binary(project, result, output, child)
    return [result]


def probe(project: EncodedProject) -> list[LayerProbe]:
    """How well a linear classifier does on each layer of the encoder."""
    parts = (project.dataset(part) for part in ("train", "val", "test"))
    return probe_layers(project.encoder, *parts, project.device, project.batch_size)


def draw(
    project: EncodedProject, multiclass: MulticlassResult, layers: list[LayerProbe], output: Path, dpi: int
) -> list[Path]:
    """Draw confusion_matrix.png of the head for all classes, and layers.png if there are any; the files."""
    test, classes = multiclass.test, project.classes
    answers = Predictions(project.features.test.files, classes, test.targets.numpy(), test.logits.softmax(1).numpy())
    draws: dict[str, Callable[[Theme], Figure]] = {
        "confusion_matrix": lambda theme: plot_confusion_matrix(answers, theme)
    }
    if layers:
        names, features, accuracies = zip(*(astuple(layer) for layer in layers), strict=True)
        chance = 1 / len(classes)
        draws["layers"] = lambda theme: plot_layer_probes(names, features, accuracies, chance, theme)
    files = []
    for name, figure in draws.items():
        files.append(output / f"{name}.png")
        with atomic_write(files[-1], "wb") as file:
            file.write(draw_picture(name, figure, dpi).light)
    return files


def find_class(given: str, classes: list[str]) -> int:
    """The position of a class given by its name or that position. Raises InputError when there is none."""
    if given in classes:
        return classes.index(given)
    if given.isdecimal() and int(given) < len(classes):
        return int(given)
    numbered = ", ".join(f"{index} {name}" for index, name in enumerate(classes))
    raise InputError(f"--target_class: found {given!r}, expected a number or a name of: {numbered}")


def _positive(learning_rate: float) -> float:
    if not 0 < learning_rate < math.inf:
        raise InputError(f"--lr {learning_rate:g}: expected a number above 0, such as 0.001")
    return learning_rate


def _read(folder: Path) -> Features:
    if not (folder / INFO_FILE).is_file():
        raise InputError(
            f"--data {printable(folder)}: no {INFO_FILE} in it; `make features` makes {FEATURES_DIR} out of the images "
            "that the section `data` of params.yaml names, your own included"
        )
    return read_features(folder)


def _load(name: str, trust_remote_code: bool) -> Encoder:
    if Path(name) == ENCODER_DIR and not ENCODER_DIR.exists():
        raise InputError(f"{name}: no such encoder; `make encoder` trains one, or name another one: --model_name")
    return load_encoder(name, trust_remote_code)


def _open_run(project: EncodedProject, options: HeadOptions, params: Params) -> Tracker:
    """The run of both experiments; each head has a child of it."""
    features, encoder = project.features, project.encoder
    made_here = {"data", "features"} if features.folder == FEATURES_DIR else set()
    logged = params.model_dump(include={"seed", *made_here}) | {
        "model": {"name": "heads"},
        "encoder": {"name": encoder.name, "sha256": weights_digest(encoder), "features": project.input_features},
        "heads": asdict(options) | {"batch_size": project.batch_size},
    }
    tracker = start_run(params.tracking, logged, {"stage": "heads"})
    tracker.log_dataset(features.info["dataset"], features.digest, features.folder, features.info["counts"])
    return tracker


def _start_binary(project: EncodedProject, target: int, tracker: Tracker) -> Tracker:
    name = project.classes[target]
    return tracker.start_child(f"{name}-against-the-rest", {"head": "binary", "target_class": name})


def _keep_binary(project: EncodedProject, result: BinaryResult, output: Path, child: Tracker) -> None:
    """Save a binary head and record how it did."""
    name = project.classes[result.target]
    described = describe_head(result.head, project.encoder, [name], result.threshold, project.preprocessing)
    path = output / f"binary_{result.target}.pth"
    save_head(path, described)
    child.log_metrics({f"test_{key}": value for key, value in asdict(result.fitted).items()})
    child.log_artifact(path)


def _watch(name: str, tracker: Tracker, prefix: str = "") -> EpochWatcher:
    """Say in a line, and to the tracker, how an epoch of a head went."""

    def watch(epoch: HeadEpoch) -> None:
        logger.info(f"{name}: {epoch}")
        values = {"train_loss": epoch.train_loss, "val_loss": epoch.val_loss, "val_accuracy": epoch.val_accuracy / 100}
        tracker.log_metrics({prefix + key: value for key, value in values.items()}, step=epoch.epoch)

    return watch


if __name__ == "__main__":
    run_command(main)

"""Heads on a frozen encoder: how much encoding each image once saves, and how good the heads are.

    make bench-heads                      (or: python -m benchmarks.heads --images 5000)

Speed: epochs of head training per second with cached features and with the encoder run in every epoch, one stretch
after the other in turns. Quality: a multiclass head and one-vs-rest heads, trained on all training images of the
project, on all its test images. The record goes to reports/benchmarks/heads-DEVICE.json.
"""

import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from loguru import logger
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.images import images_to_train_on
from benchmarks.record import describe_run, paired_ratios, summarize, write_record
from Resnet23.classifiers.encoders import load_encoder, weights_digest
from Resnet23.classifiers.experiments import (
    EncodedProject,
    HeadOptions,
    mean_figures,
    train_all_binary,
    train_multiclass,
)
from Resnet23.classifiers.feature_batches import Loader
from Resnet23.classifiers.heads import create_multiclass_classifier_head
from Resnet23.classifiers.objectives import multiclass_objective
from Resnet23.classifiers.report import per_class
from Resnet23.classifiers.training import train_head
from Resnet23.command import DebugOption, ParamsOption, SetOption, run_command
from Resnet23.config import ENCODER_DIR, PARAMS_FILE, load_params
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.modeling.device import choose_device

BATCH_SIZE = 64
LEARNING_RATE = 0.001
VALIDATED = 0.1  # validation images for each training image
CACHED_EPOCHS = 20  # of a stretch with cached features; one epoch without them takes longer

EncoderOption = Annotated[Path, typer.Option("--encoder", metavar="DIR", help="The encoder's folder, or a .pth file.")]
ImagesOption = Annotated[int, typer.Option(min=BATCH_SIZE, help="Training images of the comparison of speeds.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="Epochs for which the heads are trained whose quality counts.")]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Stretches of each arm that count, after one to warm up.")]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]


class EveryEpoch:
    """A loader without a data set to ask for single images, so that each epoch has to be encoded."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.loader)


def main(
    params_file: ParamsOption = PARAMS_FILE,
    assignments: SetOption = None,
    encoder: EncoderOption = ENCODER_DIR,
    images: ImagesOption = 5000,
    epochs: EpochsOption = 20,
    repeats: RepeatsOption = 5,
    device: DeviceOption = "auto",
    debug: DebugOption = False,
) -> None:
    """Measure the training of heads on a frozen encoder with cached features and without, and what heads reach."""
    params, place = load_params(params_file, assignments=assignments), choose_device(device)
    if not encoder.exists():
        raise InputError(f"{printable(encoder)}: no such encoder; train one with `make encoder`, or name it: --encoder")
    record = describe_run("benchmarks.heads")
    record["versions"]["transformers"] = version("transformers")
    network = load_encoder(encoder.resolve()).to(place)
    with images_to_train_on(params_file) as found:
        project = EncodedProject(network, found.features, place, BATCH_SIZE, params.seed)
        record["settings"] = describe_settings(project, encoder, epochs, repeats)
        record["data"] = {"dataset": found.features.info["dataset"], "origin": found.origin}
        record["data"]["counts"] = found.features.info["counts"]
        record["speed"] = measure_speed(project, images, repeats)
        record["quality"] = measure_quality(project, epochs)
    path = write_record("heads", place.type, record)
    logger.info(speed_line(record["speed"]))
    logger.info(quality_line(record["quality"]))
    logger.info(f"{path}: every sample")


def describe_settings(project: EncodedProject, encoder: Path, epochs: int, repeats: int) -> dict[str, Any]:
    """What decides speed and quality, beside the machine and the data."""
    preprocessing = project.encoder.preprocessing
    return {
        "encoder": encoder.as_posix(),
        "encoder_sha256": weights_digest(project.encoder),
        "encoder_parameters": sum(parameter.numel() for parameter in project.encoder.parameters()),
        "image_size": project.features.image_size if preprocessing is None else preprocessing.image_size,
        "input_features": project.input_features,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "epochs": epochs,
        "repeats": repeats,
        "seed": project.seed,
        "device": project.device.type,
        "threads": torch.get_num_threads(),
    }


def measure_speed(project: EncodedProject, images: int, repeats: int) -> dict[str, Any]:
    """Train a multiclass head in both ways in turns, `repeats` times after a turn that does not count.

    Both ways take the same images in the same order. An epoch is one of training and of validation.
    """
    loaders = [project.loader("train", images), project.loader("val", round(VALIDATED * images))]
    arms = {"cached": (loaders, CACHED_EPOCHS), "encoded": ([EveryEpoch(loader) for loader in loaders], 1)}
    turns = []
    for turn in range(repeats + 1):
        times = {name: time_epochs(project, *arm) for name, arm in arms.items()}
        line = ", ".join(f"{name} {1 / seconds:.3g}" for name, (_, seconds) in times.items())
        logger.info(f"{f'turn {turn} of {repeats}' if turn else 'warm-up'}: {line} epochs/s")
        turns.append(times)
    speeds = {name: [1 / times[name][1] for times in turns[1:]] for name in arms}
    first, later = zip(*(times["cached"] for times in turns[1:]), strict=True)
    return {
        "images": {"train": len(loaders[0].dataset), "val": len(loaders[1].dataset)},
        "epochs_per_second": {name: summarize(samples) for name, samples in speeds.items()},
        "cached_divided_by_encoded": paired_ratios(speeds["cached"], speeds["encoded"]),
        "seconds_of_encoding_once": summarize(start - epoch for start, epoch in zip(first, later, strict=True)),
    }


def time_epochs(project: EncodedProject, loaders: list[Loader], epochs: int) -> tuple[float, float]:
    """Seconds of the first epoch, with all that goes before it, and the mean of `epochs` more."""
    torch.manual_seed(project.seed)
    classes, features = len(project.features.classes), project.input_features
    head = create_multiclass_classifier_head(features, num_classes=classes)
    marks = [time.perf_counter()]
    train_head(
        project.encoder,
        head,
        multiclass_objective(),
        *loaders,
        project.device,
        epochs + 1,
        LEARNING_RATE,
        features,
        on_epoch=lambda epoch: marks.append(time.perf_counter()),
    )
    return marks[1] - marks[0], (marks[-1] - marks[1]) / epochs


def measure_quality(project: EncodedProject, epochs: int) -> dict[str, Any]:
    """What heads reach on the test images that are trained on all training images; shares from 0 to 1."""
    options = HeadOptions(epochs, LEARNING_RATE)
    multiclass, binary = train_multiclass(project, options), train_all_binary(project, options)
    accuracy = multiclass.test.accuracy / 100
    return {"multiclass_accuracy": accuracy, **mean_figures(binary), "one_vs_rest": per_class(binary, project.classes)}


def speed_line(speed: dict[str, Any]) -> str:
    """The comparison of speeds in a line."""
    ratio = speed["cached_divided_by_encoded"]
    spread = "" if ratio["spread"] is None else f" +- {ratio['spread']:.1f}"
    return (
        f"cached features: {ratio['mean']:.1f}{spread} (median {ratio['median']:.1f}) times as many epochs per second"
    )


def quality_line(quality: dict[str, Any]) -> str:
    """The quality of the heads in a line."""
    return (
        f"test images: multiclass accuracy {quality['multiclass_accuracy']:.2%}; one-vs-rest, mean of all classes: "
        f"balanced accuracy {quality['mean_balanced_accuracy']:.2%}, AUROC {quality['mean_auroc']:.4f}"
    )


if __name__ == "__main__":
    run_command(main)

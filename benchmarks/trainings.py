"""One training by the real stages, and what is to be known of it: accuracies, arithmetic, images seen, seconds."""

import json
import time
from typing import Any

import torch
from loguru import logger

from benchmarks.arithmetic import training_arithmetic
from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE, METRICS_FILE, PARAMS_FILE, load_params
from Resnet23.history import best_epoch, read_history
from Resnet23.modeling import predict, train
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.modeling.device import choose_device, choose_precision


def train_and_test() -> dict[str, Any]:
    """Run the stages train and predict in the current directory, a project with features, and sum them up.

    Accuracies are shares from 0 to 1: of the training images without random changes, and of all test images, both with
    the weights that the stage keeps. `seconds` are those of the training steps, without validation, and of the whole
    command; of a training that was interrupted, the latter of its last part only.
    """
    started = time.perf_counter()
    train.main()
    seconds = time.perf_counter() - started
    predict.main()
    metrics = json.loads(METRICS_FILE.read_text(encoding="utf-8"))
    history, counts = read_history(), read_features().info["counts"]
    return {
        "training_accuracy": metrics["train_accuracy"],
        "test_accuracy": metrics["accuracy"],
        "training_images": counts["train"],
        "validation_images": counts["val"],
        "test_images": counts["test"],
        "kept_epoch": best_epoch(history) + 1,
        **describe_work(counts["train"], len(history["epoch"])),
        "seconds": {"training": float(history["seconds"].sum()), "command": seconds},
    }


def describe_work(images: int, epochs: int) -> dict[str, Any]:
    """Network, precision, threads, epochs, images seen and arithmetic of the training in the current project."""
    params, checkpoint = load_params(PARAMS_FILE), load_checkpoint(CHECKPOINT_FILE)
    size = checkpoint.preprocessing.image_size
    precision, _ = choose_precision(params.train.precision, choose_device(params.train.device))
    return {
        "network": params.model.name,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "epochs": epochs,
        "images_seen": images * epochs,
        **training_arithmetic(checkpoint.build_model(), params.train, size, images, epochs),
    }


def log_training(name: str, result: dict[str, Any]) -> None:
    """A training in a line."""
    logger.info(
        f"{name}: training accuracy {result['training_accuracy']:.2%}, test accuracy {result['test_accuracy']:.2%} "
        f"on {result['test_images']:,} images; {result['pflop']:.3g} PFLOP, {result['images_seen']:,} images seen, "
        f"{result['seconds']['training']:.0f} s of training"
    )

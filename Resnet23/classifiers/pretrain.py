"""Pre-train the encoder that heads are put on: a ResNet-10 with 512 features, in the format of Hugging Face.

    make encoder                        (or: python -m Resnet23.classifiers.pretrain --epochs 30)

It learns the classes of data/features with a linear classifier behind it, as the section `train` of params.yaml says,
and the epoch that is best on the validation images is kept; the section `model` is not used. models/encoder/ holds

    config.json, model.safetensors   the network without the classifier, for AutoModel.from_pretrained
    preprocessor_config.json         how it wants its images, for AutoImageProcessor.from_pretrained
    history.csv                      the course of the training, one row per epoch
    README.md                        data, recipe, commit, and what it reached on the test images
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copymode
from typing import Annotated

import numpy as np
import torch
import typer
from loguru import logger
from torch import Tensor, nn

from Resnet23.arrays import Features, Split, read_features
from Resnet23.classifiers.hugging_face import import_transformers
from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import ENCODER_DIR, PARAMS_FILE, Params, load_params
from Resnet23.dataset import FeatureDataset, resize
from Resnet23.files import atomic_folder, require_writable
from Resnet23.history import EpochRecord, write_history
from Resnet23.interrupts import opening
from Resnet23.modeling.consistency import check_consistency
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.evaluate import Evaluation, evaluate
from Resnet23.modeling.fit import fit
from Resnet23.modeling.losses import check_loss, training_task
from Resnet23.modeling.optim import check_names
from Resnet23.modeling.phases import resolve_phases
from Resnet23.modeling.resume import NOT_SAVED, ResumeFile, resume_file
from Resnet23.modeling.selection import FitResult
from Resnet23.resuming import remove_old_states, training_lock
from Resnet23.revision import git_revision
from Resnet23.tracking import Tracker, continue_run, start_run

FEATURES = 512
SMALLEST_INPUT = 64  # pixels: the stem divides the side by 4, so that smaller images would leave the stages nothing

EpochsOption = Annotated[int | None, typer.Option(min=1, help="Epochs of training, in place of train.epochs.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Do not go on from an interrupted training; start anew.")]


class EncoderWithClassifier(nn.Module):
    """What is trained: images are brought to `image_size`, encoded, and classified linearly by their features."""

    def __init__(self, encoder: nn.Module, image_size: int, classes: int) -> None:
        super().__init__()
        self.encoder, self.image_size = encoder, image_size
        self.classifier = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C)."""
        features = self.encoder(resize(images, self.image_size)).pooler_output  # (N, F, 1, 1)
        return self.classifier(features.flatten(1))


@dataclass(frozen=True)
class Pretrained:
    """The network with the weights of the chosen epoch, the course of its training, and how it does on test images."""

    network: EncoderWithClassifier
    result: FitResult
    test: Evaluation

    @property
    def chosen(self) -> EpochRecord:
        """The epoch whose weights were kept."""
        return self.result.history[self.result.best_epoch - 1]


def main(
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    epochs: EpochsOption = None,
    fresh: FreshOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a ResNet-10 encoder on the project's images and save it in models/encoder for Hugging Face's AutoModel."""
    import_transformers()
    replaced = [] if epochs is None else [f"train.epochs={epochs}"]
    params = load_params(params_file, preset, [*(assignments or []), *replaced])
    check_names(params.train)
    check_loss(params.train.loss)
    require_writable(ENCODER_DIR.parent)
    features = read_features()
    check_consistency(features, params)
    with training_lock():
        resume = resume_file(params, features)
        if fresh:
            resume.remove()
        remove_old_states(resume.folder)
        with opening(lambda: _open_run(features, params, resume)) as tracker:
            pretrained = pretrain(features, params, lambda record: _report(record, params, tracker), resume)
            tracker.log_metrics({"best_epoch": pretrained.result.best_epoch, "test_accuracy": pretrained.test.accuracy})
            save(pretrained, features, params)
        resume.remove()
    print(f"{ENCODER_DIR}: test accuracy of its linear classifier {pretrained.test.accuracy:.2%}")


def pretrain(
    features: Features,
    params: Params,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    resume: ResumeFile = NOT_SAVED,
) -> Pretrained:
    """Train on the training rows of `features`, choose the epoch on the validation rows, and look at the test images.

    Without validation rows the last epoch is kept.
    """
    torch.manual_seed(params.seed)  # initial weights
    classes = len(features.classes)
    network = EncoderWithClassifier(create_encoder(), input_size(features.image_size), classes)
    train = _dataset(features, features.train, features.train_indices)
    task = training_task(features.task, params.train.loss, train.targets)
    validation = _dataset(features, features.train, features.val_indices) if len(features.val_indices) else None
    result = fit(network, train, validation, task, classes, params.train, params.seed, on_epoch, resume=resume)
    network.load_state_dict(result.state_dict)
    device = choose_device(params.train.device)
    test = evaluate(
        network, _dataset(features, features.test), task, params.predict.batch_size, device, description="test"
    )
    return Pretrained(network, result, test)


def create_encoder() -> nn.Module:
    """A ResNet-10 of Hugging Face's with random weights: images (N, 3, H, W) -> pooler_output (N, 512, 1, 1)."""
    transformers = import_transformers()
    shape = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, FEATURES], "depths": [1, 1, 1, 1]}
    return transformers.ResNetModel(transformers.ResNetConfig(layer_type="basic", **shape))


def input_size(image_size: int) -> int:
    """The side in pixels at which the encoder sees images that are stored with `image_size`."""
    return max(image_size, SMALLEST_INPUT)


def save(pretrained: Pretrained, features: Features, params: Params, folder: Path = ENCODER_DIR) -> None:
    """Replace `folder` by one with the encoder, its image processor, its history and its model card."""
    network = pretrained.network.cpu().to(memory_format=torch.contiguous_format)
    side = network.image_size
    processor = import_transformers().ViTImageProcessor(
        size={"height": side, "width": side}, image_mean=list(features.mean), image_std=list(features.std)
    )
    with atomic_folder(folder) as temporary:
        network.encoder.save_pretrained(temporary)
        copymode(temporary / "config.json", temporary / "model.safetensors")  # which only its owner could read
        processor.save_pretrained(temporary)
        write_history(pretrained.result.history, temporary / "history.csv")
        (temporary / "README.md").write_text(model_card(pretrained, features, params), encoding="utf-8")


def model_card(pretrained: Pretrained, features: Features, params: Params) -> str:
    """README.md: what the encoder is, how to load it, what it was trained on and what it reached."""
    counts, chosen, history = features.info["counts"], pretrained.chosen, pretrained.result.history
    validation = "none held out" if chosen.val_accuracy is None else f"{chosen.val_accuracy:.2%}"
    stored, seen = features.image_size, pretrained.network.image_size
    rows = {
        "data": f"{features.info['dataset']}: {counts['train']:,} images to train on, {counts['val']:,} to choose "
        f"the epoch by, {counts['test']:,} to test; sha256 `{features.digest}`",
        "classes": ", ".join(features.classes),
        "images": f"stored with {stored} pixels a side, seen with {seen}; bilinear",
        "epochs": f"{len(history)}, kept: epoch {chosen.epoch}",
        "test accuracy": f"{pretrained.test.accuracy:.2%}, of the linear classifier it was trained with",
        "validation accuracy": validation,
        "training accuracy": f"{chosen.train_accuracy:.2%}, on images changed at random",
        "time": f"{sum(record.seconds for record in history) / 60:.1f} minutes of training steps",
        "recipe": f"seed {params.seed}, `{json.dumps(params.train.model_dump(exclude_defaults=True))}`",
        "code": f"commit {git_revision() or 'unknown'}",
    }
    return CARD.format(features=FEATURES, table="\n".join(f"| {name} | {value} |" for name, value in rows.items()))


CARD = """\
---
library_name: transformers
pipeline_tag: image-feature-extraction
tags: [resnet]
---
# ResNet-10 encoder

{features} features of an image, from a ResNet with one basic block in each of its four stages, trained to classify by
cross-entropy; the classifier itself is not here.

    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained("models/encoder")
    encoder = AutoModel.from_pretrained("models/encoder")
    features = encoder(**processor(image, return_tensors="pt")).pooler_output.flatten(1)  # (1, {features})

| | |
|---|---|
{table}
"""


def _dataset(features: Features, split: Split, rows: np.ndarray | None = None) -> FeatureDataset:
    return FeatureDataset(split.images, split.targets, features.mean, features.std, rows)


def _open_run(features: Features, params: Params, resume: ResumeFile) -> Tracker:
    """The tracker's run of an interrupted training, or a new one."""
    if resume.run_file.exists():
        return continue_run(params.tracking, resume.run_file)
    logged = params.model_dump(include={"seed", "data", "features", "train"}) | {"model": {"name": "encoder"}}
    tracker = start_run(params.tracking, logged, {"stage": "pretrain"})
    tracker.log_dataset(features.info["dataset"], features.digest, features.folder, features.info["counts"])
    tracker.write_run_file(resume.run_file)
    return tracker


def _report(record: EpochRecord, params: Params, tracker: Tracker) -> None:
    """Say in a line, and to the tracker, how an epoch went."""
    metrics = {name: value for name, value in asdict(record).items() if name != "epoch" and value is not None}
    tracker.log_metrics(metrics, step=record.epoch)
    validation = "" if record.val_accuracy is None else f", validation {record.val_accuracy:.1%}"
    place = f"epoch {record.epoch}/{resolve_phases(params.train)[-1].last}"
    speed = f"{record.images_per_second:.0f} images/s"
    logger.info(f"{place}: training accuracy {record.train_accuracy:.1%}{validation}; {speed}")


if __name__ == "__main__":
    run_command(main)

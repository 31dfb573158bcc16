"""pipelines/keras/params.yaml as typed, validated objects. What the images are stays in the project's params.yaml."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import Field

from Resnet23.config import TWIN, CommonTrackingParams, PlotsParams, Section, merge_params, validate_params

KERAS_PARAMS_FILE = Path("pipelines") / "keras" / "params.yaml"

KerasParamsOption = Annotated[Path, typer.Option("--params", help="The parameter file of the Keras pipeline.")]


class KerasModelParams(Section):
    """Which network, how wide, how much dropout, and what its weights are before training."""

    name: str = "resnet23"
    width: int = Field(64, ge=1, le=1024)
    dropout: float = Field(0.0, ge=0, lt=1)
    weights: str | None = Field(None, min_length=1)


class KerasAugmentParams(Section):
    """Random changes of the training images, as Keras's layers of these names do them."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = "horizontal"
    rotation: float = Field(0.2, ge=0, le=0.5)
    zoom: float = Field(0.2, ge=0, lt=1)


class PlateauParams(Section):
    """When a loss that no longer falls makes the learning rate fall, and by which factor; 0 epochs: never."""

    epochs: int = Field(0, ge=0)
    factor: float = Field(0.5, gt=0, lt=1)


class KerasTrainParams(Section):
    """The recipe."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(64, ge=2)
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: KerasAugmentParams = KerasAugmentParams()
    freeze_epochs: int = Field(0, ge=0)
    fine_tune_rate: float = Field(1e-5, gt=0)
    patience: int = Field(0, ge=0)
    reduce_on_plateau: PlateauParams = PlateauParams()
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"


class KerasPredictParams(Section):
    """How prediction runs; it changes no result."""

    batch_size: int = Field(256, ge=1)


class KerasParams(Section):
    """The whole of pipelines/keras/params.yaml."""

    seed: int = Field(0, ge=0, lt=2**32)
    model: KerasModelParams = KerasModelParams()
    train: KerasTrainParams = KerasTrainParams()
    predict: KerasPredictParams = KerasPredictParams()
    plots: PlotsParams = PlotsParams()
    tracking: CommonTrackingParams = CommonTrackingParams()


def load_keras_params(
    file: str | Path = KERAS_PARAMS_FILE, preset: str | None = None, assignments: Sequence[str] | None = None
) -> KerasParams:
    """Read a parameter file, lay over it what a preset has below the key `keras`, apply assignments, and validate.

    Raises InputError naming the file and every wrong key at once.
    """
    return validate_params(KerasParams, *merge_params(file, preset, assignments, part=TWIN))

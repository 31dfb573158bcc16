"""Whether parameters and features fit together: asked before a training begins and before anything is written."""

import torch

from Resnet23.arrays import Features
from Resnet23.config import Params
from Resnet23.errors import InputError
from Resnet23.modeling.phases import check_phases
from Resnet23.modeling.stages import freeze
from Resnet23.modeling.zoo import create_model


def check_consistency(features: Features, params: Params) -> None:
    """Raise InputError when `params` asks for a training that is not possible on `features`."""
    if params.train.task not in (None, features.task):
        raise InputError(f"train.task: found {params.train.task}, but the features are labelled for {features.task}")
    if params.train.patience and not len(features.val_indices):
        raise InputError(
            f"train.patience: found {params.train.patience}, but features.val_fraction 0 leaves no validation images "
            "to stop by; set train.patience to 0, or hold some images out"
        )
    for key in ("crop_padding", "cutout"):
        found, side = getattr(params.train.augment, key), features.image_size
        if found >= side:
            raise InputError(f"train.augment.{key}: found {found}, expected less than the image size, {side}")
    check_phases(params.train, features.image_size)
    _check_stages(params, len(features.classes))


def _check_stages(params: Params, classes: int) -> None:
    """Try every phase's `trainable` on a network without memory."""
    with torch.device("meta"):
        model = create_model(num_classes=classes, **params.model.model_dump())
    for phase in params.train.phases:
        freeze(model, phase.trainable)

"""Whether parameters and features fit together: asked before a training begins and before anything is written."""

import torch

from Resnet23.arrays import Features
from Resnet23.config import Params
from Resnet23.errors import InputError, is_out_of_memory
from Resnet23.modeling.inputs import network_preprocessing
from Resnet23.modeling.losses import check_loss
from Resnet23.modeling.stages import freeze
from Resnet23.modeling.zoo import create_model


def check_consistency(features: Features, params: Params) -> None:
    """Raise InputError when `params` asks for a training that is not possible on `features`."""
    if params.train.task not in (None, features.task):
        raise InputError(f"train.task: found {params.train.task}, but the features are labelled for {features.task}")
    check_loss(params.train.loss, features.task)
    if features.task == "multilabel":
        _check_labels(features, params)
    if params.train.patience and not len(features.val_indices):
        raise InputError(
            f"train.patience: found {params.train.patience}, but features.val_fraction 0 leaves no validation images "
            "to stop by; set train.patience to 0, or hold some images out"
        )
    for key in ("crop_padding", "cutout"):
        found, side = getattr(params.train.augment, key), features.image_size
        if found >= side:
            raise InputError(f"train.augment.{key}: found {found}, expected less than the image size, {side}")
    _check_network(features, params)


def _check_labels(features: Features, params: Params) -> None:
    """What a multi-label training needs."""
    if len(features.classes) < 2:
        raise InputError(
            f"the only label is {features.classes[0]}, expected 2 or more; a yes-or-no question is a data.dataset of "
            "two class folders"
        )
    if params.train.thresholds.goal and not len(features.val_indices):
        raise InputError(
            f"train.thresholds.goal: found {params.train.thresholds.goal}, but features.val_fraction 0 leaves no "
            "validation images to choose thresholds on; set it to null, or hold some images out"
        )


def _check_network(features: Features, params: Params) -> None:
    """Build the network, try every phase's `trainable` on it, and let it see an image."""
    options = params.model.model_dump() | {"pretrained": False}  # the weights do not matter yet
    model = create_model(num_classes=len(features.classes), **options).eval()
    for phase in params.train.phases:
        freeze(model, phase.trainable)
    default = network_preprocessing(features, params).image_size
    for side in {phase.resolution or default for phase in params.train.phases}:
        try:
            with torch.no_grad():
                model(torch.zeros(1, 3, side, side))
        except (AssertionError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(
                f"model.name: {params.model.name} does not take images of {side} pixels a side "
                f"({reason}); choose another data.image_size, or another network"
            ) from None

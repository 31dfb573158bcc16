"""A checkpoint of a small untrained network whose answers differ from image to image."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from Resnet23.dataset import normalize, to_unit_range
from Resnet23.modeling.checkpoint import Checkpoint, Decision, Preprocessing
from Resnet23.modeling.zoo import create_model

CLASSES = ["cat", 'a, "quoted" dog', "two\nlines", "蜜蜂 🐝"]
MODEL = {"name": "resnet10", "width": 4}
PREPROCESSING = Preprocessing(16, "pad", [0.4, 0.5, 0.6], [0.2, 0.25, 0.3])


def small_checkpoint() -> Checkpoint:
    """Four classes with awkward names, images of 16 pixels, a temperature."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = create_model(num_classes=len(CLASSES), **MODEL)
        images = torch.randn(64, 3, 1, 1) + 0.3 * torch.randn(64, 3, 16, 16)  # each in a colour of its own
        model.train()(images)  # for BatchNorm's statistics
        logits = model.eval()(images)
        model.classifier.bias -= logits.mean(dim=0)
        for parameter in model.classifier.parameters():  # logits of mean 0 and standard deviation 3
            parameter *= 3 / logits.std()
    decision = Decision(temperature=2.0)
    return Checkpoint(model.state_dict(), MODEL, CLASSES, PREPROCESSING, decision, "multiclass", {}, None)


def description(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a model's folder says about its use."""
    fields = asdict(checkpoint)
    return {key: fields[key] for key in ("classes", "preprocessing", "decision", "task")}


def example_batch(count: int = 2) -> np.ndarray:
    """Random images (N, 3, 16, 16) float32 as the network takes them."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), np.uint8)
    return normalize(to_unit_range(torch.from_numpy(pixels)), PREPROCESSING.mean, PREPROCESSING.std).numpy()

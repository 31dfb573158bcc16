"""Networks of PyTorch with what they answer, for tests of Keras: python torch_networks.py FOLDER CASES

CASES is JSON: [[name, width, image size], ...]. For each, FOLDER gets NAME.safetensors, as the export writes it, and
NAME.npz with images (N, S, S, 3) uint8 and logits (N, C) float32.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from Resnet23.dataset import normalize, to_unit_range
from Resnet23.exporting.source import Source, describe
from Resnet23.exporting.torch_files import write_safetensors
from Resnet23.modeling.checkpoint import Checkpoint, Decision, Preprocessing
from Resnet23.modeling.zoo import create_model

CLASSES = ["cat", "dog", "bird", "two\nlines", "蜜蜂"]
IMAGES = 6
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def write(folder: Path, name: str, width: int, size: int) -> None:
    """The files of one network, in which no weight is what networks begin with."""
    torch.manual_seed(width)
    arguments = {"name": name, "width": width, "dropout": 0.1, "final_dropout": 0.2}
    model = create_model(num_classes=len(CLASSES), **arguments)
    images = torch.randint(0, 256, (IMAGES, 3, size, size), dtype=torch.uint8)
    pixels = normalize(to_unit_range(images), MEAN, STD)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
        model.train()(pixels)  # gives BatchNorm its statistics
        model.classifier.weight.normal_(std=0.5)
        model.classifier.bias.normal_()
        logits = model.eval()(pixels)
    checkpoint = Checkpoint(
        model.state_dict(),
        arguments,
        CLASSES,
        Preprocessing(size, "crop", MEAN, STD),
        Decision(),
        "multiclass",
        {},
        None,
    )
    (folder / f"{name}.safetensors").write_bytes(write_safetensors(Source(checkpoint, describe(checkpoint))))
    np.savez(folder / f"{name}.npz", images=images.permute(0, 2, 3, 1).numpy(), logits=logits.numpy())


if __name__ == "__main__":
    for case in json.loads(sys.argv[2]):
        write(Path(sys.argv[1]), *case)

"""The table of networks: python -m Resnet23.modeling.zoo --measure"""

from typing import Annotated

import torch
import typer

from Resnet23.command import DebugOption
from Resnet23.modeling.architectures import ARCHITECTURES
from Resnet23.modeling.measure import count_parameters, images_per_second, multiply_accumulates

HEADINGS = ("name", "parameters", "GMACs", "pixels", "top-1", "weights", "images/s", "best for")
EXPLANATION = """
parameters  in millions, of our own networks with 10 classes, of the others with ImageNet's 1,000
GMACs       billions of multiplications with an addition for one image of the size under pixels
top-1       accuracy in % that was published for these weights, on the validation images of ImageNet
images/s    classified here, in fp32 and batches of 16 (--measure)
"""

MeasureOption = Annotated[bool, typer.Option("--measure", help="Measure images per second (half a minute).")]


def describe(name: str, measure: bool) -> tuple[str, ...]:
    """A line of the table: a string for each of its headings."""
    row = ARCHITECTURES[name]
    weights = row.weights and row.weights(None)
    # Sizes need no memory; RegNet computes its widths with tensors, so it has to be a real network.
    with torch.device("cpu" if measure or name.startswith("regnet") else "meta"):
        model = row.build(1000 if weights else 10)
    speed = f"{images_per_second(model, row.image_size):.0f}" if measure else "-"
    return (
        name,
        f"{count_parameters(model) / 1e6:.1f}",
        f"{multiply_accumulates(model, row.image_size) / 1e9:.2f}",
        str(row.image_size),
        f"{weights.accuracy:.1f}" if weights else "-",
        weights.name if weights else "-",
        speed,
        row.best_for,
    )


def main(measure: MeasureOption = False, debug: DebugOption = False) -> None:
    """Print the networks that params.yaml can name: size, arithmetic, published accuracy, speed, best use."""
    lines = [HEADINGS, *(describe(name, measure) for name in ARCHITECTURES)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())
    print(EXPLANATION + "Also: torchvision/NAME and timm/NAME for any other network for classification of theirs.")

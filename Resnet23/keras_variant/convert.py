"""A ResNet that PyTorch has trained, as a Keras network with the same weights.

    python -m Resnet23.keras_variant.convert
    python -m Resnet23.keras_variant.convert FILE.safetensors --output FILE.keras

It reads what `python -m Resnet23.export --formats safetensors` writes and needs no PyTorch.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from loguru import logger

from Resnet23.command import DebugOption, run_command
from Resnet23.config import EXPORT_DIR
from Resnet23.errors import InputError, IntegrityError, name_some
from Resnet23.files import printable, require_writable
from Resnet23.keras_variant.library import missing_package
from Resnet23.keras_variant.parts import Options
from Resnet23.keras_variant.resnet import BLOCKS_PER_STAGE, build_resnet
from Resnet23.keras_variant.saved import DESCRIPTION, save

if TYPE_CHECKING:
    import keras

# What PyTorch calls the weights of a layer, in the order in which Keras has them.
NAMES = {
    "Conv2D": ("weight",),
    "Dense": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
COUNTER = "num_batches_tracked"  # of PyTorch's BatchNorm, without a use at a fixed momentum
AXES = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}  # (out, in, H, W) -> (H, W, in, out); (out, in) -> (in, out)

SourceArgument = Annotated[Path, typer.Argument(help="The exported weights.", metavar="FILE")]
OutputOption = Annotated[Path, typer.Option("--output", help="The file to write (.keras).")]


@dataclass(frozen=True)
class Export:
    """Weights by PyTorch's names, and the description that came with them."""

    origin: str
    description: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]

    @property
    def name(self) -> str:
        """Which network it is."""
        return self.description["model"]["name"]

    @property
    def options(self) -> Options:
        """What to build it for."""
        about, model = self.description["preprocessing"], self.description["model"]
        return Options(
            num_classes=len(self.description["classes"]),
            image_size=about["image_size"],
            width=model["width"],
            mean=about["mean"],
            std=about["std"],
        )


def main(
    source: SourceArgument = EXPORT_DIR / "model.safetensors",
    output: OutputOption = EXPORT_DIR / "model.keras",
    debug: DebugOption = False,
) -> None:
    """Write the Keras network with the weights of an exported ResNet."""
    if output.suffix != ".keras":
        raise InputError(f"--output: found {printable(output)}, expected a name that ends with .keras")
    export = read_export(source)
    require_writable(output.parent)
    model = convert(export)
    save(model, output, export.description)
    logger.info(
        f"{printable(output)}: {export.name} with {model.count_params():,} parameters; images {model.input_shape} "
        f"from 0 to 255 -> logits of {name_some(export.description['classes'], 3)}"
    )


def read_export(path: str | Path) -> Export:
    """Read exported weights.

    Raises InputError when there is no such file or it holds another network than a ResNet of ours, and IntegrityError
    when it is damaged or was not written by the export.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise missing_package("safetensors") from None
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[DESCRIPTION])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        export = Export(printable(path), description, weights)
        found, _ = export.name, export.options
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; `make export` writes models/export/") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{printable(path)}: no weights that `make export` wrote ({error}); export them again"
        ) from None
    if found not in BLOCKS_PER_STAGE:
        raise InputError(f"{printable(path)}: found the network {found}, expected one of {', '.join(BLOCKS_PER_STAGE)}")
    return export


def convert(export: Export) -> "keras.Model":
    """The network that was exported: images (N, S, S, 3) from 0 to 255 -> logits (N, C) as PyTorch computes them.

    Raises IntegrityError when weights are missing, too many or of another shape.
    """
    model = build_resnet(export.name, export.options)
    wanted = dict(_torch_names(model))
    given = {name: value for name, value in export.weights.items() if not name.endswith(COUNTER)}
    arrays = {name: value.transpose(AXES[value.ndim]) for name, value in given.items() if value.ndim in AXES}
    for name in sorted(wanted.keys() | given.keys()):
        found, expected = (tuple(side[name].shape) if name in side else "nothing" for side in (arrays, wanted))
        if found != expected:
            raise IntegrityError(f"{export.origin}: {name}: found {found}, expected {expected}; export it again")
    for name, variable in wanted.items():
        variable.assign(arrays[name])
    return average_flips(model) if export.description["model"].get("average_flips") else model


def average_flips(model: "keras.Model") -> "keras.Model":
    """A network that answers with the mean logits of `model` for an image (N, S, S, 3) and its mirror image."""
    import keras

    images = keras.Input(model.input_shape[1:])
    both = [model(images), model(keras.ops.flip(images, axis=2))]
    return keras.Model(images, keras.layers.average(both), name=model.name)


def _torch_names(model: "keras.Model") -> "Iterator[tuple[str, keras.Variable]]":
    """Every weight of a network with the name that PyTorch has for it."""
    for layer in model.layers:
        for name, variable in zip(NAMES.get(type(layer).__name__, ()), layer.weights, strict=True):
            yield f"{layer.name}.{name}", variable


if __name__ == "__main__":
    run_command(main)

"""Say in a few lines what a finished project reached and where to look at it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.outputs import KERAS, PYTORCH, Outputs


def summarize(folder: Path, outputs: Outputs = PYTORCH) -> str:
    """How good the project in `folder` is on the test images, and the paths of its page, figures and model.

    Raises InputError when the project has no metrics yet.
    """
    file = folder / outputs.metrics
    try:
        result = _result(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{printable(file)}: no metrics to read ({error}); run `{outputs.repro}` in the project's folder"
        ) from None
    lines = [
        result,
        f"Report page    {printable(folder / outputs.page)}",
        f"Figures        {printable(folder / outputs.figures)}",
        f"Model          {printable(folder / outputs.checkpoint)}",
    ]
    return "\n".join(lines)


def _result(metrics: Mapping[str, float]) -> str:
    if "subset_accuracy" in metrics:  # of a multi-label project
        return (
            f"Test mAP       {metrics['mAP']:.3f} (every label right: {metrics['subset_accuracy']:.1%} of the images)"
        )
    return f"Test accuracy  {metrics['accuracy']:.1%} (training images: {metrics['train_accuracy']:.1%})"


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")] = Path(),
    keras: Annotated[bool, typer.Option("--keras", help="What its Keras pipeline reached.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print what the project in DIR reached and where to look at it."""
    print(summarize(folder, KERAS if keras else PYTORCH))


if __name__ == "__main__":
    run_command(main)

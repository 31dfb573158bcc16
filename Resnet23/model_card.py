"""The model card: what the trained model is, what it was trained on, how good it is and what limits it.

    python -m Resnet23.model_card
    python -m Resnet23.model_card --license cc-by-4.0 --data-license "own photos, all rights reserved"

It is Markdown with the front matter of Hugging Face, filled from the files of one run, and says no more than they do.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from loguru import logger

from Resnet23.command import DebugOption, run_command
from Resnet23.config import CHECKPOINT_FILE, MODEL_CARD_FILE, PREDICTIONS_FILE
from Resnet23.errors import InputError
from Resnet23.files import atomic_write, printable, require_writable
from Resnet23.model_cards.carbon import CORE_WATTS, CURRENCY, INTENSITY, PRICE, Range, parse_range
from Resnet23.model_cards.card import Choices, build_card
from Resnet23.model_cards.front_matter import import_hub
from Resnet23.modeling.agreement import COMPARED, agrees
from Resnet23.modeling.checkpoint import Checkpoint, load_checkpoint
from Resnet23.modeling.inference import Classifier
from Resnet23.results import Results, read_results

LicenseOption = Annotated[
    str | None,
    typer.Option(
        "--license", metavar="NAME", help="Of the trained weights, such as mit or cc-by-nc-4.0; left out: undecided."
    ),
]
DataLicenseOption = Annotated[
    str | None, typer.Option("--data-license", metavar="TEXT", help="What is known of the licence of the images.")
]
WattsOption = Annotated[
    str | None,
    typer.Option(
        "--watts",
        metavar="W or LOW:HIGH",
        help="The power of the machine while it trained; left out: from its GPU, or "
        f"{CORE_WATTS.low:g}:{CORE_WATTS.high:g} for each core that the system counts.",
    ),
]
CarbonOption = Annotated[
    str | None,
    typer.Option(
        "--carbon-intensity",
        metavar="G or LOW:HIGH",
        help=f"Grams of CO2 for each kWh; left out: {INTENSITY.low:g}:{INTENSITY.high:g}, {INTENSITY.source}.",
    ),
]
PriceOption = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="P or LOW:HIGH",
        help=f"Of a kWh; left out: {PRICE.low:g}:{PRICE.high:g}, {PRICE.source}.",
    ),
]
CurrencyOption = Annotated[str, typer.Option("--currency", help="Of the price.")]
OutputOption = Annotated[Path, typer.Option("--output", help="The file to write.", dir_okay=False)]


def main(
    license_name: LicenseOption = None,
    data_license: DataLicenseOption = None,
    watts: WattsOption = None,
    carbon_intensity: CarbonOption = None,
    price: PriceOption = None,
    currency: CurrencyOption = CURRENCY,
    output: OutputOption = MODEL_CARD_FILE,
    debug: DebugOption = False,
) -> None:
    """Write the model card of the trained model from what its run left."""
    choices = Choices(
        license_name,
        _printable_text("--data-license", data_license),
        _range("--watts", watts, None),
        _range("--carbon-intensity", carbon_intensity, INTENSITY),
        _range("--price", price, PRICE),
        _printable_text("--currency", currency),
    )
    import_hub()
    require_writable(output.parent)
    checkpoint, results = load_checkpoint(CHECKPOINT_FILE), read_results()
    _check(checkpoint, results)
    card = build_card(results, checkpoint, choices)
    with atomic_write(output) as file:
        file.write(card)
    hint = "; `dvc repro plots` puts it on the page" if output == MODEL_CARD_FILE else ""
    logger.info(f"{printable(output)}: the model card of {checkpoint.model['name']}{hint}")


def _range(option: str, text: str | None, default: Range | None) -> Range | None:
    return default if text is None else parse_range(option, text)


def _printable_text(option: str, text: str | None) -> str | None:
    """Text in one line; raises InputError for an empty one, which would leave a hole in the card."""
    if text is not None and not text.strip():
        raise InputError(f"{option}: found an empty text, expected some words; leave the option out to say nothing")
    return text


def _check(checkpoint: Checkpoint, results: Results) -> None:
    """Raise InputError when the checkpoint is of another task or other classes than the results, or not their model."""
    if (checkpoint.task, checkpoint.classes) != (results.features.task, results.features.classes):
        raise InputError(
            f"{printable(CHECKPOINT_FILE)}: of another task or other classes than data/features; train again with "
            "`make train`"
        )
    if not agrees(Classifier(checkpoint, torch.device("cpu"), COMPARED), results.features.test, results.predictions):
        raise InputError(
            f"{printable(PREDICTIONS_FILE)}: found other probabilities than {printable(CHECKPOINT_FILE)} gives the "
            "same images, expected those of this model; run `make predict`"
        )


if __name__ == "__main__":
    run_command(main)

"""Say what the project reached and where its report page is, and open the page in the browser."""

import webbrowser
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from loguru import logger

from Resnet23.command import DebugOption, run_command
from Resnet23.errors import Resnet23Error
from Resnet23.files import printable
from Resnet23.outputs import KERAS, PYTORCH, Outputs
from Resnet23.summary import summarize

OpenOption = Annotated[
    bool, typer.Option("--open", help="Open the page in the browser, drawn anew when it is missing or out of date.")
]
KerasOption = Annotated[bool, typer.Option("--keras", help="The report of the Keras pipeline.")]


def is_up_to_date(outputs: Outputs) -> bool:
    """Whether the page is there and no older than the predictions that it shows."""
    page, predictions = outputs.page, outputs.predictions
    if not page.exists():
        return False
    return not predictions.exists() or page.stat().st_mtime >= predictions.stat().st_mtime


def open_page(page: Path) -> None:
    """Show a page in the browser. Raises Resnet23Error where there is none to be found."""
    address = page.resolve().as_uri()
    if not webbrowser.open(address):
        raise Resnet23Error(f"no browser was found here; open this address in one: {address}")


def main(open_it: OpenOption = False, keras: KerasOption = False, debug: DebugOption = False) -> None:
    """Print what the project reached and where its report page is; with --open show the page."""
    outputs = KERAS if keras else PYTORCH
    print(summarize(Path(), outputs))
    if not is_up_to_date(outputs):
        state = "is older than the predictions" if outputs.page.exists() else "is not drawn yet"
        if not open_it:
            print(f"The page {state}; `{outputs.command('plots')}`, or --open, draws it.")
            return
        logger.info(f"{printable(outputs.page)} {state}: drawing it")
        import_module(outputs.plots_module).main()
    if open_it:
        open_page(outputs.page)


if __name__ == "__main__":
    run_command(main)

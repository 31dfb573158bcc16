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
from Resnet23.outputs import KERAS, PYTORCH
from Resnet23.summary import summarize

OpenOption = Annotated[
    bool, typer.Option("--open", help="Open the page in the browser; it is drawn first when it is missing.")
]
KerasOption = Annotated[bool, typer.Option("--keras", help="The report of the Keras pipeline.")]


def open_page(page: Path) -> None:
    """Show a page in the browser. Raises Resnet23Error where there is none to be found."""
    address = page.resolve().as_uri()
    if not webbrowser.open(address):
        raise Resnet23Error(f"no browser was found here; open this address in one: {address}")


def main(open_it: OpenOption = False, keras: KerasOption = False, debug: DebugOption = False) -> None:
    """Print what the project reached and where its report page is; with --open show the page."""
    outputs = KERAS if keras else PYTORCH
    print(summarize(Path(), outputs))
    if not outputs.page.exists():
        if not open_it:
            print(f"The page is not drawn yet; `{outputs.command('plots')}`, or --open, draws it.")
            return
        logger.info(f"{printable(outputs.page)} is not drawn yet: drawing it")
        import_module(outputs.plots_module).main()
    if open_it:
        open_page(outputs.page)


if __name__ == "__main__":
    run_command(main)

"""A page that says what is in an image, on this machine: drop an image on it, paste one, or use the webcam.

    make serve                            (or: python -m Resnet23.serve --port 8080)

It answers with the trained network as `python -m Resnet23.modeling.predict` does, shows which places of the image spoke
for the answer, and warns of images that are unlike all that the network has learnt from. A second tab takes many files
and gives a table. Nothing leaves the machine.
"""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from loguru import logger

from Resnet23.command import DebugOption, run_command
from Resnet23.config import CHECKPOINT_FILE
from Resnet23.errors import Terminated
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.modeling.device import choose_device
from Resnet23.webapp.answers import Answerer
from Resnet23.webapp.facts import describe
from Resnet23.webapp.page import build_page
from Resnet23.webapp.server import is_loopback, require_gradio, require_port, serving
from Resnet23.webapp.views import Views

ModelOption = Annotated[Path, typer.Option("--model", help="The checkpoint that answers.")]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port of the page.")]
HostOption = Annotated[
    str, typer.Option("--host", help="The address to listen on; 0.0.0.0 lets everybody in who reaches this machine.")
]


def main(
    model: ModelOption = CHECKPOINT_FILE,
    port: PortOption = 7860,
    host: HostOption = "127.0.0.1",
    debug: DebugOption = False,
) -> None:
    """Show a page that says what is in an image."""
    checkpoint = load_checkpoint(model)
    require_gradio()  # before the network is made ready, which may take a while
    require_port(host, port)
    if not is_loopback(host):
        logger.warning(f"--host {host}: everybody who reaches this machine can use the page, without a password")
    answerer = Answerer(checkpoint, choose_device("auto"))
    facts = describe(answerer.classifier)
    logger.info(f"it warns below {answerer.rule.threshold:.3g}, by {answerer.rule.score}: {answerer.rule.origin}")
    with serving(lambda folder: build_page(Views(answerer, folder), facts), host, port) as address:
        logger.info(f"{address} shows the page until Ctrl-C is pressed")
        wait_for_end()


def wait_for_end() -> None:
    """Wait until the process is asked to end, by Ctrl-C quietly. Raises typer.Exit with 130 then."""
    try:
        threading.Event().wait()
    except Terminated as request:
        if request.signal_number != signal.SIGINT:
            raise
        raise typer.Exit(request.exit_code) from None


if __name__ == "__main__":
    run_command(main)

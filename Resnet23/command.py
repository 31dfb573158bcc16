"""How every module command runs: shared options, logging, one-line errors, exit codes."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from loguru import logger
from tqdm import tqdm

from Resnet23.environment import load_environment_file
from Resnet23.errors import Resnet23Error, ResourceError, Terminated
from Resnet23.files import storage_error

ParamsOption = Annotated[Path, typer.Option("--params", help="The parameter file.")]
PresetOption = Annotated[
    str | None, typer.Option("--preset", help="A recipe from presets/; it replaces whole sections of the parameters.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one parameter, as in train.epochs=3. Repeatable; later wins."
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")]

OUT_OF_MEMORY = ("OutOfMemoryError", "ResourceExhaustedError")  # PyTorch's and TensorFlow's, of a GPU for the most part


def run_command(main: Callable[..., Any]) -> NoReturn:
    """Run `main` as a command line program and end the process with the exit code of what happened.

    A failure prints one line; its traceback is shown only with --debug. SIGTERM ends the program with 143
    and SIGINT with 130, after the context managers on the stack have cleaned up.
    """
    debug = "--debug" in sys.argv
    configure_logging(debug)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_terminated)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    try:
        load_environment_file()
        sys.exit(app(standalone_mode=False) or 0)
    except (Exception, Terminated) as error:
        if debug:
            logger.opt(exception=error).error("the traceback of the failure")
        message, code = explain(error)
        line = message.replace("\n", "\\n")  # a file's name may hold a line break
        print(f"error: {line}", file=sys.stderr)
        sys.exit(code)


def explain(error: BaseException) -> tuple[str, int]:
    """The line to print for `error`, and the exit code that it stands for."""
    if isinstance(error, OSError):
        error = storage_error(error, error.filename or "writing") or error
    if isinstance(error, MemoryError) or type(error).__name__ in OUT_OF_MEMORY:
        error = ResourceError(
            "out of memory; take a smaller train.batch_size or predict.batch_size, or with PyTorch a larger "
            "train.accumulation"
        )
    if isinstance(error, Resnet23Error):
        return str(error), error.exit_code
    if isinstance(error, Terminated):
        return f"stopped by {signal.Signals(error.signal_number).name}", error.exit_code
    if hasattr(error, "format_message"):  # click's usage errors: unknown option, missing argument
        return " ".join(error.format_message().split()), 2
    return f"{type(error).__name__}: {error} (--debug shows where)", 1


def is_main_process() -> bool:
    """Whether this process writes and reports: the only one, or the first of those of `torchrun`."""
    return int(os.environ.get("RANK", "0")) == 0


def configure_logging(debug: bool = False) -> None:
    """Send log lines and warnings to stderr, above any progress bar that is on the screen; one process does."""
    logger.remove()
    if not is_main_process():
        return
    logger.add(
        lambda message: tqdm.write(message, file=sys.stderr, end=""),
        level="DEBUG" if debug else "INFO",
        format="{time:HH:mm:ss} {level: <7} {message}" if debug else "{message}",
        diagnose=False,  # a traceback with the values of variables would show tokens
    )
    warnings.showwarning = _log_warning


def _log_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    logger.warning(f"{category.__name__}: {message} ({filename}:{lineno})")


def _raise_terminated(number: int, _: Any) -> NoReturn:
    raise Terminated(number)

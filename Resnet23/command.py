"""How every module command runs: shared options, logging, one-line errors, exit codes."""

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer
from loguru import logger
from tqdm import tqdm
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from Resnet23.environment import load_environment_file
from Resnet23.errors import Resnet23Error, ResourceError, Terminated, is_out_of_memory, one_line
from Resnet23.files import find_storage_error

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


class Unattended:
    """Standard error that says it is no terminal, so that nothing draws a progress bar on it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        """Never."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run_command(main: Callable[..., Any]) -> NoReturn:
    """Run `main` as a command line program and end the process with the exit code of what happened; see `run`."""
    run(as_command(main))


def run(command: TyperCommand | TyperGroup) -> NoReturn:
    """Run a command with the arguments of this process, which ends with the exit code of what happened.

    A failure prints one line; its traceback is shown only with --debug. SIGTERM ends the program with 143
    and SIGINT with 130, after the context managers on the stack have cleaned up.
    """
    debug = "--debug" in sys.argv
    configure_logging(debug)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr's, where the terminal is not of UTF-8
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_terminated)
    try:
        load_environment_file()
        sys.exit(command(standalone_mode=False, color=use_color()) or 0)
    except (Exception, Terminated) as error:
        if debug:
            logger.opt(exception=error).error("the traceback of the failure")
        message, code = explain(error)
        line = one_line(message)  # a file's name may hold a line break
        typer.echo(f"{typer.style('error:', fg='red')} {line}", err=True, color=use_color())
        sys.exit(code)


def as_command(main: Callable[..., Any], **settings: Any) -> TyperCommand:
    """A typed function as a command with its options and those that every command has; `settings` as Typer's."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(**settings)(main)
    command = get_command(app)
    command.params += common_options()
    return command


def common_options() -> list[TyperOption]:
    """The options that `run` and not the command itself sees to, each time made anew."""
    app = typer.Typer(add_completion=False)
    app.command()(_common)
    return get_command(app).params


def _common(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            callback=lambda value: be_quiet() if value else None,
            expose_value=False,
            help="No progress and no remarks: only warnings, errors and what was asked for.",
        ),
    ] = False,
) -> None:
    """Nothing but the options."""


def be_quiet() -> None:
    """Let only warnings and errors through, and no progress bar."""
    configure_logging("--debug" in sys.argv, quiet=True)
    sys.stderr = Unattended(sys.stderr)


def use_color() -> bool | None:
    """False when NO_COLOR is set to anything (no-color.org), else None: it depends on whether this is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def explain(error: BaseException) -> tuple[str, int]:
    """The line to print for `error`, and the exit code that it stands for."""
    if isinstance(error, Exception) and not isinstance(error, Resnet23Error):
        error = find_storage_error(error, getattr(error, "filename", None) or "writing") or error
    if is_out_of_memory(error):
        error = ResourceError(
            "out of memory; take a smaller train.batch_size or predict.batch_size, or with PyTorch a larger "
            "train.accumulation"
        )
    if isinstance(error, Resnet23Error):
        return str(error), error.exit_code
    if isinstance(error, Terminated):
        return f"stopped by {signal.Signals(error.signal_number).name}", error.exit_code
    if hasattr(error, "format_message"):  # click's usage errors: unknown option, missing argument
        return _explain_usage(error), 2
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed; in a clone: make setup, elsewhere: pip install Resnet23", 2
    return f"{type(error).__name__}: {error} (--debug shows where)", 1


def _explain_usage(error: Any) -> str:
    """One of click's usage errors in one line, with what may have been meant and where all the options are listed."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    likely = sorted(getattr(error, "possibilities", None) or ())
    found = error.message if likely else error.format_message()
    takes_parameters = context is not None and any("--set" in param.opts for param in context.command.params)
    if option and takes_parameters and (keys := _parameters_named(option)):
        found = f"{error.message}; parameters are changed by {' or '.join(f'--set {key}=VALUE' for key in keys)}"
    elif likely:
        found += f"; did you mean {' or '.join(likely)}?"
    shown = f" (see `{context.command_path} --help`)" if context else ""
    return " ".join(found.split()) + shown


def _parameters_named(option: str) -> list[str]:
    """The keys of params.yaml that end like an option that does not exist: train.epochs for --epochs."""
    from Resnet23.config import Params, flatten  # here: it takes as long as everything else that a command needs

    name = option.lstrip("-").replace("-", "_")
    return [key for key in flatten(Params().model_dump()) if key.rpartition(".")[2] == name]


def is_main_process() -> bool:
    """Whether this process writes and reports: the only one, or the first of those of `torchrun`."""
    return int(os.environ.get("RANK", "0")) == 0


def configure_logging(debug: bool = False, quiet: bool = False) -> None:
    """Send log lines and warnings to stderr, above any progress bar that is on the screen; one process does."""
    logger.remove()
    if not is_main_process():
        return
    logger.add(
        lambda message: tqdm.write(message, file=sys.stderr, end=""),
        level="WARNING" if quiet else "DEBUG" if debug else "INFO",
        format="{time:HH:mm:ss} {level: <7} {message}" if debug else "{message}",
        diagnose=False,  # a traceback with the values of variables would show tokens
    )
    logger.configure(patcher=lambda record: record.update(message=one_line(record["message"])))  # names hold anything
    warnings.showwarning = _log_warning


def _log_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    logger.warning(f"{category.__name__}: {message} ({filename}:{lineno})")


def _raise_terminated(number: int, _: Any) -> NoReturn:
    raise Terminated(number)

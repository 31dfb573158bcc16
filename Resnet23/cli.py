"""The program `resnet23`: every command of the project under one name.

A command is a row of the table below, and is exactly what `python -m` of its module is: the same function, options,
messages and exit codes. Its module is imported only when it runs, so that help and completion come at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from Resnet23 import __version__
from Resnet23.command import DebugOption, as_command, common_options, run


@dataclass(frozen=True)
class Row:
    """A command: its name, the module whose `main` it is, and a line of help."""

    name: str
    module: str
    help: str


ROWS = (
    Row("new", "Resnet23.new_project", "Make a project of your own from a folder of images."),
    Row("doctor", "Resnet23.doctor", "Look for what is missing or wrong, and say how to mend it."),
    Row("data", "Resnet23.datadownload", "Fetch the images that params.yaml names."),
    Row("features", "Resnet23.features", "Build the arrays from the images."),
    Row("train", "Resnet23.modeling.train", "Train the network, or go on with an interrupted training."),
    Row("predict", "Resnet23.modeling.predict", "Evaluate it on the test images, or classify image files."),
    Row("plots", "Resnet23.plots", "Draw the figures and the report page."),
    Row("report", "Resnet23.commands.report", "Say what was reached, and open the report page."),
    Row("lr-find", "Resnet23.modeling.lr_find", "Suggest a learning rate."),
    Row("export", "Resnet23.export", "Write the model in formats of other programs."),
    Row("explain", "Resnet23.explain", "Draw what the network looked at."),
    Row("card", "Resnet23.model_card", "Write the model card."),
    Row("serve", "Resnet23.serve", "Show a page that classifies the images you drop on it."),
    Row("study", "Resnet23.studies.__main__", "Run a study of what matters in a training."),
    Row("zoo", "Resnet23.modeling.zoo_table", "List the networks that params.yaml can name."),
    Row("encoder", "Resnet23.classifiers.pretrain", "Pre-train an encoder on the images."),
    Row("heads", "Resnet23.validate", "Train heads on a frozen encoder."),
    Row("mlflow-ui", "Resnet23.tracking.ui", "Show the tracked runs in a browser."),
    Row("sync", "Resnet23.tracking.sync", "Send to the remote the runs that it does not have yet."),
    Row("promote", "Resnet23.promote", "Make the trained model the champion if it is better."),
    Row("project", "Resnet23.project", "Make a folder inside the repository for a recipe."),
)


class LazyGroup(TyperGroup):
    """Commands of which only names and lines of help are known until one of them runs."""

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Name, command and remaining arguments; completion gets an outline of the command, without an import."""
        name, listed, rest = super().resolve_command(ctx, args)
        if listed is None:
            return name, None, rest
        row = next(row for row in ROWS if row.name == name)
        return name, outline(row) if ctx.resilient_parsing else load(row), rest


def load(row: Row) -> TyperCommand:
    """The command of a row, whose module is imported."""
    return as_command(import_module(row.module).main, name=row.name)


def outline(row: Row) -> TyperCommand:
    """The options and arguments of a row's command as its source tells them, with what may be given for them."""
    from Resnet23.commands.outline import outlined_function

    return as_command(outlined_function(row.module), name=row.name)


def build(rows: Sequence[Row] = ROWS) -> TyperGroup:
    """The program with a command for each row."""
    app = typer.Typer(cls=LazyGroup, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True)(overview)
    for row in rows:
        app.command(row.name, help=row.help)(overview)
    program = get_command(app)
    program.params += common_options()
    for option in program.params:
        option.default = False  # they are flags; of another value than these two Typer asks pydantic, which takes time
    return program


def show_version(wanted: bool) -> None:
    """Print the version and end, when asked to."""
    if wanted:
        typer.echo(f"resnet23 {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
]


def overview(context: typer.Context, version: VersionOption = False, debug: DebugOption = False) -> None:
    """From a folder of images to a trained, evaluated, explained and tracked classifier.

    The commands work on the project in the current directory, the folder that holds params.yaml. Each stage of its
    pipeline can be run by hand; `dvc repro` runs those that are not up to date. Say COMMAND --help for the options.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command that the arguments of this process name."""
    run(build())

"""What the commands about a saved head have in common on their command lines."""

from pathlib import Path
from typing import Annotated

import typer

HeadArgument = Annotated[
    Path, typer.Argument(metavar="HEAD", help="The file of a head, as Resnet23.validate saves it.")
]
EncoderOption = Annotated[
    str | None,
    typer.Option("--encoder", metavar="NAME_OR_PATH", help="Where its encoder is; left out: where the head says."),
]
TrustOption = Annotated[
    bool, typer.Option("--trust_remote_code", help="Run code that comes with a model. Only for authors you trust.")
]

"""What commands outside the pipeline left in reports/extras for the report page."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from Resnet23.config import EXPLAIN_PICTURE, EXPLAIN_PICTURE_DARK, EXPLAIN_RESULTS, EXPORT_RESULTS, MODEL_CARD_FILE
from Resnet23.errors import InputError
from Resnet23.figures.theme import Picture
from Resnet23.files import printable
from Resnet23.outputs import PYTORCH, Outputs

FRONT_MATTER = re.compile(r"\A---\n.*?^---\n\s*", re.DOTALL | re.MULTILINE)  # YAML for machines, above the text

Extra = TypeVar("Extra", bound=BaseModel)


class Machine(BaseModel):
    """Where speeds were measured."""

    cpu: str


class MeasuredFormat(BaseModel):
    """An exported file that says what PyTorch says; the first of them is PyTorch itself."""

    format: str
    error: None
    bytes: int
    max_difference: float  # of a probability
    agreement: float
    accuracy: float
    images_per_second: dict[str, float]  # by the size of the batch
    startup_seconds: float


class FailedFormat(BaseModel):
    """A format without a file, and why."""

    format: str
    error: str


class Exports(BaseModel):
    """export.json: a checkpoint in other formats, as Resnet23.export compared them."""

    checkpoint: str
    sha256: str
    task: str
    images: int
    machine: Machine
    threads: int
    formats: list[MeasuredFormat | FailedFormat]

    @property
    def batch_sizes(self) -> list[str]:
        """The sizes of the batches that speeds are known for."""
        measured = [row for row in self.formats if isinstance(row, MeasuredFormat)]
        return list(measured[0].images_per_second) if measured else []


class About(BaseModel):
    """explanations.json: of which model the pictures beside it are, what they show and how it was found."""

    checkpoint: str
    sha256: str
    title: str
    method: str


@dataclass(frozen=True)
class Explanations:
    """What the network looked at, as Resnet23.explain drew it."""

    about: About
    picture: Picture


def read_exports(outputs: Outputs = PYTORCH) -> Exports | None:
    """The last export, None when there was none; raises InputError when the file is not what an export writes."""
    return _read(outputs.extras / EXPORT_RESULTS.name, Exports, "the results of an export", outputs.command("export"))


def read_explanations(outputs: Outputs = PYTORCH) -> Explanations | None:
    """The last explanations; None when there are none, as always of Keras, for which Resnet23.explain is not made.

    Raises InputError when a part of them is missing or damaged.
    """
    if outputs is not PYTORCH:
        return None
    command = outputs.command("explain")
    about = _read(EXPLAIN_RESULTS, About, "about explanations", command)
    if about is None:
        return None
    try:
        light, dark = EXPLAIN_PICTURE.read_bytes(), EXPLAIN_PICTURE_DARK.read_bytes()
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); run `{command}`") from None
    return Explanations(about, Picture("explanations", about.title, light, dark))


def read_model_card(outputs: Outputs = PYTORCH) -> str | None:
    """The text of the model card without its front matter, None when there is none.

    Raises InputError when it is not UTF-8.
    """
    path = outputs.extras / MODEL_CARD_FILE.name
    try:
        return FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InputError(f"{printable(path)}: not UTF-8; save it as UTF-8 text, or remove the file") from None


def _read(path: Path, kind: type[Extra], what: str, command: str) -> Extra | None:
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{printable(path)}: not {what} ({where}: {first['msg']}); run `{command}`, or remove the file"
        ) from None

"""Files of weights: read without running any code that may be hidden in them, and only as they were written."""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from Resnet23.config import describe_errors, shortened
from Resnet23.errors import InputError, IntegrityError, is_out_of_memory, one_line
from Resnet23.files import printable

FORMAT = "resnet23-checkpoint"
VERSION = 1

Colours = Annotated[list[float], Field(min_length=3, max_length=3)]  # a number for each RGB channel


class Description(BaseModel):
    """A part of a file of weights that is not weights."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StoredPreprocessing(Description):
    """How images become the network's input."""

    image_size: int = Field(ge=1)
    resize: Literal["crop", "pad", "stretch"]
    mean: Colours
    std: Colours


class StoredDecision(Description):
    """What turns logits into answers."""

    thresholds: list[float] | None
    temperature: Annotated[float, Field(gt=0)] | None


class StoredCheckpoint(Description):
    """What a checkpoint holds besides its weights; further keys pass unchecked."""

    model_config = ConfigDict(extra="ignore")

    model: dict[str, Any]
    classes: list[str] = Field(min_length=1)
    preprocessing: StoredPreprocessing
    decision: StoredDecision
    task: Literal["multiclass", "multilabel"]
    params: dict[str, Any]
    git_revision: str | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        """What no single key can tell."""
        if not isinstance(self.model.get("name"), str):
            raise ValueError("found no name of a network in model")
        thresholds = self.decision.thresholds
        if thresholds is not None and len(thresholds) != len(self.classes):
            raise ValueError(f"found {len(thresholds)} thresholds for {len(self.classes)} classes")
        return self


def load_plain(path: str | Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a file of plain values and tensors, tensors to the CPU; code hidden in it does not run.

    `what` names what is expected, for the messages, and `remedy` says how to get one. Raises InputError when there is
    no such file, and IntegrityError when it is damaged or no dictionary.
    """
    try:
        content = load_tensors(path)
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; {remedy}") from None
    except MemoryError:
        raise
    except Exception as error:  # of a dozen kinds, as the damage may be
        reason = one_line(str(error).splitlines()[0][:150]) if str(error) else type(error).__name__
        raise IntegrityError(
            f"{printable(path)}: not a readable {what} ({reason}); it is truncated, damaged or foreign"
        ) from None
    if not isinstance(content, dict):
        raise IntegrityError(f"{printable(path)}: found {type(content).__name__}, expected the dictionary of a {what}")
    return content


def load_tensors(path: str | Path) -> Any:
    """What torch.save wrote, tensors to the CPU. Raises what PyTorch and zipfile raise, ValueError for a wrong sum."""
    _check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's remarks on files of others, which are refused or fit all the same
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise MemoryError(str(error)) from None
            raise


def _check_archive(path: str | Path) -> None:
    """Raise ValueError or BadZipFile unless the members are what their checksums say; PyTorch does not look at these.

    Members are as large as they say, as torch.save compresses none: a small file cannot fill the memory. Files from
    before PyTorch 1.6 are no archives and have no checksums.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > Path(path).stat().st_size:
            raise ValueError("its contents are larger than the file, which PyTorch never writes")
        if damaged := archive.testzip():
            raise ValueError(f"wrong checksum of {damaged}")


def check_version(content: Mapping[str, Any], path: str | Path) -> None:
    """Raise IntegrityError unless `content`, of the file `path`, is a checkpoint of this project and version."""
    found = (content.get("format"), content.get("version"))
    if found != (FORMAT, VERSION):
        raise IntegrityError(
            f"{printable(path)}: found format {shortened(found[0])} version {shortened(found[1])}, expected "
            f"{FORMAT!r} version {VERSION}; a bare state_dict loads with load_model(path, model=..., classes=...)"
        )


def check_checkpoint(content: Mapping[str, Any], path: str | Path) -> None:
    """Raise IntegrityError unless `content`, of the file `path`, is a whole checkpoint of this project and version."""
    check_version(content, path)
    check_tensors(content.get("state_dict"), path)
    check_description(StoredCheckpoint, content, path, "checkpoint", "train again with `make train`")


def check_description(
    kind: type[Description], content: Mapping[str, Any], path: str | Path, what: str, remedy: str
) -> None:
    """Raise IntegrityError naming every wrong key unless `content`, of the file `path`, is a `kind`.

    `what` names what that is, and `remedy` says how to get one.
    """
    try:
        kind.model_validate(content)
    except ValidationError as error:
        found = describe_errors(error, kind)
        raise IntegrityError(f"{printable(path)}: incomplete or altered {what} ({found}); {remedy}") from None


def check_tensors(state_dict: object, path: str | Path) -> dict[str, Tensor]:
    """`state_dict`, of the file `path`. Raises IntegrityError unless it is a dictionary of tensors by name."""
    if not isinstance(state_dict, dict) or not state_dict:
        raise IntegrityError(f"{printable(path)}: found {type(state_dict).__name__}, expected a state_dict")
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise IntegrityError(
                f"{printable(path)}: found {type(value).__name__} under {shortened(name)}, expected a tensor under "
                "each name"
            )
    return state_dict

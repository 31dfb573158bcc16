"""Files of weights: read without running any code that may be hidden in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable

FORMAT = "resnet23-checkpoint"
VERSION = 1


def load_plain(path: str | Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a file of plain values and tensors, tensors to the CPU; code hidden in it does not run.

    `what` names what is expected, for the messages, and `remedy` says how to get one. Raises InputError when there is
    no such file, and IntegrityError when it is damaged or no dictionary.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; {remedy}") from None
    except MemoryError:
        raise
    except Exception as error:  # of a dozen kinds, as the damage may be
        reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
        raise IntegrityError(
            f"{printable(path)}: not a readable {what} ({reason}); it is truncated, damaged or foreign"
        ) from None
    if not isinstance(content, dict):
        raise IntegrityError(f"{printable(path)}: found {type(content).__name__}, expected the dictionary of a {what}")
    return content


def check_version(content: Mapping[str, Any], path: str | Path) -> None:
    """Raise IntegrityError unless `content`, of the file `path`, is a checkpoint of this project and version."""
    found = (content.get("format"), content.get("version"))
    if found != (FORMAT, VERSION):
        raise IntegrityError(
            f"{printable(path)}: found format {found[0]!r} version {found[1]!r}, expected {FORMAT!r} version {VERSION};"
            " a bare state_dict loads with load_model(path, model=..., classes=...)"
        )


def check_tensors(state_dict: object, path: str | Path) -> dict[str, Tensor]:
    """`state_dict`, of the file `path`. Raises IntegrityError unless it is a dictionary of tensors by name."""
    if not isinstance(state_dict, dict) or not state_dict:
        raise IntegrityError(f"{printable(path)}: found {type(state_dict).__name__}, expected a state_dict")
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise IntegrityError(
                f"{printable(path)}: found {type(value).__name__} under {name!r}, expected a tensor under each name"
            )
    return state_dict

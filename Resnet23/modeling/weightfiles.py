"""Files of weights: read without running any code that may be hidden in them."""

from pathlib import Path
from typing import Any

import torch

from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable


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

"""Files of weights: read without running any code that may be hidden in them."""

from pathlib import Path
from typing import Any

import torch

from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import printable


def load_plain(path: str | Path) -> dict[str, Any]:
    """The dictionary of plain values and tensors in a file that PyTorch saved, tensors on the CPU.

    Raises InputError when there is no such file, and IntegrityError when it cannot be read or holds anything else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file; train a model with `make train`") from None
    except MemoryError:
        raise
    except Exception as error:  # of a dozen kinds, as the damage may be
        reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
        raise IntegrityError(
            f"{printable(path)}: not a readable checkpoint ({reason}); it is truncated, damaged or foreign"
        ) from None
    if not isinstance(content, dict):
        raise IntegrityError(f"{printable(path)}: found {type(content).__name__}, expected a checkpoint's dictionary")
    return content

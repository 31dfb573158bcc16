"""A command as the project must have none: it runs the code in a file, and refuses the file only then."""

import pickle
from pathlib import Path

from Resnet23.errors import IntegrityError


def main(file: Path) -> None:
    """Unpickle a file and refuse it, whatever it holds."""
    pickle.loads(file.read_bytes())
    raise IntegrityError(f"{file}: not a readable checkpoint")

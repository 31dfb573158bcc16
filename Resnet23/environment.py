"""The settings of a machine: environment variables, and the file .env that names those of one project."""

import os
from collections.abc import MutableMapping
from pathlib import Path

from dotenv import dotenv_values

from Resnet23.errors import InputError
from Resnet23.files import printable

ENVIRONMENT_FILE = ".env"


def project_root() -> Path:
    """The folder of the project: the current one, or the main one in a temporary experiment of DVC.

    `dvc exp run --temp` and the queue work in a copy of the project that goes away; DVC_ROOT names the original.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def load_environment_file(environment: MutableMapping[str, str] = os.environ) -> Path | None:
    """Add what the nearest .env says and `environment` does not; an empty value counts as not said.

    The file is looked for in the project's folder and above it, up to the top of its git repository: `demo/` and
    `runs/NAME/` use that of the repository they lie in. Gives the file, None when there is none. Raises InputError for
    one that is not UTF-8.
    """
    file = next((folder / ENVIRONMENT_FILE for folder in _folders() if (folder / ENVIRONMENT_FILE).is_file()), None)
    if file is None:
        return None
    try:
        values = dotenv_values(file, encoding="utf-8", interpolate=False)  # a password may hold ${
    except UnicodeDecodeError:
        raise InputError(f"{printable(file)}: not UTF-8; save it as UTF-8 text") from None
    for key, value in values.items():
        if value:
            environment.setdefault(key, value)
    return file


def _folders() -> list[Path]:
    """The project's folder and those above it, ending with the one that holds the git repository."""
    root = project_root().resolve()
    folders = [root, *root.parents]
    top = next((index for index, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    return folders[: top + 1]

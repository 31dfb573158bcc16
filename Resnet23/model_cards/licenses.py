"""The licence of the trained weights, in the words that Hugging Face's hub knows."""

import difflib
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata

from loguru import logger

from Resnet23.errors import InputError

PACKAGE = "Resnet23"
UNDECIDED = "as you decide"
# The hub's identifiers that are known here, of https://huggingface.co/docs/hub/repositories-licenses; any other is
# written as `other`.
KNOWN = (
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear",
    "bsl-1.0", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "creativeml-openrail-m", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl", "gpl",
    "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by",
    "ofl-1.1", "openrail", "osl-3.0", "other", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
)  # fmt: skip


@dataclass(frozen=True)
class License:
    """The licence of the weights; `identifier` is the hub's, `name` what one is called that is not in KNOWN."""

    identifier: str
    name: str | None
    text: str


def weights_license(name: str | None) -> License:
    """What the user says of the licence of the weights; None: nothing has been decided.

    Raises InputError for an empty name or one with line breaks.
    """
    if name is None:
        return License("unknown", None, UNDECIDED)
    if not name.strip() or not name.isprintable():
        raise InputError(f"--license: found {name!r}, expected an identifier such as mit, apache-2.0 or cc-by-nc-4.0")
    identifier = name.strip().lower()
    if identifier in KNOWN:
        return License(identifier, None, identifier)
    nearest = difflib.get_close_matches(identifier, KNOWN, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    logger.warning(
        f"--license: {name} is not among the identifiers known here, so it is written as a licence of your own{hint}"
    )
    return License("other", re.sub(r"[^a-z0-9.]+", "-", identifier).strip("-") or "own", name.strip())


def code_license() -> str:
    """The licence of this project's code, as the installed package states it."""
    try:
        return metadata(PACKAGE).get("License-Expression") or "see the file LICENSE"
    except PackageNotFoundError:
        return "see the file LICENSE"

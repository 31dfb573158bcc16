"""Where a user's own images lie: in a folder, in an archive, or in one that has to be downloaded first."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from loguru import logger

from Resnet23.config import DATA_DIR, RAW_DIR, DataParams
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.places import public_form
from Resnet23.sources.archive import DamagedArchive, extract_archive
from Resnet23.sources.download import download, is_url

EXTRACTED_DIR = DATA_DIR / "interim" / "extracted"
NAMED = 3  # how many of the ignored files a log line names
SPELLING = r"when bytes that are not UTF-8 are written as \xNN"


def locate(data: DataParams, marks: Sequence[str]) -> Path:
    """The folder of `data.source`, a folder, an archive or the URL of one; archives are downloaded and extracted.

    Archives often hold one folder that holds everything; the folder that has one of `marks` in it is not left for one
    inside. Raises InputError when no source is named or nothing is there.
    """
    if data.source is None:
        raise InputError(
            f"data.source: found null, expected your images (data.dataset: {data.dataset}): a folder, archive or URL"
        )
    path = _downloaded(data.source) if is_url(data.source) else Path(os.path.expanduser(data.source))
    if os.path.isdir(path):  # pathlib's would fail for a name that is too long
        return path
    if not os.path.exists(path):
        raise InputError(
            f"data.source: {printable(path)} does not exist; expected the folder or archive of your images"
        )
    try:
        extract_archive(path, EXTRACTED_DIR)
    except DamagedArchive:
        if is_url(data.source):
            path.unlink()  # so that the next run gets it again
        raise
    root = EXTRACTED_DIR
    while len(inside := subfolders(root)) == 1 and not any((root / mark).exists() for mark in marks):
        root = inside[0]
    return root


def subfolders(folder: Path) -> list[Path]:
    """The folders inside, hidden ones and macOS's archive metadata left out, sorted by their printable names."""
    return sorted(filter(is_visible_folder, folder.iterdir()), key=lambda path: printable(path.name))


def is_visible_folder(path: Path) -> bool:
    """Whether `path` is a folder, neither hidden nor macOS's archive metadata."""
    return path.is_dir() and not path.name.startswith((".", "__MACOSX"))


def relative_name(path: Path, root: Path) -> str:
    """The printable name of a file as seen from `root`, with forward slashes."""
    return printable(path.relative_to(root).as_posix())


def report_ignored(root: Path, ignored: Sequence[Path], expected: str) -> None:
    """One line that counts what was left out, so that nothing is lost in silence."""
    if ignored:
        names = ", ".join(relative_name(path, root) for path in ignored[:NAMED])
        more = ", ..." if len(ignored) > NAMED else ""
        logger.info(f"{printable(root)}: ignored as no {expected}: {len(ignored)} ({names}{more})")


def _downloaded(url: str) -> Path:
    """The archive at `url` as a file in data/raw; there is no checksum to tell an earlier download's age."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "archive"
    target = RAW_DIR / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    if target.is_file():
        logger.info(f"{printable(target)}: downloaded before; delete it to get {public_form(url)} again")
    else:
        download(url, target)
    return target

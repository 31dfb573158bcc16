"""Atomic writes and file hashes.

Every file that the project leaves under data/, models/ or reports/ is written to a temporary name in the same
folder and then renamed. A reader never sees half a file, and an output that DVC has hard-linked to its cache is
replaced rather than overwritten, which would corrupt the cached copy.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from Resnet23.errors import InputError, Resnet23Error, ResourceError

TEMPORARY_NAME = re.compile(r"\.writing-(\d+)-")  # with the number of the process that writes
CHUNK_BYTES = 1 << 20
# How libraries that are not written in Python tell of it: those of safetensors and SQLite, for example.
DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|disk is full")
INTEGERS = re.compile(r"\[\n\s+(-?\d+(?:,\n\s+-?\d+)*)\n\s+\]")  # in indented JSON, whose strings hold no line breaks


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an exception.

    Raises ResourceError when the disk is full and InputError when the folder cannot be written to.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(), suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: str | Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` for writing; rename it to `path` when the block succeeds.

    `mode` is "w" (UTF-8 text) or "wb"; `options` go to `open`.
    """
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
    with atomic_path(path) as temporary, open(temporary, mode, **options) as file:
        yield file


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty temporary folder; put it in the place of the folder `path` when the block succeeds."""
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=temporary_prefix()))
        retired = temporary.with_name(temporary.name + ".old")
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                os.replace(path, retired)
            os.replace(temporary, path)
        finally:
            if retired.exists() and not path.exists():  # stopped, or failed, between the two renames
                os.replace(retired, path)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(retired, ignore_errors=True)


def temporary_prefix() -> str:
    """How the names of this process's temporary files and folders begin."""
    return f".writing-{os.getpid()}-"


def sweep(folder: Path) -> None:
    """Remove what processes that are gone, killed while they wrote, have left in `folder`."""
    for entry in folder.iterdir():
        if (found := TEMPORARY_NAME.match(entry.name)) and not _is_alive(int(found[1])):
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)


def require_writable(folder: str | Path) -> None:
    """Make `folder` if it is missing and raise InputError when no file can be written into it.

    For commands that compute for long before they save: a read-only folder is found first, not last.
    """
    with storage_errors(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically, a list of integers on one line.

    NaN and infinity, which JSON does not know, raise ValueError.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    text = INTEGERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    with atomic_write(path) as file:
        file.write(text + "\n")


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def printable(name: str | Path) -> str:
    r"""A file name as valid UTF-8: bytes that are not UTF-8 become \xNN, so that it fits into a CSV or a message."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_text(path: Path) -> bool:
    """Whether the absolute form of `path` is valid UTF-8, as DVC and MLflow need it to be of the project's folder."""
    return printable(path.absolute()) == str(path.absolute())


class CsvLines:
    """Where csv.writer can write rows whose cells hold anything; they end with a line feed alone.

    Up to Python 3.12 csv quotes a cell for a line break in it only where that belongs to the end of its own rows, so
    that a carriage return in a name would end a row there. Rows therefore come with both, and lose one of them here.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> None:
        """Pass on one row."""
        self._file.write(row.removesuffix("\r\n") + "\n")


def storage_error(error: OSError, path: str | Path) -> Resnet23Error | None:
    """The operating system's answer about storage as an error that names the file; None for any other answer."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"{printable(path)}: the disk is full; free some space and run the command again")
    if error.errno == errno.EFBIG:
        return ResourceError(f"{printable(path)}: larger than the file system or `ulimit -f` allows; work elsewhere")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        reason = os.strerror(error.errno).lower()
        return InputError(f"{printable(path)}: no access ({reason}); change the permissions, or work elsewhere")
    return None


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise storage errors that name `path`, rather than a temporary file beside it or no file at all."""
    try:
        yield
    except Resnet23Error:
        raise
    except Exception as error:
        if explained := find_storage_error(error, path):
            raise explained from error
        raise


def find_storage_error(error: BaseException | None, path: str | Path) -> Resnet23Error | None:
    """The storage error that `error` is, or the full disk behind it: libraries raise errors of their own in its place.

    A refused access behind it may have been expected and dealt with, and tells nothing of `error`.
    """
    if isinstance(error, OSError) and (explained := storage_error(error, path)):
        return explained
    while error is not None:
        full = storage_error(error, path) if isinstance(error, OSError) else None
        if isinstance(full, ResourceError):
            return full
        if DISK_FULL.search(str(error)):
            return storage_error(OSError(errno.ENOSPC, "from outside of Python"), path)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _is_alive(process: int) -> bool:
    """Whether a process of this number runs; yes where that cannot be asked without harm, as on Windows."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

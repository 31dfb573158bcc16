"""Tar and zip files from elsewhere: members read in memory by name, or all of them extracted safely."""

import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from Resnet23.errors import InputError, IntegrityError, ResourceError
from Resnet23.files import CHUNK_BYTES, atomic_folder, printable

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What the libraries raise on damaged bytes; ValueError and OSError also on names that no file can have.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError, OSError)


class DamagedArchive(IntegrityError):
    """An archive that cannot be read to its end."""


def read_members(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """The contents of the named files of a tar, compressed or not. Raises IntegrityError when one is missing."""
    contents = {}
    with _damage_errors(path), tarfile.open(path) as tar:
        for member in tar:
            if member.name in names and member.isreg():
                contents[member.name] = tar.extractfile(member).read()
    if missing := sorted(set(names) - set(contents)):
        raise IntegrityError(f"{printable(path)}: {', '.join(missing)} is not in the archive; get the file again")
    return contents


def extract_archive(path: Path, folder: Path) -> None:
    """Extract a zip or tar file in the place of `folder`.

    Only plain files and folders that stay inside `folder` are accepted: the whole archive is checked before anything
    is written. Raises DamagedArchive, IntegrityError when it has another member, InputError when it is no archive, and
    ResourceError when there is no room for its contents.
    """
    with _damage_errors(path):
        if zipfile.is_zipfile(path):
            _extract_zip(path, folder)
        elif tarfile.is_tarfile(path):
            _extract_tar(path, folder)
        elif path.name.lower().endswith(SUFFIXES):
            raise DamagedArchive(f"{printable(path)}: damaged or truncated archive; get the file again")
        else:
            raise InputError(f"{printable(path)}: not an archive; expected one of {', '.join(SUFFIXES)}")


def _extract_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            mode = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive was made on Windows
            _check_member(path, member.filename, mode in (0, stat.S_IFREG, stat.S_IFDIR))
            if member.flag_bits & 1:
                raise InputError(f"{printable(path)}: encrypted; extract it yourself and name the folder")
        _require_room(path, folder, sum(member.file_size for member in archive.infolist()))
        with atomic_folder(folder) as temporary:
            for member in archive.infolist():
                archive.extract(member, temporary)


def _extract_tar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        for member in members:
            _check_member(path, member.name, member.isreg() or member.isdir())
        _check_end(archive)
        _require_room(path, folder, sum(member.size for member in members))
        with atomic_folder(folder) as temporary:
            for member in members:  # contents only: owners, modes and times of strangers are no use here
                if source := archive.extractfile(member):  # None for a folder
                    target = temporary / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with source, target.open("wb") as file:
                        shutil.copyfileobj(source, file)


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise tarfile.ReadError unless the tar ends as one does; read what is compressed to its end.

    To the library a tar that was cut between two members is a shorter one. And only the last bytes of a compressed file
    tell whether all before them are right.
    """
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end after {len(archive.getmembers()):,} members")
    while archive.fileobj.read(CHUNK_BYTES):
        pass


def _require_room(path: Path, folder: Path, size: int) -> None:
    """Raise ResourceError when `size` bytes do not fit onto the disk of `folder`, before it is filled."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if size > free:
        raise ResourceError(
            f"{printable(path)}: its contents need {size / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free in "
            f"{printable(folder.parent)}: the disk is full; free some space and run the command again"
        )


def _check_member(path: Path, name: str, is_plain: bool) -> None:
    parts = PureWindowsPath(name)  # knows both kinds of slashes, and drives
    if parts.root or parts.is_absolute() or ".." in parts.parts:
        raise IntegrityError(
            f"{printable(path)}: member {printable(name)!r} would leave the folder; nothing was extracted"
        )
    if not is_plain:
        raise IntegrityError(
            f"{printable(path)}: member {printable(name)!r} is neither file nor folder; nothing was extracted"
        )


@contextmanager
def _damage_errors(path: Path) -> Iterator[None]:
    """Turn what the decompressors raise into one error that names the archive."""
    try:
        yield
    except NotImplementedError as error:  # of zip files, for example Deflate64
        raise InputError(
            f"{printable(path)}: packed in an unknown way ({error}); extract it yourself and name the folder"
        ) from None
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's answer, not the decompressor's
            raise
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise DamagedArchive(
            f"{printable(path)}: damaged or truncated archive ({reason}); get the file again"
        ) from None

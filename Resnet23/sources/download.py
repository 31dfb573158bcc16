"""Downloads that survive bad networks: bounded retries, resumption, and a final name for complete files only."""

import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from loguru import logger
from tqdm import tqdm

from Resnet23.errors import InputError, IntegrityError
from Resnet23.files import CHUNK_BYTES, storage_errors
from Resnet23.places import public_form

ATTEMPTS = 6
CONNECT_ATTEMPTS = 3
CONNECT_SECONDS = 5.0  # the first attempt waits this long for an answer, later ones READ_SECONDS
READ_SECONDS = 30.0
BACKOFF_SECONDS = 1.0  # before the second attempt; doubled before each further one
SLOWEST, SLOW_SECONDS = 1000, 60.0  # bytes a second, over this long: an attempt that brings fewer has failed
RETRIED_STATUS = (408, 416, 429, 500, 502, 503, 504)
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


def is_url(text: str) -> bool:
    """Whether a source is a web address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def download(url: str, target: Path, md5: str | None = None, connect_attempts: int = CONNECT_ATTEMPTS) -> None:
    """Download `url` to `target` by way of `target`.part, where an interrupted download is taken up again.

    A server that sends nothing is tried `connect_attempts` times; once it has answered, ATTEMPTS times in all. Raises
    InputError when the file cannot be had, IntegrityError when its MD5 differs, and ResourceError when the disk is
    full: `target` is then as it was.
    """
    part = target.with_name(target.name + ".part")
    with storage_errors(part):
        target.parent.mkdir(parents=True, exist_ok=True)
        if md5 is None:
            part.unlink(missing_ok=True)  # nothing would tell that it is half of an older version
        try:
            _fetch_with_retries(url, part, connect_attempts)
            if md5 is not None and (actual := md5_file(part)) != md5:
                part.unlink()
                raise wrong_checksum(public_form(url), md5, actual)
            os.replace(part, target)
        finally:
            if md5 is None:
                part.unlink(missing_ok=True)


def md5_file(path: Path) -> str:
    """The MD5 of a file's bytes, which is what the publishers of older data sets give."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def wrong_checksum(origin: str, expected: str, actual: str) -> IntegrityError:
    """The error for a file that is not the published one."""
    return IntegrityError(f"{origin}: wrong checksum: expected {expected}, found {actual}; get the file again")


def _fetch_with_retries(url: str, part: Path, connect_attempts: int) -> None:
    allowed = connect_attempts
    for attempt in range(1, ATTEMPTS + 1):
        size_before = _size(part)
        try:
            _fetch(url, part, CONNECT_SECONDS if attempt == 1 else READ_SECONDS)
            return
        except http.client.InvalidURL:  # its text quotes what stands around the port, a password even
            raise InputError(f"{public_form(url)}: not a valid web address") from None
        except urllib.error.HTTPError as error:
            reason = f"HTTP status {error.code}"
            allowed = ATTEMPTS if error.code in RETRIED_STATUS else attempt
            if error.code == 416:  # the server's file is not longer than our part
                part.unlink(missing_ok=True)
        except NETWORK_ERRORS as error:
            reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
            allowed = ATTEMPTS if _size(part) > size_before else allowed
        if attempt >= allowed:
            raise InputError(f"{public_form(url)}: cannot be downloaded ({reason}; attempts: {attempt})")
        delay = BACKOFF_SECONDS * 2 ** (attempt - 1)
        logger.info(f"{public_form(url)}: {reason}; trying again in {delay:g} s, from byte {_size(part):,}")
        time.sleep(delay)


def _fetch(url: str, part: Path, timeout: float) -> None:
    """One request for the bytes that `part` still lacks. Raises one of NETWORK_ERRORS when they do not all arrive."""
    start = _size(part)
    headers = {"User-Agent": "Resnet23"} | ({"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0  # the server sends the whole file
        total = None if response.length is None else start + response.length
        _copy(response, part, start, total)
    if total is not None and _size(part) != total:
        raise ConnectionError(f"the connection ended after {_size(part):,} of {total:,} bytes")


def _copy(response: http.client.HTTPResponse, part: Path, start: int, total: int | None) -> None:
    """Append the body of a response to `part`, or replace `part` where `start` is 0."""
    bar = tqdm(total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None)
    with bar, open(part, "ab" if start else "wb") as file:
        for chunk in _chunks(response):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body in pieces as they arrive. Raises ConnectionError when they trickle, which no time-out of a read sees."""
    since, received = time.monotonic(), 0
    while chunk := _read(response):
        yield chunk
        received += len(chunk)
        passed = time.monotonic() - since
        if passed > SLOW_SECONDS:
            if received < SLOWEST * passed:
                raise ConnectionError(f"{received:,} bytes in {passed:.0f} s are too few")
            since, received = time.monotonic(), 0


def _read(response: http.client.HTTPResponse) -> bytes:
    """What has arrived, b"" at the end; of errors one of NETWORK_ERRORS, which those of writing files never are."""
    try:
        return response.read1(CHUNK_BYTES)
    except OSError as error:  # a plain one, for example, where the route to the server is lost
        raise ConnectionError(str(error)) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

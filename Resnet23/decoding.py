"""The PNG files of a manifest, decoded and measured by several processes, in memory that does not grow with them."""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from tqdm import tqdm

from Resnet23.duplicates import difference_hashes
from Resnet23.errors import InputError, ResourceError
from Resnet23.files import printable
from Resnet23.imagefiles import read_png
from Resnet23.processed import SPLITS, ManifestRow

CHUNK_IMAGES = 1000
CHUNK_BYTES = 1 << 24
IMAGE_COST = 2000  # pixels that take as long to decode as a file takes to open
WORTH_PROCESSES = 20_000_000  # pixels, about 2 s of one processor; starting processes takes half a second
MOST_PROCESSES = 61  # of a pool on Windows
# What is known of an image once its pixels have been seen; sums over its pixels, per channel.
RECORD = np.dtype(
    [("sum", np.int64, 3), ("sum_of_squares", np.int64, 3), ("digest", np.uint64, 4), ("hash", np.uint64)]
)


@dataclass(frozen=True)
class Chunk:
    """Some images of one split, and the place in the .npy file where they go, if they are kept."""

    folder: Path
    rows: Sequence[ManifestRow]
    size: int  # pixels
    output: Path | None
    offset: int  # bytes


def decode_images(
    folder: Path, rows: Sequence[ManifestRow], outputs: Mapping[str, Path], size: int, processes: int | None = None
) -> tuple[np.ndarray, dict[str, str]]:
    """Decode the images of each split into the .npy file `outputs[split]`, (N, size, size, 3) uint8, if it names one.

    Gives a RECORD for each row, training images first, and for each bad file what is wrong with it; its pixels are
    black. `processes` defaults to what pays for this number of images.
    """
    chunks = [chunk for split in SPLITS for chunk in _plan(folder, rows, split, outputs.get(split), size)]
    processes = processes or _useful_processes(chunks)
    records, bad = [np.empty(0, RECORD)], {}
    with (
        tqdm(total=len(rows), desc="decoding", unit=" images", disable=None) as progress,
        closing(_decode_chunks(chunks, processes)) as results,
    ):
        for chunk_records, chunk_bad in results:
            records.append(chunk_records)
            bad.update(chunk_bad)
            progress.update(len(chunk_records))
    return np.concatenate(records), bad


def decode_chunk(chunk: Chunk) -> tuple[np.ndarray, dict[str, str]]:
    """Decode the images of a chunk, write them to their place, and give their records and the bad files."""
    images = np.zeros((len(chunk.rows), chunk.size, chunk.size, 3), np.uint8)
    bad = {}
    for image, row in zip(images, chunk.rows, strict=True):
        path = chunk.folder / row.file
        try:
            image[:] = read_png(path, row.sha256, chunk.size)
        except InputError as error:
            bad[row.file] = str(error).removeprefix(f"{printable(path)}: ")
    if chunk.output is not None:
        with open(chunk.output, "rb+") as file:  # not through a memory map: on a full disk that would kill the process
            file.seek(chunk.offset)
            file.write(images.data)
    return measure(images), bad


def measure(images: np.ndarray) -> np.ndarray:
    """A RECORD for each image, (N, H, W, 3) uint8 to (N,): whole numbers only, so that chunks do not matter."""
    records = np.empty(len(images), RECORD)
    for channel in range(3):
        values = images[..., channel].reshape(len(images), -1).astype(np.int64)  # (N, H * W)
        records["sum"][:, channel] = values.sum(axis=1)
        records["sum_of_squares"][:, channel] = np.einsum("np,np->n", values, values)
    records["digest"] = [np.frombuffer(hashlib.sha256(image.tobytes()).digest(), np.uint64) for image in images]
    records["hash"] = difference_hashes(images)
    return records


def _plan(folder: Path, rows: Sequence[ManifestRow], split: str, output: Path | None, size: int) -> Iterator[Chunk]:
    """Cut a split into chunks, and write the header of its .npy file, if it is to have one."""
    rows = [row for row in rows if row.split == split]
    start = _write_header(output, (len(rows), size, size, 3)) if output else 0
    image_bytes = size * size * 3
    step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // image_bytes))
    for begin in range(0, len(rows), step):
        yield Chunk(folder, rows[begin : begin + step], size, output, start + begin * image_bytes)


def _write_header(output: Path, shape: tuple[int, ...]) -> int:
    """Begin a .npy file of uint8; the number of bytes before the first value."""
    with open(output, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return file.tell()


def _decode_chunks(chunks: Sequence[Chunk], processes: int) -> Iterator[tuple[np.ndarray, dict[str, str]]]:
    """The results of the chunks, in their order."""
    if processes == 1:
        yield from map(decode_chunk, chunks)
        return
    # Spawned, not forked, on every system: a fork copies locks that threads hold, as progress bars have one.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _start_process)
    try:
        yield from pool.map(decode_chunk, chunks)
    except BrokenProcessPool:
        raise ResourceError("a decoding process was killed, most likely for want of memory; run it again") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _useful_processes(chunks: Sequence[Chunk]) -> int:
    """One per processor and chunk, but only one where starting more costs more than it saves."""
    work = sum(len(chunk.rows) * (IMAGE_COST + chunk.size**2) for chunk in chunks)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, len(chunks), MOST_PROCESSES) if work > WORTH_PROCESSES else 1


def _start_process() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)

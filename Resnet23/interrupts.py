"""Signals that wait for a good moment, and the parent process whose end counts as one."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Opened = TypeVar("Opened")


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Hold SIGINT and SIGTERM back while the block runs, and deliver the first of them when it ends.

    Gives the list of the signals that have come so far: whoever works in the block looks at it from time to time and
    leaves. Outside the main thread, where Python handles no signals, the list stays empty.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return

    def remember(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    handlers = {number: signal.signal(number, remember) for number in SIGNALS}
    try:
        yield arrived
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if arrived:
        signal.raise_signal(arrived[0])


@contextmanager
def opening(create: Callable[[], AbstractContextManager[Opened]]) -> Iterator[Opened]:
    """What `create` gives, as in a `with` statement of its own; signals wait until it is open, so that it gets closed.

    For what takes its time to open and should not be left open, such as a run in the experiment tracker.
    """
    with ExitStack() as stack:
        with deferred_signals():
            opened = stack.enter_context(create())
        yield opened


def dvc_process() -> psutil.Process | None:
    """The process of `dvc repro` when this one is a DVC stage, else None.

    DVC that is killed leaves its stages running; a stage that watches this process can end as well. There may be a
    shell or a launcher between the two.
    """
    if "DVC_STAGE" not in os.environ:
        return None
    parents = psutil.Process().parents()
    return next((parent for parent in parents if _is_dvc(parent)), None)


def _is_dvc(process: psutil.Process) -> bool:
    """Whether a command line begins with dvc, or with the Python that runs it: `python -m dvc repro`."""
    try:
        return "dvc" in [Path(argument).stem for argument in process.cmdline()[:3]]
    except psutil.Error:  # it has ended, or belongs to somebody else
        return False


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or a zombie: it has ended and whoever started it has not noticed yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

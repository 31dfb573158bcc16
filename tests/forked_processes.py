"""Processes forked from one that has imported the training already, so that they start in a tenth of a second.

There is one such process for all tests, as multiprocessing knows no other way. Where nothing can be forked, as on
Windows, each process imports what it needs itself. No pytest in here: every process would import it.
"""

import importlib
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple, NoReturn

from Resnet23.command import run_command

FORKING = "forkserver" in multiprocessing.get_all_start_methods()
PROCESSES = multiprocessing.get_context("forkserver" if FORKING else "spawn")
PRELOADED = ["Resnet23.modeling.train"]
PROCESSES.set_forkserver_preload(PRELOADED)


class Command(NamedTuple):
    """A command of the project in a process of its own, and the file that it prints to."""

    process: BaseProcess
    output: Path

    def lines(self) -> list[str]:
        """What it has printed so far."""
        return self.output.read_text(encoding="utf-8").splitlines()

    def wait(self, seconds: float = 120) -> int:
        """Its exit code, negative the signal that killed it; one that is still running then is killed and fails."""
        self.process.join(seconds)
        if self.process.is_alive():
            self._give_up(f"has not ended within {seconds} s")
        return self.process.exitcode

    def wait_for_line(self, start: str, seconds: float = 120) -> None:
        """Wait until it has printed a line that begins so, or has ended."""
        self._wait_until(lambda: any(line.startswith(start) for line in self.lines()), f"no line {start!r}", seconds)

    def wait_for_handlers(self, seconds: float = 120) -> None:
        """Wait until a signal ends it as it ends a command, which it tells of within its first milliseconds."""
        self._wait_until(lambda: _catches(self.process.pid, signal.SIGTERM), "it does not handle SIGTERM", seconds)

    def _wait_until(self, happened: Callable[[], bool], otherwise: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.process.is_alive() and not happened():
            if time.monotonic() > deadline:
                self._give_up(f"{otherwise} within {seconds} s")
            time.sleep(0.001)

    def _give_up(self, reason: str) -> NoReturn:
        self.process.kill()
        self.process.join()
        raise AssertionError("\n".join([f"process {self.process.pid}: {reason}; it has printed:", *self.lines()]))


def start(
    folder: Path, module: str, *arguments: str, memory: int | None = None, before: Callable[[], None] | None = None
) -> Command:
    """Start `python -m module arguments` in the project `folder`, as the shell would.

    `memory` is how many bytes it may take beyond those that its imports take, on Linux only; `before` is called in the
    process first.
    """
    output = folder.with_name(f"{folder.name}.log")
    output.write_text("", encoding="utf-8")
    process = PROCESSES.Process(target=_run, args=(folder, module, arguments, output, memory, before))
    process.start()
    return Command(process, output)


def _run(
    folder: Path,
    module: str,
    arguments: tuple[str, ...],
    output: Path,
    memory: int | None,
    before: Callable[[], None] | None,
) -> None:
    os.chdir(folder)
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = [module, *arguments]
    main = importlib.import_module(module).main
    if before:
        before()
    if memory is not None:
        _limit_memory(memory)
    run_command(main)


def _limit_memory(more: int) -> None:
    """Let this process have so many bytes of address space more than it has, which Linux tells."""
    import resource  # which Windows has not

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _catches(process: int, number: int) -> bool:
    """Whether a process handles a signal itself."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has ended
        return False
    caught = int(re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)[1], 16)
    return bool(caught >> (number - 1) & 1)

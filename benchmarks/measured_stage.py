"""Run one stage in the current project and print, as JSON, how long it took and how much memory it held.

    python -m benchmarks.measured_stage features

A program of its own, started by `growth` and `reading`, because memory once used stays with a process. It
imports nothing that the stage does not: decoding processes import it again.
"""

import json
import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

STAGES = {
    "datadownload": "Resnet23.datadownload",
    "features": "Resnet23.features",
    "train": "Resnet23.modeling.train",
    "predict": "Resnet23.modeling.predict",
    "plots": "Resnet23.plots",
}
PERIOD = 0.01  # seconds between looks
KINDS = {"RssAnon": "anonymous", "RssFile": "file"}  # what only this process holds, and pages that can be read again


def memory_of(process: int) -> dict[str, int]:
    """The bytes of a process that are in memory, by kind; none of a process that is gone."""
    found = dict.fromkeys(KINDS.values(), 0)
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, value = line.partition(":")
        if name in KINDS:
            found[KINDS[name]] = 1024 * int(value.split()[0])
    return found


def children_of(process: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    try:
        files = list(Path(f"/proc/{process}/task").glob("*/children"))
        direct = [int(number) for file in files for number in file.read_text(encoding="ascii").split()]
    except OSError:
        return []
    return direct + [each for child in direct for each in children_of(child)]


class PeakMemory:
    """The most that this process and its children held at once, by kind, while the block ran."""

    def __init__(self) -> None:
        self.peak = dict.fromkeys(KINDS.values(), 0)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(PERIOD):
            self._look()

    def _look(self) -> None:
        held = [memory_of(process) for process in (os.getpid(), *children_of(os.getpid()))]
        for kind in self.peak:
            self.peak[kind] = max(self.peak[kind], sum(each[kind] for each in held))


def main(stage: str) -> None:
    """Import the stage, look at the memory, run the stage, and look at it all the while."""
    module = import_module(STAGES[stage])
    bare = memory_of(os.getpid())
    started = time.perf_counter()
    with PeakMemory() as memory:
        module.main()
    seconds = time.perf_counter() - started
    measured = {"seconds": seconds, "imported_bytes": bare["anonymous"], "imported_file_bytes": bare["file"]}
    print(json.dumps(measured | {f"{kind}_bytes": most for kind, most in memory.peak.items()}))


if __name__ == "__main__":
    main(sys.argv[1])

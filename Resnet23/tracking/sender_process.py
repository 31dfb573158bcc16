"""The other end of `Resnet23.tracking.sender`: the process that sends a run to the remote while the work goes on."""

import contextlib
import os
import subprocess
import sys

from loguru import logger

from Resnet23.environment import project_root


class SenderProcess:
    """A child process that copies one run to the remote; it outlives this process until all is sent.

    Nothing here waits: a message that does not fit into the pipe is dropped, and the next says the same.
    """

    def __init__(self, run_id: str, announce: bool) -> None:
        """Start it; with `announce` it prints the address of the run's page once that exists."""
        command = [sys.executable, "-m", "Resnet23.tracking.sender", run_id]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [*command, *(["--announce"] if announce else [])],
                cwd=project_root(),  # a temporary experiment's own folder goes away before the child ends
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the training; the child still sends how that ended
            )
            os.set_blocking(self._process.stdin.fileno(), False)
        except OSError as error:
            logger.warning(f"tracking: runs are kept here only, the sender does not start ({error})")

    def epoch(self) -> None:
        """Say that there is more to send."""
        self._tell(b"epoch\n")

    def end(self) -> None:
        """Say that the run is closed. Without this the child takes the end of this process for a violent one."""
        self._tell(b"end\n")
        if self._process:
            self._process.stdin.close()

    def _tell(self, message: bytes) -> None:
        if self._process is None:
            return
        with contextlib.suppress(OSError):  # the pipe is full, or the child has ended
            os.write(self._process.stdin.fileno(), message)

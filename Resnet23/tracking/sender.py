"""The process that sends one run to the remote while the work goes on; `Resnet23.tracking.sender_process` starts it.

It reads lines from its input: `epoch` when there is more to send, `end` when the run is closed. When the input ends
without that, whoever worked on the run was killed, and the run is closed as KILLED. Trouble with the remote costs one
warning; `make sync-tracking` sends later what did not arrive.
"""

import logging
import os
import queue
import sys
import threading
import time
from typing import Annotated

import typer
from filelock import FileLock, Timeout
from loguru import logger

from Resnet23.command import run_command
from Resnet23.tracking.breaker import CircuitBreaker
from Resnet23.tracking.destination import Remote, connect, find_remote
from Resnet23.tracking.failures import is_refusal, reason
from Resnet23.tracking.ownership import is_abandoned
from Resnet23.tracking.store import PARENT, active_runs, find_run, run_lock, store_client
from Resnet23.tracking.transfer import RunTransfer

REQUEST_SECONDS = 5
LEAST_SECONDS_BETWEEN = 2  # epochs may be shorter
LAST_PAUSES = (0, 5, 20)  # seconds before each attempt to send what is left, once the work has ended
EXIT_SECONDS = 1  # a process that is killed closes its files a moment before it is gone
OUTPUT_SECONDS = 20  # after the work's end a warning may still come, and no later
LOCK_SECONDS = 1200  # longer than the sender of an earlier stage lives after its end
LATER = "the run is kept in mlruns; `make sync-tracking` sends it later"


class Sender:
    """Sends a run, and the runs below it, as far as the remote lets it."""

    def __init__(self, run_id: str, remote: Remote, announce: bool) -> None:
        self._run_id = run_id
        self._remote = remote
        self._announce = announce
        self._told = run_lock(run_id).with_suffix(".told")  # by the sender of an earlier stage of the same run
        self._warned = self._told.exists()
        self._transfers: dict[str, RunTransfer] = {}
        self._local = store_client()
        self._client = connect(remote, REQUEST_SECONDS)
        self.breaker = CircuitBreaker()

    def send(self) -> bool:
        """Send what is new; False after a failure, of which only the first is told."""
        try:
            for run_id in [self._run_id, *self._children()]:
                self._transfer(run_id).send()
        except Exception as error:
            self._transfers.clear()
            self.breaker.failed(for_good=is_refusal(error))
            self._warn(error)
            return False
        self.breaker.succeeded()
        self._told.unlink(missing_ok=True)
        if self._announce:
            self._announce = False
            copy = self._transfers[self._run_id].copy
            logger.info(f"tracking: {self._remote.run_page(copy.info.experiment_id, copy.info.run_id)}")
        return True

    def close_killed(self) -> None:
        """Close the run if whoever worked on it could not, and nobody has gone on with it since."""
        time.sleep(EXIT_SECONDS)
        run = find_run(self._local, self._run_id)
        if run and is_abandoned(run):
            self._local.set_terminated(self._run_id, "KILLED")

    def _transfer(self, run_id: str) -> RunTransfer:
        return self._transfers.setdefault(run_id, RunTransfer(self._local, self._client, run_id))

    def _children(self) -> list[str]:
        return [run.info.run_id for run in active_runs(self._local, f"tags.`{PARENT}` = '{self._run_id}'")]

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            text = self._remote.without_secrets(reason(error))
            logger.warning(f"tracking: {self._remote.uri} is not filled now, {text}; {LATER}")
            self._told.touch()
        self._warned = True


def follow(sender: Sender, messages: "queue.Queue[str]") -> None:
    """Send at every message until the last, then what is left, a few times if need be."""
    sender.send()
    message = "epoch"
    while message == "epoch":
        message = messages.get()
        while message == "epoch" and not messages.empty():
            message = messages.get()
        if message == "epoch" and sender.breaker.is_closed():
            sender.send()
            time.sleep(LEAST_SECONDS_BETWEEN)
    if message != "end":
        sender.close_killed()
    for pause in LAST_PAUSES:
        if sender.breaker.is_broken:
            return
        time.sleep(pause)
        if sender.send():
            return


def release_output_later() -> None:
    """Let go of the output that this process shares with the work, so that nobody who reads it waits for the rest."""

    def release() -> None:
        logger.remove()
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stderr.fileno())

    timer = threading.Timer(OUTPUT_SECONDS, release)
    timer.daemon = True
    timer.start()


def read_messages() -> "queue.Queue[str]":
    """The lines of the standard input as they come, and "" when it ends, which is when the work has."""
    messages: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            messages.put(line.strip())
        messages.put("")
        release_output_later()

    threading.Thread(target=read, daemon=True).start()
    return messages


def main(
    run_id: Annotated[str, typer.Argument(help="The run in the local store.")],
    announce: Annotated[bool, typer.Option("--announce", help="Print the address of the run's page.")] = False,
) -> None:
    """Send a run to the remote until the standard input ends."""
    logging.disable()  # what the libraries log; what matters arrives as exceptions
    if hasattr(os, "nice"):
        os.nice(10)  # the training comes first
    messages = read_messages()
    try:
        remote = find_remote()
        with FileLock(run_lock(run_id), timeout=LOCK_SECONDS):
            follow(Sender(run_id, remote, announce), messages)
    except Timeout:
        logger.warning(f"tracking: another process has been sending the run for {LOCK_SECONDS} seconds; {LATER}")
    except Exception as error:
        logger.warning(f"tracking: nothing is sent to the remote, {reason(error)}; {LATER}")


if __name__ == "__main__":
    run_command(main)

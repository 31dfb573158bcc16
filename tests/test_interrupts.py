"""Signals that wait, and the DVC process whose end counts as one."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil
import pytest
from small_project import REPOSITORY

from Resnet23.errors import Terminated
from Resnet23.interrupts import SIGNALS, deferred_signals, dvc_process, has_ended, opening

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def delivered() -> Iterator[list[int]]:
    """The signals that have reached the handlers which were there before."""
    numbers: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: numbers.append(number)) for number in SIGNALS}
    yield numbers
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.fault(14)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_for_the_end_of_the_block(number, delivered):
    with deferred_signals() as arrived:
        assert arrived == []
        os.kill(os.getpid(), number)
        signal.raise_signal(number)
        assert (arrived, delivered) == ([number, number], [])
    assert delivered == [number]


def test_of_several_signals_the_first_is_delivered(delivered):
    with deferred_signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert delivered == [signal.SIGTERM]


def test_the_handlers_are_those_of_before_also_after_an_error(delivered):
    before = [signal.getsignal(number) for number in SIGNALS]
    with deferred_signals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(ZeroDivisionError), deferred_signals():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert delivered == []


def test_a_block_without_signals_delivers_none(delivered):
    with deferred_signals() as arrived:
        pass
    assert (arrived, delivered) == ([], [])


def test_outside_the_main_thread_nothing_is_held_back(delivered):
    before, seen = [signal.getsignal(number) for number in SIGNALS], []

    def work() -> None:
        with deferred_signals() as arrived:
            seen.append([signal.getsignal(number) for number in SIGNALS])
            seen.append(list(arrived))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, []]


@pytest.mark.fault(14)
def test_what_was_open_when_a_signal_came_is_closed():
    """A signal that comes while it opens would otherwise come before the `with` statement knows of it."""
    seen = []

    def stop(number: int, _: object) -> None:
        raise Terminated(number)

    @contextmanager
    def closing() -> Iterator[str]:
        try:
            yield "open"
        except Terminated:
            seen.append("closed")
            raise

    def create() -> AbstractContextManager[str]:
        signal.raise_signal(signal.SIGTERM)
        seen.append("created")
        return closing()

    handler = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Terminated), opening(create):
            pytest.fail("the signal came before")
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert seen == ["created", "closed"]
    with opening(closing) as opened:
        assert opened == "open"


def test_without_dvc_there_is_no_process_to_watch(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert dvc_process() is None


FAKE_DVC = """
import os, subprocess, sys
print(os.getpid(), flush=True)
subprocess.run(["/bin/sh", "-c", sys.argv[1]], check=True)
"""


@pytest.mark.fault(24)
@pytest.mark.parametrize("command", ["exec {0}", "{0}; true", "bash -c '{0}; true'; true"])
def test_the_process_of_dvc_is_found_behind_any_number_of_shells(command, tmp_path):
    (tmp_path / "dvc").write_text(FAKE_DVC)
    program = f'{sys.executable} -c "from Resnet23.interrupts import dvc_process; print(dvc_process().pid)"'
    environment = {**os.environ, "DVC_STAGE": "train", "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, str(tmp_path / "dvc"), command.format(program)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    dvc, found = result.stdout.split()
    assert found == dvc


def test_a_process_has_ended_also_when_nobody_has_waited_for_it():
    child = subprocess.Popen(SLEEP)
    process = psutil.Process(child.pid)
    assert not has_ended(process)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert has_ended(process)
    child.wait()
    assert has_ended(process)

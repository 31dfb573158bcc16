"""How a module command ends: one line and the right exit code."""

import os
import subprocess
import sys
import textwrap

import click
import pytest

from Resnet23.command import explain
from Resnet23.errors import InputError, IntegrityError, ResourceError, Terminated


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a"), 2),
        (IntegrityError("a"), 3),
        (ResourceError("a"), 4),
        (OSError(28, "No space left on device", "x.npy"), 4),
        (MemoryError(), 4),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 4),
        (Terminated(2), 130),
        (Terminated(15), 143),
        (click.UsageError("No such option:\n --x"), 2),
        (ValueError("a"), 1),
    ],
)
def test_every_kind_of_failure_has_its_exit_code_and_one_line(error, code):
    line, found = explain(error)
    assert found == code
    assert line
    assert "\n" not in line


def run(body: str, *arguments: str, **streams: int) -> subprocess.CompletedProcess[str]:
    """Run a command whose `main` has this body, in a process of its own; its output is kept, or goes to `streams`."""
    program = f"""
        import os, signal, warnings
        from Resnet23.command import DebugOption, run_command
        from Resnet23.errors import InputError
        def main(debug: DebugOption = False) -> None:
            "A test."
            {body}
        run_command(main)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    streams = streams or {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(command, text=True, timeout=60, check=False, **streams)


def test_success_prints_nothing_of_its_own():
    result = run("pass")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_failure_is_one_line_and_debug_shows_the_traceback():
    result = run("raise InputError('params.yaml: wrong')")
    assert result.returncode == 2
    assert result.stderr == "error: params.yaml: wrong\n"
    result = run("raise InputError('params.yaml: wrong')", "--debug")
    assert result.returncode == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: params.yaml: wrong\n")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_unwinds_and_ends_with_its_code(name, code):
    result = run(f"""
            try:
                os.kill(os.getpid(), signal.{name})
                signal.pause()
            finally:
                print("cleaned up")
    """)
    assert result.returncode == code
    assert result.stdout == "cleaned up\n"
    assert result.stderr == f"error: stopped by {name}\n"


def test_an_unknown_option_is_a_usage_error():
    result = run("pass", "--nonsense")
    assert result.returncode == 2
    assert "--nonsense" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_warnings_are_one_log_line():
    result = run("warnings.warn('careful')")
    assert result.returncode == 0
    assert result.stderr.startswith("UserWarning: careful")


def test_a_misspelt_option_gets_a_suggestion_and_the_place_where_all_are_listed():
    result = run("pass", "--debgu")
    assert result.returncode == 2
    assert "No such option: --debgu; did you mean --debug? (see `" in result.stderr


def test_a_package_that_is_missing_is_named():
    line, code = explain(ModuleNotFoundError("No module named 'typer'", name="typer"))
    assert code == 2
    assert "typer is not installed" in line


SPEAKING = """
            import time
            from loguru import logger
            from tqdm import tqdm
            logger.info("a remark")
            for _ in tqdm(range(3), disable=None, mininterval=0):
                time.sleep(0.01)
            warnings.warn("careful")
            print("the answer")
"""


def in_terminal(*arguments: str) -> str:
    """What a person sees when a command that says everything runs in a terminal."""
    termios = pytest.importorskip("termios", reason="no terminals of this kind on Windows")
    shown, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    try:
        run(SPEAKING, *arguments, stdout=terminal, stderr=terminal)
        os.close(terminal)
        return read_all(shown)
    finally:
        os.close(shown)


def read_all(descriptor: int) -> str:
    """Everything up to the end, which a terminal that was closed reports as an error."""
    content = b""
    while True:
        try:
            content += os.read(descriptor, 1 << 16)
        except OSError:
            return content.decode()


def test_a_terminal_gets_a_bar_and_a_pipe_plain_lines():
    piped = run(SPEAKING)
    assert piped.stdout == "the answer\n"
    assert piped.stderr.startswith("a remark\nUserWarning: careful")
    assert not {"\r", "\x1b", "%"} & set(piped.stderr)
    seen = in_terminal()
    assert "a remark" in seen
    assert "3/3" in seen


def test_quiet_leaves_warnings_and_what_was_asked_for():
    piped = run(SPEAKING, "--quiet")
    assert piped.stdout == "the answer\n"
    assert piped.stderr.startswith("UserWarning: careful")
    seen = in_terminal("--quiet")
    assert seen.startswith("UserWarning: careful")
    assert seen.endswith("the answer\r\n")
    assert "\x1b" not in seen


def test_errors_are_red_in_a_terminal_unless_no_color_is_set(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31merror:" in in_terminal("--nonsense")
    monkeypatch.setenv("NO_COLOR", "1")
    assert in_terminal("--nonsense").startswith("error: No such option: --nonsense")

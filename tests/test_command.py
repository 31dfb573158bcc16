"""How a module command ends: one line and the right exit code."""

import subprocess
import sys
import textwrap

import click
import pytest

from Resnet23.command import explain
from Resnet23.errors import InputError, IntegrityError, ResourceError, Terminated


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a"), 2),
        (IntegrityError("a"), 3),
        (ResourceError("a"), 4),
        (OSError(28, "No space left on device", "x.npy"), 4),
        (MemoryError(), 4),
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


def run(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose `main` has this body, in a process of its own."""
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
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


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

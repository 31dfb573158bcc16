"""Errors whose text is written for the user, and the exit code of each kind."""

from collections.abc import Iterable

NAMED = 20


class Resnet23Error(Exception):
    """A failure with a one-line explanation: what was found, what was expected, how to fix it."""

    exit_code = 1


class Diverged(Resnet23Error):
    """A training whose loss is no longer a finite number."""


class InputError(Resnet23Error):
    """Bad input or configuration: the user can mend it."""

    exit_code = 2


class IntegrityError(Resnet23Error):
    """A wrong checksum, or a file that was tampered with or is not what its name says."""

    exit_code = 3


class ResourceError(Resnet23Error):
    """The machine ran out of disk or memory."""

    exit_code = 4


class Terminated(BaseException):
    """SIGINT or SIGTERM arrived. Not an Exception, so that no handler for ordinary failures swallows it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number  # as shells count: 130 and 143


def name_some(names: Iterable[str], most: int = NAMED, separator: str = ", ") -> str:
    """The first names, and how many more there are, so that a message stays readable."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def one_line(text: str) -> str:
    """`text` with line breaks and other characters that a terminal acts on written as escapes, such as \\n."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def missing_package(package: str, extra: str) -> InputError:
    """The error for a package that is not there and comes with one of the project's extras."""
    return InputError(
        f"the package {package} is not installed; in a clone: .venv/bin/pip install -r requirements-dev.txt, "
        f'elsewhere: pip install "Resnet23[{extra}]"'
    )

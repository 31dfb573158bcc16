"""Errors whose text is written for the user, and the exit code of each kind."""

from collections.abc import Iterable

NAMED = 20
OUT_OF_MEMORY = ("OutOfMemoryError", "ResourceExhaustedError")  # PyTorch's and TensorFlow's, of a GPU for the most part
# In messages of PyTorch on Linux and on Windows, of Linux, C++ and CUDA.
NO_MEMORY = ("allocate memory", "not enough memory", "out of memory", "bad_alloc", "ALLOC_FAILED")


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory left, of the machine or of a GPU, for which each library has words of its own."""
    if isinstance(error, MemoryError) or type(error).__name__ in OUT_OF_MEMORY:
        return True
    said = str(error) if isinstance(error, RuntimeError | OSError | ImportError) else ""
    return any(words in said for words in NO_MEMORY)


def missing_package(package: str, extra: str) -> InputError:
    """The error for a package that is not there and comes with one of the project's extras."""
    return InputError(
        f"the package {package} is not installed; in a clone: .venv/bin/pip install -r requirements-dev.txt, "
        f'elsewhere: pip install "Resnet23[{extra}]"'
    )

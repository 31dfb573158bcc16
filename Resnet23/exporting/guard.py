"""Exporters and runtimes of other projects, kept from printing; what they raise becomes one line."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from Resnet23.errors import IntegrityError, Resnet23Error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters from printing graphs, advice to their developers and deprecations; exceptions say enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def explained(kind: type[Resnet23Error], what: str) -> Iterator[None]:
    """Give exceptions of the exporters and runtimes, which are of many kinds, as one line."""
    try:
        yield
    except (MemoryError, IntegrityError):
        raise
    except Exception as error:
        reason = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)[:200]
        raise kind(f"{what} ({reason})") from error

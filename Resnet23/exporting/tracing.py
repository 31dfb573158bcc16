"""A network's computation as a graph, for any number of images, with PyTorch's exporters kept quiet."""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export


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


def trace(network: nn.Module, images: Tensor, dynamic: Sequence[str]) -> ExportedProgram:
    """The computation of `network` for inputs like `images`, whose first dimensions, named by `dynamic`, may vary.

    The file names of this machine's source code are left out. Raises what torch.export does when the way through the
    network depends on what it sees.
    """
    shape = {number: Dim(name) for number, name in enumerate(dynamic)}
    program = export(network, (images,), dynamic_shapes=(shape,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program

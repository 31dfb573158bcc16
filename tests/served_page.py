"""The page of Resnet23.serve, served from this process with a small untrained network."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from small_checkpoint import small_checkpoint

from Resnet23.webapp.answers import Answerer
from Resnet23.webapp.facts import describe
from Resnet23.webapp.page import build_page
from Resnet23.webapp.server import serving
from Resnet23.webapp.views import Views


@contextmanager
def served_page() -> Iterator[tuple[str, Path]]:
    """The address of the page, and the folder of its temporary files; skips the test without Gradio."""
    pytest.importorskip("gradio", reason="gradio comes with the extra `serve`")
    answerer = Answerer(small_checkpoint(), torch.device("cpu"))
    folders: list[Path] = []

    def make_page(folder: Path):
        folders.append(folder)
        return build_page(Views(answerer, folder), describe(answerer.classifier))

    with serving(make_page, "127.0.0.1", free_port()) as address:
        yield address, folders[0]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]

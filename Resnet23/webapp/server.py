"""Serving the page from this machine, with nothing sent elsewhere and nothing left behind."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from Resnet23.errors import InputError, missing_package
from Resnet23.webapp.theme import STYLE, page_theme

if TYPE_CHECKING:
    import gradio

LARGEST_FILE = "32mb"  # of an upload; few photos of the 64 megapixels that are decoded have more
NEXT_PORTS = 100  # tried, to suggest another one
MAX_PORT = 65535


@contextmanager
def serving(make_page: Callable[[Path], "gradio.Blocks"], host: str, port: int) -> Iterator[str]:
    """Serve a page until the block ends; gives its address.

    `make_page` is given the folder for temporary files, uploads among them, which is removed in the end. Raises
    InputError when Gradio is missing or the port is taken.
    """
    require_gradio()
    require_port(host, port)
    temporary = TemporaryDirectory(prefix="resnet23-serve-", ignore_cleanup_errors=True)
    with temporary as folder, _environment(_settings(host, folder)):
        page = make_page(Path(folder))
        try:
            yield _launch(page, host, port)
        finally:
            page.close(verbose=False)


def _launch(page: "gradio.Blocks", host: str, port: int) -> str:
    """Serve the page in a thread, for this machine alone as far as that is Gradio's to decide; gives its address."""
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        inline=False,
        share=False,
        show_error=True,
        max_file_size=LARGEST_FILE,
        footer_links=["api", "settings"],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=page_theme(),
        css_paths=STYLE,
    )
    return address


def require_gradio() -> None:
    """Raise InputError, with the extra to install, when Gradio is missing."""
    if find_spec("gradio") is None:  # it is imported later, as it makes folders where it thinks it is to work
        raise missing_package("gradio", "serve")


def require_port(host: str, port: int) -> None:
    """Raise InputError when this process could not listen there, with a port where it could."""
    problem = _why_not(host, port)
    if problem is None:
        return
    candidates = range(port + 1, min(port + NEXT_PORTS, MAX_PORT) + 1)
    free = next((each for each in candidates if _why_not(host, each) is None), None)
    advice = "name another --host" if free is None else f"free is --port {free}"
    raise InputError(f"--port {port}: cannot listen on {host} ({problem}); {advice}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    return ip_address(socket.gethostbyname(host)).is_loopback


def _why_not(host: str, port: int) -> str | None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        return str(error.strerror).partition(" (")[0].lower()
    return None


def _settings(host: str, folder: str) -> dict[str, str]:
    """Environment variables that Gradio reads; it asks over HTTP whether it has started, and not through a proxy."""
    direct = ",".join(filter(None, [os.environ.get("no_proxy"), host, "localhost", "127.0.0.1"]))
    return {
        "GRADIO_TEMP_DIR": folder,
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "no_proxy": direct,
        "NO_PROXY": direct,
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables until the block ends."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})

"""A real MLflow server with user and password, and a proxy in front of it that misbehaves in the ways servers do."""

import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from werkzeug.exceptions import default_exceptions

if TYPE_CHECKING:
    from mlflow import MlflowClient

HOST = "127.0.0.1"
START_SECONDS = 180  # it takes 7 to 14 s on two cores, most of it two imports of MLflow
END_SECONDS = 10
FORWARD_SECONDS = 60
BLOCK_BYTES = 1 << 16

AUTH_SETTINGS = """
[mlflow]
default_permission = READ
database_uri = sqlite:///{database}
auth_cache_ttl_seconds = 3600
"""

# What a client of today asks for and MLflow 1.30 does not know, nor a hosted server without a model registry.
MISSING_ON_OLD_SERVERS = re.compile(
    r"/api/3\.0/"
    r"|/api/2\.0/mlflow/(logged-models|registered-models|model-versions|traces|webhooks)\b"
    r"|/api/2\.0/mlflow/(runs/log-inputs|runs/outputs|metrics/get-history-bulk-interval)\b"
    r"|/api/2\.0/mlflow-artifacts/(mpu|presigned)\b"
)


@dataclass(frozen=True)
class MlflowServer:
    """A running `mlflow server` and its only user."""

    port: int
    username: str
    password: str = field(repr=False)
    artifacts: Path

    @property
    def url(self) -> str:
        """What a user sets as MLFLOW_TRACKING_URI."""
        return f"http://{HOST}:{self.port}"

    def client(self) -> "MlflowClient":
        """A client for assertions: the credentials are in its address, those of the environment are not used.

        MLflow keeps one artifact repository for each run id in a process, whichever client asked first; look at
        artifacts with `artifact_folder`.
        """
        from mlflow import MlflowClient

        address = f"http://{self.username}:{self.password}@{HOST}:{self.port}"
        return MlflowClient(tracking_uri=address, registry_uri=address)

    def artifact_folder(self, run_id: str) -> Path:
        """The folder on disk where the server keeps a run's artifacts; missing as long as there are none."""
        return self.artifacts / urlsplit(self.client().get_run(run_id).info.artifact_uri).path.lstrip("/")


def environment_for(server: "MlflowServer | FaultyServer") -> dict[str, str]:
    """The environment variables that a user of `server` sets."""
    return {
        "MLFLOW_TRACKING_URI": server.url,
        "MLFLOW_TRACKING_USERNAME": server.username,
        "MLFLOW_TRACKING_PASSWORD": server.password,
    }


@contextmanager
def running_mlflow_server() -> Iterator[MlflowServer]:
    """An `mlflow server` with basic auth, an empty store and artifacts over HTTP, while the block runs."""
    with TemporaryDirectory(prefix="mlflow-server-") as folder:
        server = new_server(Path(folder))
        with serving_process(server):
            yield server


def new_server(root: Path) -> MlflowServer:
    """What such a server needs, in the empty folder `root`; it does not run yet."""
    server = MlflowServer(free_port(), f"user-{secrets.token_hex(4)}", secrets.token_hex(16), root / "artifacts")
    (root / "auth.ini").write_text(AUTH_SETTINGS.format(database=new_database(root / "users.db")))
    new_database(root / "runs.db")
    return server


@contextmanager
def serving_process(server: MlflowServer) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a server that answers, while the block runs; its children are in its process group."""
    root = server.artifacts.parent
    command, log = server_command(server, root / "runs.db"), root / "server.log"
    with child_process(command, server_environment(server), log) as process:
        wait_for_health(server.port, process, log)
        yield process


def server_command(server: MlflowServer, database: Path) -> list[str]:
    """How a person would start it, without a secret among the arguments."""
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--host", HOST, "--port", str(server.port), "--backend-store-uri", f"sqlite:///{database}"]
    return [*command, "--serve-artifacts", "--artifacts-destination", str(server.artifacts)]


def server_environment(server: MlflowServer) -> dict[str, str]:
    """This process's environment, without what sets up MLflow's clients or tells MLflow that it is being tested."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "_MLFLOW_", "PYTEST_"))}
    return own | {
        "MLFLOW_AUTH_CONFIG_PATH": str(server.artifacts.with_name("auth.ini")),
        "MLFLOW_AUTH_ADMIN_USERNAME": server.username,
        "MLFLOW_AUTH_ADMIN_PASSWORD": server.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # would start more processes
        "TMPDIR": str(server.artifacts.parent),
    }


def new_database(path: Path) -> Path:
    """An empty SQLite database with a write-ahead log, which halves the time of MLflow's migrations: fewer syncs."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return path


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


# Runs a command, and ends it with all its children when the process that started this one is gone, however that ended.
GUARD = """
import os, signal, subprocess, sys, threading

def end_with_starter():
    os.read(0, 1)  # gives nothing, once nobody holds the other end any more
    os.killpg(0, signal.SIGKILL)

signal.signal(signal.SIGTERM, lambda *_: None)  # which is for the command
threading.Thread(target=end_with_starter, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode)
"""


@contextmanager
def child_process(
    command: list[str], environment: Mapping[str, str], log: Path, end_seconds: float = END_SECONDS
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that writes to `log`; at the end it is terminated with its own children, then killed.

    It is killed, too, when this process is: by a time limit, say, after which no `finally` runs.
    """
    guarded = [sys.executable, "-c", GUARD, *command]
    streams = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with log.open("wb") as output:
        process = subprocess.Popen(guarded, env=environment, stdout=output, start_new_session=True, **streams)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):  # nobody is left, or waits
                os.killpg(process.pid, number)
                process.wait(end_seconds)
        process.stdin.close()


def wait_for_health(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers. Raises RuntimeError with what it logged when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), closing(HTTPConnection(HOST, port, timeout=5)) as connection:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"mlflow server did not start:\n{log.read_text(errors='replace')}")


class Request(NamedTuple):
    """What the proxy remembers of a request; of its credentials only their kind: "Basic", "Bearer" or None."""

    method: str
    path: str
    authorization: str | None
    seconds: float  # of time.monotonic()


class FaultyServer:
    """A proxy in front of an MLflow server; `fault` decides what becomes of each request.

    It starts at once, with `forward`. The faults below are functions, or made by functions:

        faulty.fault = answer(401)              every request is answered with that status
        faulty.fault = first(2, answer(500))    the first two requests, then all is well
        faulty.fault = after(5, die)            all is well for five requests

    `refuse` closes the port and `accept` opens it again; `requests` lists what arrived.
    """

    def __init__(self, server: MlflowServer) -> None:
        self.username, self.password, self.upstream_port = server.username, server.password, server.port
        self.fault: Fault = forward
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._listener = self._listen(port=0)
        self.port = self._listener.server_port
        self.url = f"http://{HOST}:{self.port}"

    def refuse(self) -> None:
        """Refuse connections from now on; requests that have arrived go on."""
        self._listener.shutdown()
        self._listener.socket.close()

    def accept(self) -> None:
        """Listen, at the same address as ever, also after `refuse` or `die`."""
        self.refuse()
        self._listener = self._listen(self.port)

    def stop(self) -> None:
        """Close the port, let go of requests that hang, and wait for the threads."""
        self.stopped.set()
        self.refuse()
        self._listener.server_close()

    def _listen(self, port: int) -> ThreadingHTTPServer:
        listener = ThreadingHTTPServer((HOST, port), partial(Exchange, self))
        listener.daemon_threads = False  # closing waits for them
        threading.Thread(target=listener.serve_forever, args=[0.05], daemon=True).start()
        return listener


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer. Every exchange has a connection of its own, so that a closed port is closed."""

    protocol_version = "HTTP/1.1"
    timeout = FORWARD_SECONDS

    def __init__(self, proxy: FaultyServer, *arguments: object) -> None:
        self.proxy = proxy
        super().__init__(*arguments)

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "").partition(" ")[0] or None
        path = urlsplit(self.path).path
        self.proxy.requests.append(Request(self.command, path, authorization, time.monotonic()))
        self.close_connection = True
        with suppress(OSError):  # a client may give up at any time
            self.proxy.fault(self)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def forward(self, delay: float = 0) -> None:
        """Pass the request on, and its answer back `delay` seconds after it came."""
        with closing(HTTPConnection(HOST, self.proxy.upstream_port, timeout=FORWARD_SECONDS)) as connection:
            has_body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
            body = self._body() if has_body else None
            connection.request(self.command, self.path, body, dict(self.headers), encode_chunked=True)
            answer = connection.getresponse()
            self.wait(delay)
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() != "transfer-encoding"]
            self._start_answer(answer.status, kept)
            copyfileobj(answer, self.wfile)

    def answer(self, status: int) -> None:
        """Answer with the page that Flask, and so MLflow's server, has for a status of 400 or more."""
        for _ in self._body():  # a server that closes before it has read everything may cut its own answer
            pass
        page = default_exceptions[status]()
        body = page.get_body().encode()
        self._start_answer(status, [*page.get_headers(), ("Content-Length", str(len(body)))])
        self.wfile.write(body)

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than the proxy lives."""
        self.proxy.stopped.wait(seconds)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _start_answer(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "connection":
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def _body(self) -> Iterator[bytes]:
        """The request's body in blocks; MLflow sends an empty file chunked."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        remaining = int(self.headers.get("Content-Length", 0))
        while remaining and (block := self.rfile.read(min(remaining, BLOCK_BYTES))):
            remaining -= len(block)
            yield block


Fault = Callable[[Exchange], None]


def forward(exchange: Exchange) -> None:
    """No fault."""
    exchange.forward()


def answer(status: int) -> Fault:
    """The server answers everything with `status`, and does nothing."""
    return lambda exchange: exchange.answer(status)


def hang(seconds: float) -> Fault:
    """The server is silent for `seconds`, then hangs up; the request has no effect."""
    return lambda exchange: exchange.wait(seconds)


def late(seconds: float) -> Fault:
    """The request takes effect at once, its answer comes `seconds` later: an impatient client takes it for failed."""
    return lambda exchange: exchange.forward(delay=seconds)


def die(exchange: Exchange) -> None:
    """The server hangs up and its port is closed."""
    exchange.proxy.refuse()


def old_server(exchange: Exchange) -> None:
    """A server that has neither model registry nor logged models, inputs and outputs of runs."""
    if MISSING_ON_OLD_SERVERS.match(exchange.path):
        exchange.answer(404)
    else:
        exchange.forward()


def first(number: int, fault: Fault) -> Fault:
    """The first `number` requests meet `fault`."""
    return _change(number, fault, forward)


def after(number: int, fault: Fault) -> Fault:
    """All requests but the first `number` meet `fault`."""
    return _change(number, forward, fault)


def _change(number: int, before: Fault, afterwards: Fault) -> Fault:
    arrived = count(1)
    return lambda exchange: (before if next(arrived) <= number else afterwards)(exchange)

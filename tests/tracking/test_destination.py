"""Where runs go, as the environment says it, and what is shown to the server there."""

import base64
import os
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from servers import HOST, free_port

from Resnet23.errors import InputError
from Resnet23.tracking.destination import Remote, connect, dagshub_token, find_remote, names_a_remote

SERVER = "http://mlflow.example.com:5000"
REPOSITORY = {"DAGSHUB_REPO_OWNER": "jane", "DAGSHUB_REPO_NAME": "flowers"}


@pytest.fixture
def secret() -> str:
    return secrets.token_hex(20)


def test_nothing_is_named():
    assert find_remote({}) is None
    assert find_remote({"MLFLOW_TRACKING_URI": "", "DAGSHUB_REPO_OWNER": "", "DAGSHUB_USER_TOKEN": "any"}) is None


def test_a_server_with_user_and_password(secret):
    environment = {
        "MLFLOW_TRACKING_URI": SERVER + "/",
        "MLFLOW_TRACKING_USERNAME": "jane",
        "MLFLOW_TRACKING_PASSWORD": secret,
    }
    assert find_remote(environment) == Remote(SERVER, "jane", secret)
    assert find_remote(environment | REPOSITORY) == Remote(SERVER, "jane", secret)


def test_a_server_with_a_token_or_nothing(secret):
    assert find_remote({"MLFLOW_TRACKING_URI": SERVER}) == Remote(SERVER)
    environment = {"MLFLOW_TRACKING_URI": SERVER, "MLFLOW_TRACKING_TOKEN": secret}
    assert find_remote(environment) == Remote(SERVER, token=secret)


@pytest.mark.fault(19)
def test_credentials_in_the_address_are_taken_out_of_it(secret):
    remote = find_remote({"MLFLOW_TRACKING_URI": f"https://jane:%40{secret}@mlflow.example.com/ml"})
    assert remote == Remote("https://mlflow.example.com/ml", "jane", f"@{secret}")
    assert find_remote({"MLFLOW_TRACKING_URI": f"https://jane:a@{secret}@mlflow.example.com"}).password == f"a@{secret}"


@pytest.mark.parametrize("cut", ["/", "#", "?", "[", "1/"])
@pytest.mark.fault(19, 26)
def test_a_password_that_cuts_the_address_short_is_refused_and_not_shown(cut, secret):
    with pytest.raises(InputError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        find_remote({"MLFLOW_TRACKING_URI": f"https://jane:{cut}{secret}@mlflow.example.com"})
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    "uri", ["mlruns", "file:///mlruns", "sqlite:///a.db", "databricks", "localhost:5000", "https://"]
)
def test_what_is_no_server_is_refused(uri):
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI: found"):
        find_remote({"MLFLOW_TRACKING_URI": uri})
    assert names_a_remote({"MLFLOW_TRACKING_URI": uri})  # so that the sender says what is wrong


def test_a_repository_on_dagshub(secret):
    environment = REPOSITORY | {"DAGSHUB_USER_TOKEN": secret, "DAGSHUB_CLIENT_HOST": ""}
    remote = find_remote(environment)
    assert remote.uri == "https://dagshub.com/jane/flowers.mlflow"
    assert remote.password == secret
    assert find_remote(environment | {"DAGSHUB_USERNAME": "jane"}) == Remote(remote.uri, "jane", secret)
    assert find_remote({"MLFLOW_TRACKING_URI": remote.uri, "DAGSHUB_USER_TOKEN": secret}) == remote
    own = find_remote(environment | {"DAGSHUB_CLIENT_HOST": "https://hub.example.com/"})
    assert own.uri == "https://hub.example.com/jane/flowers.mlflow"


@pytest.mark.parametrize("key", REPOSITORY)
def test_half_a_repository_is_refused(key):
    missing = next(iter(REPOSITORY.keys() - {key}))
    with pytest.raises(InputError, match=f"^{missing}: not set"):
        find_remote({key: REPOSITORY[key], "DAGSHUB_USER_TOKEN": "any"})


@pytest.mark.fault(19)
def test_no_secret_is_in_what_is_printed():
    secret = f"{secrets.token_hex(8)} /+{secrets.token_hex(8)}"
    remote = Remote(SERVER, "jane", secret, secret)
    assert secret not in repr(remote)
    cleaned = remote.without_secrets(f"401 for jane:{secret} at http://jane:{secret.replace(' ', '%20')}@x")
    assert cleaned.startswith("401 for jane:*** at")
    escaped = "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in secret)
    assert remote.without_secrets(f"http://jane:{escaped}@x") == "http://jane:***@x"
    assert remote.run_page("3", "abc") == f"{SERVER}/#/experiments/3/runs/abc"


# ----------------------------------------------------------------------------------------------------------------------
# The token that `dagshub login` has stored, and what MLflow's client sends.


class Listener(ThreadingHTTPServer):
    """A server that gives one answer to everything and remembers what it was shown."""

    daemon_threads = True
    status, content = 500, b"{}"

    def __init__(self) -> None:
        super().__init__((HOST, 0), Answer)
        self.url = f"http://{HOST}:{self.server_port}"
        self.shown: list[str | None] = []


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Listener

    def do_GET(self) -> None:
        self.server.shown.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(listener: Listener, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `dagshub login` leaves behind: a file with a token."""
    from dagshub.common import config

    file = tmp_path / "tokens"
    token = {"access_token": secret, "expiry": "never", "token_type": "app-token"}
    file.write_text(yaml.safe_dump({"version": "1", listener.url: [token]}))
    monkeypatch.setattr(config, "cache_location", str(file))
    monkeypatch.setattr(config, "host", listener.url)
    monkeypatch.setattr(config, "token", "")  # of a variable that is set to nothing
    monkeypatch.setattr(config, "http_timeout", "30")  # of a variable, which the package does not turn into a number
    return file


def test_the_stored_token_is_used_when_there_is_no_other(listener, store, secret, capfd):
    listener.status, listener.content = 200, b'{"login": "jane", "username": "jane"}'
    environment = REPOSITORY | {"DAGSHUB_CLIENT_HOST": listener.url, "DAGSHUB_USER_TOKEN": ""}
    assert find_remote(environment).password == secret
    assert find_remote(environment | {"DAGSHUB_USER_TOKEN": "other"}).password == "other"
    assert listener.shown == [f"Bearer {secret}"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("trouble", ["500", "401", "no server", "damaged store", "no store"])
@pytest.mark.fault(19)
def test_without_a_token_the_way_to_one_is_named_and_the_store_stays(
    trouble, listener, store, secret, monkeypatch, capfd
):
    listener.status = 401 if trouble == "401" else 500
    host = f"http://{HOST}:{free_port()}" if trouble == "no server" else listener.url
    if trouble == "no server":
        store.write_text(store.read_text().replace(listener.url, host))
    if trouble == "damaged store":
        store.write_text(f"version: [{secret}")
    if trouble == "no store":
        store.unlink()
    before = store.read_bytes() if store.exists() else None
    with pytest.raises(InputError, match=r"no token to be had.*DAGSHUB_USER_TOKEN.*dagshub login") as caught:
        dagshub_token({"DAGSHUB_CLIENT_HOST": host})
    assert secret not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert (store.read_bytes() if store.exists() else None) == before


@pytest.mark.parametrize("kind", ["Basic", "Bearer"])
def test_a_request_shows_the_credentials_of_this_remote_and_is_sent_once(kind, listener, secret, monkeypatch):
    for key in ("HTTP_REQUEST_TIMEOUT", "HTTP_REQUEST_MAX_RETRIES", "TRACKING_USERNAME", "TRACKING_PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_{key}", "5")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "another")
    remote = Remote(listener.url, "jane", secret) if kind == "Basic" else Remote(listener.url, token=secret)
    client = connect(remote, timeout=3)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"
    with pytest.raises(Exception, match="500"):
        client.create_experiment("any")
    user = base64.b64encode(f"jane:{secret}".encode()).decode()
    assert listener.shown == [f"Basic {user}" if kind == "Basic" else f"Bearer {secret}"]

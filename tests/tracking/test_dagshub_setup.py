"""`make dagshub-init` against a DagsHub on this machine: what it asks, what it writes and what it never shows."""

import base64
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from dotenv import dotenv_values
from dvc.cli.parser import get_main_parser
from package_imports import ROOT
from servers import HOST, free_port
from test_makefile import TARGETS, code_of

from Resnet23.config import flatten, read_yaml
from Resnet23.errors import InputError
from Resnet23.tracking.dagshub_setup import set_up

SECONDS = 60  # for a command
MODULE = "Resnet23.tracking.dagshub_setup"
USER = "jane"


class Request(NamedTuple):
    """What arrived at the server."""

    method: str
    path: str
    authorization: str
    body: str


class DagsHub(ThreadingHTTPServer):
    """The parts of DagsHub that are asked: repositories, the token's user, and the storage of a DVC remote."""

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__((HOST, 0), Answer)
        self.url = f"http://{HOST}:{self.server_port}"
        self.token = token
        self.repositories = {"jane/flowers"}
        self.status: int | None = None  # of every answer, when all else is wrong
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.arrived = threading.Event()
        self.requests: list[Request] = []


class Answer(BaseHTTPRequestHandler):
    """One request to DagsHub."""

    server: DagsHub

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        self.server.requests.append(Request(self.command, self.path, authorization, self.body().decode()))
        self.server.arrived.set()
        self.server.may_answer.wait(SECONDS)
        status, content = (self.server.status, {}) if self.server.status else self.answer()
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def answer(self) -> tuple[int, dict]:
        """Status and content of a server in good health."""
        if ".dvc/files/" in self.path:
            return (200 if self.command == "POST" else 404), {}
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return 401, {}
        if self.command == "POST":
            return 201, {"owner": {"login": USER}, "name": "any"}
        if self.path == "/api/v1/user":
            return 200, {"id": 1, "login": USER, "full_name": "", "username": USER}
        return (200 if self.path.removeprefix("/api/v1/repos/") in self.server.repositories else 404), {}

    def body(self) -> bytes:
        """What came with the request; DVC sends files in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def token() -> str:
    """What a token of DagsHub looks like."""
    return secrets.token_hex(20)


@pytest.fixture
def dagshub(token: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsHub]:
    """A DagsHub where USER has a repository, and the environment of a person who works with it."""
    server = DagsHub(token)
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    monkeypatch.setenv("DAGSHUB_CLIENT_HOST", server.url)
    monkeypatch.setenv("DAGSHUB_USER_TOKEN", token)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    yield server
    server.may_answer.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def git_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a git repository with this repository's settings of git and DVC."""
    folder = tmp_path / "my project"
    (folder / ".dvc").mkdir(parents=True)
    for name in (".gitignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, folder / name)
    git("init", "--quiet", "--initial-branch", "main", folder=folder)
    git("add", ".", folder=folder)
    monkeypatch.chdir(folder)
    return folder


def git(*arguments: str, folder: Path | None = None) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as `make dagshub-init` does."""
    return subprocess.run(
        [sys.executable, "-m", MODULE, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def dvc(*arguments: str) -> str:
    """What DVC itself says."""
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def is_untouched(project: Path) -> bool:
    """Whether nothing was written."""
    written = [project / ".env", project / ".dvc/config.local"]
    same = (project / ".dvc/config").read_bytes() == (ROOT / ".dvc/config").read_bytes()
    return same and not any(file.exists() for file in written)


def test_dvc_pushes_to_the_repository_with_the_token(dagshub, git_project, token):
    text = set_up("jane", "flowers")
    assert dvc("remote", "list").split() == ["dagshub", f"{dagshub.url}/jane/flowers.dvc", "(default)"]
    (git_project / "photo.txt").write_text("petals")
    dvc("add", "photo.txt")
    dvc("push")
    pushed = [request for request in dagshub.requests if request.method == "POST"]
    assert [request.body for request in pushed] == ["petals"]
    assert pushed[0].path.startswith("/jane/flowers.dvc/files/md5/")
    credentials = base64.b64encode(f"{token}:{token}".encode()).decode()
    assert pushed[0].authorization == f"Basic {credentials}"
    for address in (
        f"{dagshub.url}/jane/flowers/experiments",
        f"{dagshub.url}/api/v1/repos/jane/flowers/raw/main/data/processed/images.tar",
    ):
        assert address in text


@pytest.mark.fault(26)
def test_the_token_is_in_one_private_file_and_nowhere_else(dagshub, git_project, token):
    result = command("jane", "flowers")
    assert result.returncode == 0, result.stderr
    assert token not in result.stdout + result.stderr
    holders = [file for file in git_project.rglob("*") if file.is_file() and token.encode() in file.read_bytes()]
    assert holders == [git_project / ".dvc/config.local"]
    for private in (".env", ".dvc/config.local"):
        assert stat.S_IMODE((git_project / private).stat().st_mode) == 0o600
    git("add", ".")
    assert not {".env", ".dvc/config.local"} & set(git("ls-files").splitlines())


@pytest.mark.fault(26)
def test_the_token_is_on_no_command_line(dagshub, git_project, token):
    dagshub.may_answer.clear()
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, "jane", "flowers"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    try:
        assert dagshub.arrived.wait(SECONDS)
        seen = [line for other in psutil.process_iter(["cmdline"]) for line in other.info["cmdline"] or []]
        assert MODULE in seen  # while it waits for an answer
        assert not [line for line in seen if token in line]
        dagshub.may_answer.set()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()


def test_runs_of_the_project_go_to_the_repository(dagshub, git_project):
    (git_project / ".env").write_text("# mine\nDAGSHUB_REPO_OWNER=\nRESNET23_DATA_MIRROR=/data\n")
    set_up("jane", "flowers")
    assert dotenv_values(".env") == {
        "DAGSHUB_REPO_OWNER": "jane",
        "DAGSHUB_REPO_NAME": "flowers",
        "RESNET23_DATA_MIRROR": "/data",
    }
    assert (git_project / ".env").read_text().startswith("# mine\n")


def test_the_environment_file_above_is_the_one_that_is_changed(dagshub, git_project, monkeypatch):
    """A second one, in a folder of runs/, would hide the first and the token in it."""
    (git_project / ".env").write_text("")
    shutil.copytree(git_project / ".dvc", git_project / "runs/digits/.dvc")
    monkeypatch.chdir(git_project / "runs/digits")
    set_up("jane", "flowers")
    assert dotenv_values(git_project / ".env")["DAGSHUB_REPO_NAME"] == "flowers"
    assert not Path(".env").exists()


def test_another_repository_takes_the_place_and_other_settings_stay(dagshub, git_project, token, monkeypatch):
    (git_project / ".dvc/config.local").write_text("[cache]\n    dir = /big/disk\n")
    (git_project / ".dvc/config.local").chmod(0o644)
    dvc("remote", "add", "--default", "backup", str(git_project / "backup"))
    set_up("jane", "flowers")
    dvc("config", "remote.dagshub.read_timeout", "300")
    dagshub.repositories.add("acme/birds")
    set_up("acme", "birds")
    first = [(git_project / name).read_bytes() for name in (".dvc/config", ".dvc/config.local", ".env")]
    set_up("acme", "birds")
    assert first == [(git_project / name).read_bytes() for name in (".dvc/config", ".dvc/config.local", ".env")]
    settings = dict(line.split("=", 1) for line in dvc("config", "--list").splitlines())
    assert settings["core.remote"] == "dagshub"
    assert settings["remote.dagshub.url"] == f"{dagshub.url}/acme/birds.dvc"
    assert settings["remote.dagshub.password"] == token
    assert settings["remote.dagshub.read_timeout"] == "300"
    assert {"core.autostage", "cache.type", "cache.dir", "remote.backup.url"} <= settings.keys()
    assert stat.S_IMODE((git_project / ".dvc/config.local").stat().st_mode) == 0o600


@pytest.mark.parametrize("status", [None, 500])
@pytest.mark.fault(19)
def test_a_server_that_cannot_be_asked_costs_a_warning(status, dagshub, git_project, monkeypatch):
    dagshub.status = status
    if status is None:
        monkeypatch.setenv("DAGSHUB_CLIENT_HOST", f"http://{HOST}:{free_port()}")
    result = command("jane", "flowers")
    assert result.returncode == 0
    assert len(result.stderr.strip().splitlines()) == 1
    assert "HTTP 500" in result.stderr or "cannot be reached" in result.stderr
    assert dotenv_values(".env")["DAGSHUB_REPO_NAME"] == "flowers"


@pytest.mark.parametrize("owner", ["jan", "acme"])
def test_a_missing_repository_is_refused_with_the_ways_to_make_it(owner, dagshub, git_project):
    with pytest.raises(InputError, match=rf"/{owner}/flowers: no such repository.*/repo/create.*--create"):
        set_up(owner, "flowers")
    assert is_untouched(git_project)


@pytest.mark.parametrize(("owner", "path"), [("Jane", "/api/v1/user/repos"), ("acme", "/api/v1/org/acme/repos")])
def test_a_missing_repository_is_made_on_request(owner, path, dagshub, git_project, token):
    result = command(owner, "birds", "--create")
    assert result.returncode == 0, result.stderr
    made = [request for request in dagshub.requests if request.method == "POST"]
    assert [request.path for request in made] == [path]
    assert "name=birds" in made[0].body
    assert "private=true" in made[0].body
    assert dotenv_values(".env")["DAGSHUB_REPO_NAME"] == "birds"
    assert token not in result.stdout + result.stderr


def test_a_repository_that_cannot_be_made_is_an_error_in_one_line(dagshub, git_project, monkeypatch):
    monkeypatch.setattr(Answer, "answer", lambda self: (404, {}))
    result = command("jane", "birds", "--create")
    assert result.returncode == 1
    assert "could not be made" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert is_untouched(git_project)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.fault(19)
def test_without_a_valid_token_the_command_ends_and_asks_nobody(stored, dagshub, git_project, tmp_path, monkeypatch):
    """Neither for a login in a browser nor at the terminal, whether the token is wrong or missing."""
    if stored:
        monkeypatch.setenv("DAGSHUB_USER_TOKEN", secrets.token_hex(20))
    else:
        monkeypatch.delenv("DAGSHUB_USER_TOKEN")
    monkeypatch.setenv("DAGSHUB_CLIENT_TOKENS_CACHE", str(tmp_path / "no store"))
    browser = tmp_path / "browser"
    monkeypatch.setenv("BROWSER", f"touch {browser} %s")
    result = command("jane", "flowers", "--create")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: DagsHub")
    assert "DAGSHUB_USER_TOKEN" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not browser.exists()
    assert not [request for request in dagshub.requests if "oauth" in request.path]
    assert is_untouched(git_project)


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", "-f", "flowers.git?x", "https://dagshub.com/jane/flowers", "ä", "a\n"]
)
def test_impossible_names_are_refused(name, dagshub, git_project):
    with pytest.raises(InputError, match="OWNER: found"):
        set_up(name, "flowers")
    with pytest.raises(InputError, match="REPO: found"):
        set_up("jane", name)
    assert dagshub.requests == []
    assert is_untouched(git_project)


@pytest.mark.parametrize("file", [".env", ".dvc/config.local"])
@pytest.mark.fault(26)
def test_a_file_for_secrets_that_git_would_publish_is_refused(file, dagshub, git_project):
    Path(file).write_text("")
    git("add", "--force", file)
    with pytest.raises(InputError, match=r"git does not ignore it.*git rm --cached"):
        set_up("jane", "flowers")
    git("rm", "--force", "--quiet", file)
    set_up("jane", "flowers")


def test_a_folder_that_is_no_project_is_refused(dagshub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="DVC project"):
        set_up("jane", "flowers")
    (tmp_path / ".dvc").mkdir()
    with pytest.raises(InputError, match="git init"):
        set_up("jane", "flowers")


def test_a_server_named_for_mlflow_comes_first_and_the_summary_says_so(dagshub, git_project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    assert "MLFLOW_TRACKING_URI is set" in set_up("jane", "flowers")


@pytest.mark.fault(19, 26)
def test_debug_shows_where_an_error_arose_but_no_token(dagshub, git_project, token, monkeypatch):
    monkeypatch.setattr(Answer, "answer", lambda self: (404, {}))
    result = command("jane", "birds", "--create", "--debug")
    assert "Traceback" in result.stderr
    assert "_create(" in result.stderr
    assert token not in result.stdout + result.stderr


# ----------------------------------------------------------------------------------------------------------------------
# What docs/dagshub.md tells people to type.

GUIDE = (ROOT / "docs" / "dagshub.md").read_text(encoding="utf-8")
CODE = code_of(GUIDE)


def test_the_make_targets_of_the_guide_exist():
    targets = set(re.findall(r"\bmake ((?!-)[a-z][a-z-]*)", CODE))
    assert {"dagshub-init", "sync-tracking", "promote", "serve-rest", "mlflow-ui", "train"} <= targets
    assert targets <= TARGETS, f"docs/dagshub.md names make targets that do not exist: {targets - TARGETS}"


def test_dvc_takes_the_commands_of_the_guide():
    commands = set(re.findall(r"\bdvc ([a-z]+ [^\n]+)", CODE))
    assert {"remote add storage s3://my-bucket/flowers", "pull --allow-missing"} <= commands
    for line in commands:
        get_main_parser().parse_args(line.split())  # exits for an unknown command or option


def test_the_settings_of_the_guide_exist():
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "Resnet23").rglob("*.py"))
    variables = set(re.findall(r"\b(?:MLFLOW|DAGSHUB)_[A-Z_]+", GUIDE))
    assert {"MLFLOW_TRACKING_URI", "DAGSHUB_USER_TOKEN"} <= variables
    assert not {name for name in variables if f'"{name}"' not in sources and f" {name} " not in sources}
    keys = set(re.findall(r"`(tracking\.\w+)", GUIDE))
    assert keys
    assert keys <= flatten(read_yaml(ROOT / "params.yaml")).keys()

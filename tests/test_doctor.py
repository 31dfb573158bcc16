"""The doctor: each check on its own, with made-up faults, and without a network."""

import json
import os
import sqlite3
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import typer
from small_project import REPOSITORY

from Resnet23 import doctor
from Resnet23.doctoring import folder, machine, network, packages, programs, pytorch, runs, storage
from Resnet23.doctoring.findings import ok, problem, warning
from Resnet23.sources.cifar import PUBLIC_FOLDER
from Resnet23.tracking.store import STORE_FILE

SECRET = "-".join(["only", "for", "this", "test"])
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


class Server(BaseHTTPRequestHandler):
    """Answers with the number in the path, and 401 without credentials where they are wanted."""

    def do_GET(self) -> None:
        """The only kind of request that the doctor makes."""
        status = next((int(part) for part in self.path.split("/") if part.isdigit()), 200)
        if "private" in self.path and "Authorization" not in self.headers:
            status = 401
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/private")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on this machine."""
    with HTTPServer(("127.0.0.1", 0), Server) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture(scope="module")
def nobody() -> str:
    """An address at which nobody answers."""
    with HTTPServer(("127.0.0.1", 0), Server) as listening:
        return f"http://127.0.0.1:{listening.server_port}"


# ----------------------------------------------------------------------------------------------------------------------
# The command


def use_checks(monkeypatch, **checks) -> None:
    """Let the doctor make these checks only."""
    monkeypatch.setattr(doctor, "CHECKS", checks)


def test_every_finding_is_a_line_and_what_mends_it_another(monkeypatch, capsys):
    use_checks(monkeypatch, first=lambda: ok("here"), none=lambda: None, second=lambda: warning("dusty", "wipe it"))
    doctor.main()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ok", "first", "here"],
        ["warning", "second", "dusty"],
        ["->", "wipe", "it"],
        ["2", "checks:", "1", "ok,", "1", "warning,", "0", "problems"],
    ]


def test_a_problem_is_exit_code_1_and_json_says_the_same(monkeypatch, capsys):
    use_checks(monkeypatch, first=lambda: ok("here"), second=lambda: problem("broken", "mend it"))
    with pytest.raises(typer.Exit) as caught:
        doctor.main(as_json_text=True)
    assert caught.value.exit_code == 1
    assert json.loads(capsys.readouterr().out) == {
        "problems": 1,
        "checks": [
            {"check": "first", "status": "ok", "found": "here", "mend": ""},
            {"check": "second", "status": "problem", "found": "broken", "mend": "mend it"},
        ],
    }


def test_a_check_that_crashes_is_its_own_problem():
    def crash() -> None:
        raise OSError("out of order")

    found = dict(doctor.examine({"broken": crash, "well": lambda: ok("here")}))
    assert found["well"].status == "ok"
    assert found["broken"].status == "problem"
    assert "OSError: out of order" in found["broken"].found


# ----------------------------------------------------------------------------------------------------------------------
# Machine and packages


def test_what_the_checks_know_is_what_the_project_says():
    oldest, too_new = (".".join(map(str, version)) for version in (machine.OLDEST, machine.TOO_NEW))
    broken = ".".join(map(str, machine.BROKEN))
    assert PYPROJECT["project"]["requires-python"] == f">={oldest},!={broken},<{too_new}"
    assert list(packages.EXTRAS) == list(PYPROJECT["project"]["optional-dependencies"])
    assert network.CIFAR == PUBLIC_FOLDER


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 1), "problem"), ((3, 14, 1), "problem"), ((3, 15, 0), "problem"), ((3, 12, 0), "ok")],
)
def test_the_version_of_python(monkeypatch, version, status):
    monkeypatch.setattr(machine, "sys", SimpleNamespace(version_info=version, executable="python"))
    assert machine.check_python().status == status


@pytest.mark.parametrize(("gib", "status"), [(0.5, "problem"), (3, "warning"), (50, "ok")])
def test_disk_and_memory(monkeypatch, gib, status):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=gib * 2**30))
    memory = SimpleNamespace(available=gib * 2**30, total=64 * 2**30)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
    assert machine.check_disk().status == status
    assert machine.check_memory().status == ("warning" if gib < 2 else "ok")
    assert machine.check_processor().status == "ok"


def test_missing_packages_are_named(monkeypatch):
    assert packages.check_packages().status == "ok"
    monkeypatch.setattr(packages, "installed_version", lambda name: None if name == "tqdm" else "1")
    assert packages.check_packages() == problem("not installed: tqdm", packages.install_core())


def test_missing_extras_are_no_fault_and_come_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in ("captum", "gradio") else name)
    found = packages.check_extras()
    assert found.status == "ok"
    assert "not installed: explain, serve" in found.found
    assert "[explain,serve]" in found.mend


def test_another_copy_of_the_package_in_the_project_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert packages.check_package_folder() is None
    monkeypatch.chdir(tmp_path)
    assert packages.check_package_folder() is None
    (tmp_path / "Resnet23").mkdir()
    assert packages.check_package_folder().status == "warning"


@pytest.fixture
def probed(monkeypatch):
    """Sets what PyTorch says of itself, instead of asking it."""
    usual = {"threads": 2, "cuda": None, "available": False, "gpus": [], "gpu_bf16": False, "cpu_bf16": True}

    def answer(driver: str | None = None, **changes: object) -> None:
        monkeypatch.setattr(pytorch, "_run_probe", lambda: usual | changes)
        monkeypatch.setattr(pytorch, "answer_of", lambda command: driver)

    answer()
    return answer


@pytest.mark.usefixtures("probed")
def test_torch_and_torchvision_have_to_be_a_pair(monkeypatch):
    versions = {"torch": "2.0.0+cpu", "torchvision": "0.15.0"}
    monkeypatch.setattr(pytorch, "installed_version", versions.get)
    monkeypatch.setattr(pytorch, "requires", lambda name: ["numpy", "torch==2.0.0"])
    assert pytorch.check_pytorch().status == "ok"
    monkeypatch.setattr(pytorch, "requires", lambda name: ["torch==2.0.1"])
    assert "built for torch 2.0.1" in pytorch.check_pytorch().found
    versions["torchvision"] = None
    assert pytorch.check_pytorch().found == "not installed: torchvision"


def test_the_device_and_its_precision(probed):
    assert "no NVIDIA GPU, which is fine" in pytorch.check_cuda().found
    assert "the CPU computes bf16 natively" in pytorch.check_precision().found
    probed(driver="550.1")
    assert "without CUDA" in pytorch.check_cuda().found
    probed(driver="550.1", cuda="13.0")
    assert "sees no GPU" in pytorch.check_cuda().found
    probed(driver="550.1", cuda="13.0", available=True, gpus=[["Some GPU", 80 * 2**30]])
    assert pytorch.check_cuda() == ok("Some GPU with 80 GiB; driver 550.1, CUDA 13.0")
    assert "the GPU has no native bf16" in pytorch.check_precision().found


def test_an_import_that_fails_is_told_once_and_stops_nothing(monkeypatch):
    pytorch._run_probe.cache_clear()
    monkeypatch.setattr(pytorch, "PROBE", "raise ImportError('libsomething.so: no such file')")
    found = pytorch.check_pytorch()
    assert found.status == "problem"
    assert found.found.endswith("cannot be imported: ImportError: libsomething.so: no such file")
    assert pytorch.check_cuda().status == pytorch.check_precision().status == "warning"
    pytorch._run_probe.cache_clear()


def test_programs_may_be_missing(monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda name: None)
    assert programs.check_node().status == programs.check_browser().status == "ok"
    monkeypatch.setattr(programs.shutil, "which", lambda name: name if name == "node" else None)
    monkeypatch.setattr(programs, "answer_of", lambda command: "v20.1.0")
    assert programs.check_node().status == "warning"
    monkeypatch.setattr(programs.shutil, "which", lambda name: name)
    assert programs.check_node().found == "Node.js 20.1.0, npm v20.1.0"


def test_a_program_that_fails_or_is_not_there_gives_no_answer():
    assert programs.answer_of(["git", "--version"]).startswith("git version")
    assert programs.answer_of(["git", "no-such-command"]) is None
    assert programs.answer_of(["no-such-program"]) is None


# ----------------------------------------------------------------------------------------------------------------------
# The network


def test_a_place_on_the_network_answers_refuses_or_is_silent(server, nobody, monkeypatch):
    monkeypatch.setattr(network, "CIFAR", server)
    assert network.check_public_host().status == "ok"
    monkeypatch.setattr(network, "CIFAR", f"{server}/403")
    assert "HTTP 403" in network.check_public_host().found
    monkeypatch.setattr(network, "CIFAR", nobody)
    silent = network.check_public_host()
    assert silent.status == "warning"
    assert "Connection refused" in silent.found


def test_the_index_is_the_one_that_pip_is_configured_for_and_its_password_stays_unseen(server, monkeypatch):
    place = server.replace("http://", f"http://me:{SECRET}@")
    settings = f"global.timeout='5'\n:env:.index-url='{place}/404/simple/'\n"
    monkeypatch.setattr(network, "answer_of", lambda command: settings)
    monkeypatch.setattr(network, "http_answer", lambda url: 404)
    found = network.check_package_index()
    assert f"{server}/404/simple/pip/ answers with HTTP 404" in found.found
    assert SECRET not in found.found
    monkeypatch.setattr(network, "answer_of", lambda command: None)
    assert network._index() == network.PYPI
    monkeypatch.setattr(network.shutil, "which", lambda name: None)
    assert network.check_npm_registry() is None


def test_user_and_password_of_the_index_are_neither_sent_nor_told(server, monkeypatch):
    address = "https://" + f"bob:{SECRET}@" + "127.0.0.1/simple"  # without a port, what follows a colon looks like one
    monkeypatch.setattr(network, "answer_of", lambda command: f":env:.index-url='{address}'")
    found = network.check_package_index()
    assert found.found.startswith("https://127.0.0.1/simple/pip/ ")
    assert not [word for word in ("bob", SECRET, "nonnumeric") if word in found.found + found.mend]
    with pytest.raises(network.NO_ANSWER) as caught:
        network.http_answer(address)
    assert network.describe_failure(caught.value) == "not a valid web address"
    private = server.replace("http://", "http://" + f"bob:{SECRET}@") + "/private"
    monkeypatch.setattr(network, "answer_of", lambda command: f":env:.index-url='{private}'")
    assert network.check_package_index().status == "ok"


def test_secrets_are_not_handed_on_after_a_redirect(server):
    shown = {"Authorization": f"Bearer {SECRET}"}
    assert network.http_answer(f"{server}/private", shown) == 200
    assert network.http_answer(f"{server}/302", shown) == 401


# ----------------------------------------------------------------------------------------------------------------------
# The project


def test_outside_a_project_only_one_check_speaks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder.check_params().status == "warning"
    checks = (folder.check_pipeline, folder.check_dvc, folder.check_outputs, folder.check_git, folder.check_data)
    assert [check() for check in (*checks, runs.check_store)] == [None] * 6


def test_the_parameters(project):
    assert folder.check_params() == ok("valid: resnet23 on digits, 2 epochs")
    assert folder.check_data() == ok("digits, which comes with scikit-learn")
    (project / "params.yaml").write_text("train: {epochs: many}")
    found = folder.check_params()
    assert found.status == "problem"
    assert "train.epochs" in found.found
    assert folder.check_data() is None


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        ("{dataset: folder}", "problem", "data.source: null"),
        ("{dataset: folder, source: photos}", "problem", "photos does not exist"),
        ("{dataset: folder, source: .}", "ok", "data.source: ."),
        ("{dataset: folder, source: 'https://example.org/a.zip?key=1'}", "ok", "https://example.org/a.zip"),
        ("{dataset: cifar10}", "ok", "fetched"),
    ],
)
def test_the_data(project, data, status, words):
    (project / "params.yaml").write_text(f"data: {data}")
    found = folder.check_data()
    assert found.status == status
    assert words in found.found
    assert "key=1" not in found.found and "word" not in found.found


def test_a_mirror_that_is_named_has_to_be_there(project, monkeypatch):
    (project / "params.yaml").write_text("data: {dataset: cifar10}")
    monkeypatch.setenv("RESNET23_DATA_MIRROR", str(project / "nowhere"))
    assert folder.check_data().status == "problem"


def test_the_pipeline(project):
    assert folder.check_pipeline().status == "problem"
    (project / "dvc.yaml").write_text("stages: {train: {cmd: a}}")
    assert folder.check_pipeline() == ok("stages train")
    (project / "dvc.yaml").write_text("stages: [")
    assert folder.check_pipeline().status == "problem"
    (project / "dvc.yaml").write_text("vars: []")
    assert "no stages" in folder.check_pipeline().found


@pytest.mark.fault(25)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system takes valid Unicode names only")
def test_a_folder_that_dvc_cannot_write_down_is_named(tmp_path, project, monkeypatch):
    place = tmp_path / os.fsdecode(b"bees\xff")
    (place / ".dvc").mkdir(parents=True)
    (place / ".dvc" / "config").touch()
    (project / "params.yaml").rename(place / "params.yaml")
    monkeypatch.chdir(place)
    found = folder.check_dvc()
    assert found.status == "problem" and r"bees\xff: holds bytes that are not UTF-8" in found.found
    assert "rename the folder" in found.mend


def test_dvc_and_the_locks_of_processes_that_have_ended(project, monkeypatch):
    assert folder.check_dvc() == problem("not initialised in this folder", "dvc init --no-scm")
    rwlock = project / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir(parents=True)
    (project / ".dvc" / "config").touch()
    assert folder.check_dvc() == ok("initialised")
    rwlock.write_text(json.dumps({"read": {"a": [{"pid": os.getpid(), "cmd": "dvc repro"}]}, "write": {}}))
    assert folder.check_dvc().found == f"running: dvc repro (process {os.getpid()})"
    monkeypatch.setattr(folder.psutil, "pid_exists", lambda pid: False)
    assert folder.check_dvc().status == "warning"
    rwlock.write_text('{"read": 3}')
    assert folder.check_dvc().status == "problem"


@pytest.mark.parametrize(
    ("config", "status", "words"),
    [
        ("", "ok", "none is configured"),
        ("['remote \"share\"']\n    url = ../../share\n", "ok", "share, "),
        ("['remote \"share\"']\n    url = ../../nothing\n", "warning", "no such folder"),
        ("['remote \"a\"']\n    url = /a\n['remote \"b\"']\n    url = /b\n", "warning", "a, b, none of which"),
        ("[core]\n    remote = c\n['remote \"a\"']\n    url = /a\n", "problem", "the default one, c, is not among"),
        ("['remote \"cloud\"']\n    url = s3://bucket/way\n", "problem", "the package for s3 is not installed"),
        ("['remote \"cloud\"'\n", "problem", "correct config"),
    ],
)
def test_the_remote_of_dvc(project, monkeypatch, config, status, words):
    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    (project / ".dvc").mkdir()
    (project / "share").mkdir()
    (project / ".dvc/config").write_text(config.replace("../../", "../"), encoding="utf-8")
    found = storage.check_remotes()
    assert found.status == status
    assert words in f"{found.found} {found.mend}"


def test_a_server_of_dvc_gets_the_credentials_and_they_stay_unseen(server, project):
    (project / ".dvc").mkdir()
    remote = f"['remote \"origin\"']\n    url = {server}/private\n    auth = basic\n"
    (project / ".dvc/config").write_text(remote, encoding="utf-8")
    assert "refused (HTTP 401)" in storage.check_remotes().found
    (project / ".dvc/config.local").write_text(
        f"['remote \"origin\"']\n    user = me\n    password = {SECRET}\n", encoding="utf-8"
    )
    assert storage.check_remotes() == ok(f"origin, {server}/private: answers")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, "up to date"),
        ({"train": [{"changed deps": {"a": "modified"}}, "changed command"]}, "not up to date: train; `dvc repro`"),
        ({"train": [{"changed outs": {"models/a": "modified", "b": "deleted"}}]}, "wrote it: models/a"),
    ],
)
def test_what_was_changed_by_hand_is_told(project, monkeypatch, status, words):
    for file in ("dvc.yaml", ".dvc/config"):
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).touch()
    done = SimpleNamespace(stdout=json.dumps(status), stderr="")
    monkeypatch.setattr(folder.subprocess, "run", lambda *_, **__: done)
    found = folder.check_outputs()
    assert words in found.found
    assert found.status == ("warning" if "changed outs" in str(status) else "ok")


def test_what_dvc_cannot_do_is_told_in_its_words(project, monkeypatch):
    for file in ("dvc.yaml", ".dvc/config"):
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).touch()
    done = SimpleNamespace(stdout="", stderr="ERROR: 'dvc.yaml' is invalid.\nMore.")
    monkeypatch.setattr(folder.subprocess, "run", lambda *_, **__: done)
    assert folder.check_outputs().found == "`dvc status` fails: 'dvc.yaml' is invalid."


@pytest.mark.usefixtures("project")
def test_git(monkeypatch):
    answers = {"--version": None, "rev-parse": ".git/index.lock"}
    monkeypatch.setattr(folder, "answer_of", lambda command: answers[command[1]])
    assert "not installed" in folder.check_git().found
    answers["--version"] = "git version 2"
    monkeypatch.setattr(folder, "git_revision", lambda: None)
    assert "no repository" in folder.check_git().found
    monkeypatch.setattr(folder, "git_revision", lambda: "0123456789ab-dirty")
    assert folder.check_git() == ok("commit 0123456789ab with changes")
    monkeypatch.setattr(folder, "_runs", lambda program: False)
    os.mkdir(".git")
    open(".git/index.lock", "x").close()
    assert folder.check_git().mend == "delete it: rm .git/index.lock"


# ----------------------------------------------------------------------------------------------------------------------
# The tracked runs


def test_the_store(project):
    assert runs.check_store().status == "ok"
    store = project / STORE_FILE
    store.parent.mkdir()
    with sqlite3.connect(store) as connection:
        connection.execute("CREATE TABLE runs (lifecycle_stage TEXT)")
        connection.execute("INSERT INTO runs VALUES ('active'), ('deleted')")
    connection.close()
    assert runs.check_store() == ok("mlruns/mlflow.db: 1 runs")
    store.write_bytes(b"no database at all" * 100)
    assert runs.check_store().status == "problem"


def test_no_server_is_fine_and_half_a_name_is_not():
    assert runs.check_remote({}).status == "ok"
    assert runs.check_remote({"DAGSHUB_REPO_OWNER": "me"}).status == "problem"
    assert runs.check_remote({"MLFLOW_TRACKING_URI": "mlruns"}).status == "problem"


def test_a_server_that_answers_refuses_or_is_silent(server, nobody):
    user = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": SECRET}
    known = {"MLFLOW_TRACKING_URI": f"{server}/private"}
    refused, welcome = runs.check_remote(known), runs.check_remote(known | user)
    assert refused.status == "problem"
    assert "with no credentials: refused" in refused.found
    assert welcome.status == "ok"
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: answers" in welcome.found
    silent = runs.check_remote({"MLFLOW_TRACKING_URI": nobody, "MLFLOW_TRACKING_TOKEN": SECRET})
    assert silent.status == "warning"
    assert runs.check_remote({"MLFLOW_TRACKING_URI": f"{server}/500"}).status == "warning"
    assert not any(SECRET in found.found + found.mend for found in (refused, welcome, silent))


def test_dagshub_without_a_token_is_told_without_asking_anybody(server):
    place = {"DAGSHUB_REPO_OWNER": "me", "DAGSHUB_REPO_NAME": "it", "DAGSHUB_CLIENT_HOST": server}
    assert "no token" in runs.check_remote(place).found
    with_token = runs.check_remote(place | {"DAGSHUB_USER_TOKEN": SECRET})
    assert with_token == ok(f"{server}/me/it.mlflow, with DAGSHUB_USER_TOKEN: answers")

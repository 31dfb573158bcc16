"""The two servers that people start: the model over HTTP, and the page of the runs."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from recorded_runs import record_run
from servers import HOST, child_process, free_port, wait_for_health
from small_checkpoint import small_checkpoint
from small_project import REPOSITORY

from Resnet23.config import CHECKPOINT_FILE
from Resnet23.errors import InputError
from Resnet23.images import encode_png
from Resnet23.modeling.inference import Classifier
from Resnet23.tracking import serving, ui
from Resnet23.tracking.registry import local_folder, local_model_folder, open_registry
from Resnet23.tracking.serving import choose_model, require_free_port
from Resnet23.tracking.store import open_store
from Resnet23.tracking.ui import runs_without_files

SECONDS = 60  # for an answer


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project with one recorded training, to be copied."""
    folder = tmp_path_factory.mktemp("origin")
    shutil.copy(REPOSITORY / "params.yaml", folder)
    with chdir(folder):
        return folder, record_run(small_checkpoint())


@pytest.fixture
def recorded(origin: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run of a copy of that project, which is the current directory."""
    folder, run_id = origin
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return run_id


@contextmanager
def running(module: str, log: Path) -> Iterator[int]:
    """A module command that serves HTTP from the current directory, as from a shell without .venv/bin on its PATH."""
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "_MLFLOW_"))}
    environment |= {"PYTHONPATH": str(REPOSITORY), "PATH": os.defpath}
    command = [sys.executable, "-m", f"Resnet23.tracking.{module}", "--port", str(port)]
    with child_process(command, environment, log) as process:
        wait_for_health(port, process, log)
        yield port


def two_images_of_different_classes() -> tuple[np.ndarray, list[str]]:
    """Two images (2, 16, 16, 3) uint8, and what the classifier takes them for."""
    colours = np.random.default_rng(0).integers(0, 256, (30, 1, 1, 3), np.uint8)
    images = np.broadcast_to(colours, (30, 16, 16, 3)).copy()
    classifier = Classifier(small_checkpoint(), torch.device("cpu"), batch_size=30)
    best = classifier.probabilities(classifier.dataset(images, np.zeros(30, np.int64))).argmax(axis=1)
    other = int(np.flatnonzero(best != best[0])[0])
    return images[[0, other]], [classifier.classes[best[index]] for index in (0, other)]


def post(port: int, content: Any) -> Any:
    """The server's answer to a request for predictions."""
    headers = {"Content-Type": "application/json"}
    request = Request(f"http://{HOST}:{port}/invocations", json.dumps(content).encode(), headers)
    with urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_served_model_answers_as_the_classifier_does(recorded: str, tmp_path: Path) -> None:
    images, expected = two_images_of_different_classes()
    rows = [{"image": base64.b64encode(encode_png(image)).decode()} for image in images]
    with running("serving", tmp_path / "log") as port:
        answers = post(port, {"dataframe_records": rows})["predictions"]
        assert [answer["class"] for answer in answers] == expected
        [example] = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("printf")]
        if shutil.which("curl"):
            Path("IMAGE").write_bytes(encode_png(images[0]))
            result = subprocess.run(["bash", "-c", example], capture_output=True, timeout=SECONDS, check=True)
            [answer] = json.loads(result.stdout)["predictions"]
            assert answer["class"] == expected[0]
    assert f"the newest model, of run {recorded}" in (tmp_path / "log").read_text()
    assert not Path("mlflow.db").exists()


def test_the_champion_is_preferred_to_a_newer_model(recorded: str) -> None:
    with open_store() as store:
        open_registry("resnet23", store, None).promote(recorded, {})
    newer = record_run(small_checkpoint())
    folder, which = choose_model("resnet23", store, None)
    assert which == "version 1 of resnet23, the champion in mlruns/mlflow.db (no remote is named)"
    assert folder == local_model_folder(store, store.get_run(recorded))
    folder, which = choose_model("another experiment", store, None)
    assert which.startswith(f"the newest model, of run {newer}; another experiment has no champion in mlruns")
    assert folder == local_model_folder(store, store.get_run(newer))


def test_without_a_model_there_is_nothing_to_serve(origin: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copy(origin[0] / "params.yaml", tmp_path)
    with chdir(tmp_path), pytest.raises(InputError, match="no model to serve; train first"):
        serving.main(port=free_port())


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"--port {port}: cannot listen on {HOST} \(.*in use\); name another port"
        ):
            require_free_port(HOST, port)


def test_the_page_shows_the_files_of_a_project_that_was_moved(recorded: str, tmp_path: Path) -> None:
    moved = tmp_path.with_name(f"{tmp_path.name} moved; 100% sure? #ü")
    tmp_path.rename(moved)
    with chdir(moved), running("ui", moved / "log") as port:
        address = f"http://{HOST}:{port}/get-artifact?path={CHECKPOINT_FILE.as_posix()}&run_uuid={recorded}"
        with urlopen(address, timeout=SECONDS) as answer:
            assert answer.read() == CHECKPOINT_FILE.read_bytes()
    assert "not in the project" not in (moved / "log").read_text()


def test_runs_whose_files_did_not_move_along_are_found(recorded: str) -> None:
    with open_store() as store:
        assert runs_without_files(store) == []
        folder = local_folder(store.get_run(recorded).info.artifact_uri)
        shutil.rmtree(folder)
        assert [run.info.run_id for run in runs_without_files(store)] == [recorded]


def test_without_a_store_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"mlruns/mlflow\.db: no such file.*make train"):
        ui.main()
    assert not list(tmp_path.iterdir())

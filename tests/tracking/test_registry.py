"""The registry of models, in the local store and on a real server."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from recorded_runs import record_run
from servers import Exchange, FaultyServer, MlflowServer, answer, old_server
from small_checkpoint import small_checkpoint

from Resnet23.errors import InputError, Resnet23Error
from Resnet23.files import sha256_file
from Resnet23.tracking.destination import Remote
from Resnet23.tracking.registry import local_model_folder, newest_model, open_registry
from Resnet23.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

NETWORK = Path("data/model.pt2")
TAGS = {"test_accuracy": "0.75", "git_revision": "abc"}
SET_BY_CONNECT = ("USERNAME", "PASSWORD", "TOKEN")


class Recorded(NamedTuple):
    """A project in the current directory, its store and its two runs, the older one first."""

    folder: Path
    store: "MlflowClient"
    first: str
    second: str


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A project with two recorded trainings, to be copied."""
    folder = tmp_path_factory.mktemp("origin")
    with chdir(folder):
        return folder, record_run(small_checkpoint()), record_run(small_checkpoint())


@pytest.fixture
def recorded(
    origin: tuple[Path, str, str], experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recorded]:
    """A copy of it, elsewhere, whose experiment has a name of its own."""
    folder, *runs = origin
    shutil.copytree(folder, tmp_path / "moved here")
    monkeypatch.chdir(tmp_path / "moved here")
    for key in (*(f"MLFLOW_TRACKING_{key}" for key in SET_BY_CONNECT), "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(key, "")  # so that it is as before afterwards
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with open_store() as store:
        store.rename_experiment(store.get_run(runs[0]).info.experiment_id, experiment)
    return Recorded(Path.cwd(), store, *runs)


@pytest.fixture
def experiment() -> str:
    return f"registry-{secrets.token_hex(4)}"


def remote_of(server: MlflowServer | FaultyServer) -> Remote:
    return Remote(server.url, server.username, server.password)


def elsewhere(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    """The empty store of another machine's project, which becomes the current directory."""
    folder = recorded.folder.with_name("elsewhere")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with open_store() as store:
        return store


def without_logged_models(exchange: Exchange) -> None:
    """A server with a registry, but from before models had ids of their own."""
    if "/logged-models" in exchange.path or exchange.path.endswith("/runs/outputs"):
        exchange.answer(404)
    else:
        exchange.forward()


def test_a_promoted_run_is_the_champion_until_another_one_is(recorded: Recorded, experiment: str) -> None:
    registry = open_registry(experiment, recorded.store, None)
    assert registry.place == "mlruns/mlflow.db (no remote is named)"
    assert registry.champion() is None
    for run_id, version in [
        (recorded.first, "1"),
        (recorded.second, "2"),
        (recorded.second, "2"),
        (recorded.first, "1"),
    ]:
        assert registry.promote(run_id, TAGS) == version
        champion = registry.champion()
        assert (champion.version, champion.run_id, champion.metrics) == (version, run_id, {"train_loss": 0.5})
    assert TAGS.items() <= recorded.store.get_model_version(experiment, "2").tags.items()


def test_the_champion_of_a_project_that_was_moved_is_found_in_it(
    recorded: Recorded, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_registry(experiment, recorded.store, None).promote(recorded.first, TAGS)
    moved = recorded.folder.with_name("moved again")
    recorded.folder.rename(moved)
    monkeypatch.chdir(moved)
    with open_store() as store:
        registry = open_registry(experiment, store, None)
    folder = registry.model_folder(registry.champion())
    assert folder.is_relative_to(moved)
    assert (folder / NETWORK).is_file()


def test_a_champion_without_its_files_is_one_clear_line(recorded: Recorded, experiment: str) -> None:
    registry = open_registry(experiment, recorded.store, None)
    registry.promote(recorded.first, TAGS)
    shutil.rmtree(recorded.folder / "mlruns/artifacts")
    with pytest.raises(InputError, match=r"version 1 of .* files of its model are gone"):
        registry.model_folder(registry.champion())


def test_an_experiments_name_may_hold_what_a_models_may_not(recorded: Recorded) -> None:
    registry = open_registry("team/resnet:23", recorded.store, None)
    assert registry.promote(recorded.first, TAGS) == "1"
    assert registry.name == "team-resnet-23"


def test_the_newest_model_is_that_of_the_latest_run_that_was_not_deleted(recorded: Recorded) -> None:
    run, folder = newest_model(recorded.store)
    assert run.info.run_id == recorded.second
    assert folder == local_model_folder(recorded.store, run)
    recorded.store.delete_run(recorded.second)
    assert newest_model(recorded.store)[0].info.run_id == recorded.first


def test_a_project_without_runs_has_no_newest_model(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    assert newest_model(elsewhere(recorded, monkeypatch)) is None


def test_on_a_remote_the_run_is_sent_first_and_everybody_sees_the_champion(
    recorded: Recorded, experiment: str, faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = open_registry(experiment, recorded.store, remote_of(faulty_server))
    assert registry.place == f"{faulty_server.url} (the remote)"
    assert registry.champion() is None
    assert [registry.promote(recorded.first, TAGS) for _ in range(2)] == ["1", "1"]
    champion = registry.champion()
    assert (champion.version, champion.run_id, champion.metrics) == ("1", recorded.first, {"train_loss": 0.5})
    original = registry.model_folder(champion)
    assert original.is_relative_to(recorded.folder / "mlruns/artifacts")
    assert open_registry(experiment, recorded.store, None).champion() is None

    registry = open_registry(experiment, elsewhere(recorded, monkeypatch), remote_of(faulty_server))
    downloaded = registry.model_folder(registry.champion())
    assert sha256_file(downloaded / NETWORK) == sha256_file(original / NETWORK)
    faulty_server.requests.clear()
    assert registry.model_folder(champion) == downloaded
    assert not any("artifacts" in request.path for request in faulty_server.requests)


def test_the_registered_model_loads_by_its_alias(
    recorded: Recorded, experiment: str, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    open_registry(experiment, recorded.store, remote_of(mlflow_server)).promote(recorded.first, TAGS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    loaded = mlflow.pyfunc.load_model(f"models:/{experiment}@champion")
    assert loaded.metadata.metadata["classes"] == small_checkpoint().classes


def test_a_server_that_keeps_models_as_files_has_champions_too(
    recorded: Recorded, experiment: str, faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty_server.fault = without_logged_models
    registry = open_registry(experiment, recorded.store, remote_of(faulty_server))
    assert [registry.promote(recorded.first, TAGS) for _ in range(2)] == ["1", "1"]
    registry = open_registry(experiment, elsewhere(recorded, monkeypatch), remote_of(faulty_server))
    folder = registry.model_folder(registry.champion())
    assert {"MLmodel", "classifier.json"} <= {path.name for path in folder.iterdir()}


def test_where_the_remote_has_no_registry_the_local_one_serves(
    recorded: Recorded, experiment: str, faulty_server: FaultyServer
) -> None:
    faulty_server.fault = old_server
    registry = open_registry(experiment, recorded.store, remote_of(faulty_server))
    assert registry.place == f"mlruns/mlflow.db ({faulty_server.url} offers no registry of models)"
    assert registry.promote(recorded.first, TAGS) == "1"
    assert open_registry(experiment, recorded.store, None).champion().run_id == recorded.first


@pytest.mark.parametrize(("status", "message"), [(401, "refuses the credentials"), (500, "; run this again later")])
def test_a_remote_in_trouble_is_one_clear_line(
    recorded: Recorded, experiment: str, faulty_server: FaultyServer, status: int, message: str
) -> None:
    faulty_server.fault = answer(status)
    with pytest.raises(Resnet23Error, match=message) as caught:
        open_registry(experiment, recorded.store, remote_of(faulty_server))
    assert faulty_server.url in str(caught.value)
    assert faulty_server.password not in str(caught.value)


def test_a_run_whose_copy_was_deleted_is_not_promoted(
    recorded: Recorded, experiment: str, mlflow_server: MlflowServer
) -> None:
    registry = open_registry(experiment, recorded.store, remote_of(mlflow_server))
    registry.promote(recorded.first, TAGS)
    there = mlflow_server.client()
    there.delete_run(there.get_model_version_by_alias(experiment, "champion").run_id)
    with pytest.raises(InputError, match="was deleted"):
        registry.promote(recorded.first, TAGS)

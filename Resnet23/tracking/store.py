"""The local store of the runs: an SQLite database and a folder of artifacts inside the project. It is the record."""

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock

from Resnet23.environment import project_root
from Resnet23.errors import InputError
from Resnet23.files import atomic_path, is_text, printable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Relative to the project.
STORE_FILE = Path("mlruns/mlflow.db")
ARTIFACTS_DIR = Path("mlruns/artifacts")
LOCK_FILE = Path("mlruns/mlflow.lock")
LOCKS_DIR = Path("mlruns/locks")
LOCK_SECONDS = 300  # creating a store takes 3 s on an idle machine, opening one milliseconds
PARENT = "mlflow.parentRunId"  # MLflow's own tag, by which its pages nest runs
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
LOCATION_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@contextmanager
def open_store() -> Iterator["MlflowClient"]:
    """The project's store, made when there is none, for this process alone while the block runs.

    Raises InputError in a folder whose path is not UTF-8, where MLflow would write to another one beside it.
    """
    if not is_text(project_root()):
        raise InputError(
            f"{printable(project_root())}: holds bytes that are not UTF-8, and MLflow needs a folder without; rename it"
        )
    store, lock = project_root() / STORE_FILE, project_root() / LOCK_FILE
    lock.parent.mkdir(exist_ok=True)
    with FileLock(lock, timeout=LOCK_SECONDS):
        if store.exists():
            _relocate_artifacts()
        else:
            with atomic_path(store) as temporary:  # a half-made store would never work again
                _connect(temporary).search_experiments(max_results=1)
        yield _connect(store)


def store_client() -> "MlflowClient":
    """The project's store, made when there is none; for reading and writing beside other processes."""
    with open_store() as client:
        return client


def prepare_mlflow() -> None:
    """Make MLflow silent and keep it from calling home; call it before the first import of mlflow."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow and its own dependencies deprecate
        import mlflow  # noqa: F401

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


def store_uri(database: Path) -> str:
    """How MLflow names a database."""
    # SQLAlchemy would decode a % in the path and end it at a ?.
    path = os.path.relpath(database) if {"%", "?"} & set(str(database)) else database.as_posix()
    return f"sqlite:///{path}"


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment called `name`, made or brought back from the deleted ones where needed."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client.create_experiment(name, artifact_location=(project_root() / ARTIFACTS_DIR).as_uri())
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    return experiment.experiment_id


def find_run(client: "MlflowClient", run_id: str) -> "Run | None":
    """The run of that id, None when the store does not know it or it was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def active_runs(client: "MlflowClient", where: str = "") -> list["Run"]:
    """All runs that were not deleted, oldest first, or those of them that MLflow's filter `where` selects."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs, token = [], None
    while True:
        page = client.search_runs(experiments, where, order_by=["attributes.start_time ASC"], page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def run_lock(run_id: str) -> Path:
    """The file to lock while a run is being sent: two senders at once would make two copies."""
    path = project_root() / LOCKS_DIR / f"{run_id}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def local_folder(address: str) -> Path:
    """The folder that a file: address of the store names."""
    return Path(url2pathname(urlsplit(address).path))


def _connect(database: Path) -> "MlflowClient":
    """MLflow's client for one database, apart from its global state."""
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # no connection outlives its use
    prepare_mlflow()
    from mlflow import MlflowClient

    uri = store_uri(database)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _relocate_artifacts() -> None:
    """Let the store find its artifacts although the project was moved: MLflow keeps absolute addresses.

    Raises sqlite3.DatabaseError when the file is no database; MLflow would try it again for minutes.
    """
    root, folder = project_root().as_uri(), f"/{ARTIFACTS_DIR.as_posix()}"
    with closing(sqlite3.connect(project_root() / STORE_FILE, timeout=LOCK_SECONDS)) as connection, connection:
        for table, column in LOCATION_COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, instr({column}, ?)) "
                f"WHERE instr({column}, ?) > 0 AND instr({column}, ?) != 1",
                (root, folder, folder, root + folder),
            )

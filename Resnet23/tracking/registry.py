"""The registry of models, where the alias `champion` names the best one: the remote's, else the local store's."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from Resnet23.config import RUN_FILE
from Resnet23.environment import project_root
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.files import atomic_folder, sha256_file
from Resnet23.tracking.destination import Remote, connect
from Resnet23.tracking.failures import is_not_offered, is_refusal, reason
from Resnet23.tracking.logged_models import MODEL_NAME
from Resnet23.tracking.store import STORE_FILE, find_run, local_folder, run_lock
from Resnet23.tracking.transfer import LOCAL_RUN, RunTransfer

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "champion"
TRAIN_AGAIN = "train again with `dvc repro --force train`"
DOWNLOADS_DIR = Path("mlruns/downloads")  # models of the remote, one folder for each of its runs
REQUEST_SECONDS = 60
LOCK_SECONDS = 120  # for the sender that still works on the run


class RemoteError(Resnet23Error):
    """The remote, whose registry counts, cannot be asked."""


@dataclass(frozen=True)
class Champion:
    """The model that the alias names."""

    version: str
    run_id: str  # in the local store of the project that trained it
    metrics: Mapping[str, float]  # of that run
    source: "Run"  # that run in the registry's own store


class Registry:
    """The versions of one registered model; `place` says in words where they are kept, and why there."""

    def __init__(
        self, name: str, local: "MlflowClient", client: "MlflowClient", remote: Remote | None, place: str
    ) -> None:
        """`client` is that of the registry: of `remote`, or without one `local` itself."""
        self.name = name
        self.place = place
        self._local = local
        self._client = client
        self._remote = remote

    def champion(self) -> Champion | None:
        """The present champion, None when there is none yet."""
        with _explained(self._remote):
            version = _champion_version(self._client, self.name)
            if version is None:
                return None
            run = _source_run(self._client, version)
            run_id = run.data.tags.get(LOCAL_RUN, run.info.run_id)
            return Champion(str(version.version), run_id, run.data.metrics, run)

    def model_folder(self, champion: Champion) -> Path:
        """The champion's MLflow model on this machine: in the local store, else downloaded, which happens once.

        Raises InputError when its files are gone.
        """
        run = find_run(self._local, champion.run_id)
        folder = local_model_folder(self._local, run) if run else None
        if folder:
            return folder
        with _explained(self._remote):
            address = _model_address(self._client, champion.source)
            if address is None or not (self._remote or local_folder(address).exists()):
                raise InputError(
                    f"version {champion.version} of {self.name}: the files of its model are gone; take the alias "
                    f"{ALIAS} away from it on MLflow's page, then promote another one"
                )
            return _download(address, champion.source.info.run_id, self._client.tracking_uri)

    def promote(self, run_id: str, tags: Mapping[str, str]) -> str:
        """Make the model of a run of the local store the champion and give its version, which a repetition keeps.

        Where the registry is the remote's, the run is sent first. `tags` are added to the version.
        Raises InputError when there is no such model in the registry's store.
        """
        with _explained(self._remote):
            run = self._send(run_id) if self._remote else self._local.get_run(run_id)
            version = self._version_of(run) or self._register(run)
            for key, value in tags.items():
                self._client.set_model_version_tag(self.name, version, key, value)
            self._client.set_registered_model_alias(self.name, ALIAS, version)
            return version

    def _version_of(self, run: "Run") -> str | None:
        """The newest version that was made of this run."""
        found = self._client.search_model_versions(f"run_id = '{run.info.run_id}'")
        numbers = [int(version.version) for version in found if version.name == self.name]
        return str(max(numbers)) if numbers else None

    def _register(self, run: "Run") -> str:
        from mlflow.exceptions import MlflowException

        address = _model_address(self._client, run)
        if address is None:
            raise InputError(f"run {run.info.run_id}: has no model in the registry's store; has the run ended?")
        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = self._client.create_model_version(self.name, address, run.info.run_id, model_id=_model_id(run))
        return str(version.version)

    def _send(self, run_id: str) -> "Run":
        """The run's copy on the remote, brought up to date."""
        try:
            with FileLock(run_lock(run_id), timeout=LOCK_SECONDS):
                transfer = RunTransfer(self._local, self._client, run_id)
                transfer.send()
        except Timeout:
            raise Resnet23Error(f"run {run_id}: another process is sending it; run this again later") from None
        copy = self._client.get_run(transfer.copy.info.run_id)
        if copy.info.lifecycle_stage == "deleted":
            raise InputError(f"run {run_id}: its copy on {self._remote.uri} was deleted; restore it there first")
        return copy


def open_registry(experiment: str, local: "MlflowClient", remote: Remote | None) -> Registry:
    """The registry for the models of an experiment: the remote's where there is one, else that of the store `local`.

    Raises RemoteError when the remote cannot be asked: nobody knows then which model is the champion.
    """
    name = re.sub("[/:]", "-", experiment)  # which MLflow refuses in names of models
    if remote is None:
        return Registry(name, local, local, None, f"{STORE_FILE} (no remote is named)")
    client = connect(remote, REQUEST_SECONDS)
    with _explained(remote):
        if _offers_registry(client, name):
            return Registry(name, local, client, remote, f"{remote.uri} (the remote)")
    return Registry(name, local, local, None, f"{STORE_FILE} ({remote.uri} offers no registry of models)")


def check_training(local: "MlflowClient", run_id: str, checkpoint: Path) -> None:
    """Raise InputError unless the local store has this run, with a model, and the run ended with this checkpoint."""
    run = find_run(local, run_id)
    if run is None:
        raise InputError(f"{STORE_FILE}: has no run {run_id}, as {RUN_FILE} names it; {TRAIN_AGAIN}")
    if local_model_folder(local, run) is None:
        raise InputError(f"run {run_id}: has no model in MLflow's format; {TRAIN_AGAIN}")
    recorded = local_folder(run.info.artifact_uri) / checkpoint
    if not recorded.is_file() or sha256_file(recorded) != sha256_file(checkpoint):
        raise InputError(f"{checkpoint}: is not the checkpoint of run {run_id}, as {RUN_FILE} says; {TRAIN_AGAIN}")


def local_model_folder(local: "MlflowClient", run: "Run") -> Path | None:
    """The folder with the MLflow model of a run of the local store; None when there is none, or not any more."""
    address = _model_address(local, run)
    folder = local_folder(address) if address else None
    return folder if folder and folder.is_dir() else None


def newest_model(local: "MlflowClient") -> tuple["Run", Path] | None:
    """The run of the local store with the newest model, and the model's folder; None when no run has one."""
    experiments = [experiment.experiment_id for experiment in local.search_experiments()]
    newest_first = [{"field_name": "creation_timestamp", "ascending": False}]
    for model in local.search_logged_models(experiments, order_by=newest_first):
        run = find_run(local, model.source_run_id) if model.source_run_id else None
        folder = local_model_folder(local, run) if run else None
        if folder:
            return run, folder
    return None


def _offers_registry(client: "MlflowClient", name: str) -> bool:
    try:
        client.search_registered_models(max_results=1)
        _champion_version(client, name)  # aliases are younger than registries
    except Exception as error:
        if is_not_offered(error):
            return False
        raise
    return True


def _champion_version(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """The version that the alias names; None without alias or without such a model."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no such model, no such alias
            return None
        raise


def _source_run(client: "MlflowClient", version: "ModelVersion") -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(version.run_id)
    except MlflowException as error:
        if version.run_id and error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise InputError(
            f"version {version.version} of {version.name}: the run that it came from is not known; take the alias "
            f"{ALIAS} away from it on MLflow's page, then promote another one"
        ) from None


def _model_id(run: "Run") -> str | None:
    """The id of the run's newest model where the store keeps models by id."""
    models = run.outputs.model_outputs if run.outputs else []
    return models[-1].model_id if models else None


def _model_address(client: "MlflowClient", run: "Run") -> str | None:
    """Where the MLflow model of a run lies; None when it has none."""
    model_id = _model_id(run)
    if model_id:
        return client.get_logged_model(model_id).artifact_location
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    return f"{run.info.artifact_uri}/{MODEL_NAME}" if MODEL_NAME in files else None  # a server without logged models


def _download(address: str, run_id: str, tracking_uri: str) -> Path:
    """The folder at `address` of a store, downloaded unless it was before."""
    from mlflow.artifacts import download_artifacts

    folder = project_root() / DOWNLOADS_DIR / run_id
    if not folder.exists():
        with atomic_folder(folder) as temporary:
            download_artifacts(artifact_uri=address, dst_path=str(temporary), tracking_uri=tracking_uri)
    return folder / PurePosixPath(address).name


@contextmanager
def _explained(remote: Remote | None) -> Iterator[None]:
    """Raise what goes wrong with the remote as an error of one line."""
    try:
        yield
    except Resnet23Error:
        raise
    except Exception as error:
        if remote is None:
            raise
        advice = "check user, password and token" if is_refusal(error) else "run this again later"
        raise RemoteError(f"{remote.uri}: {remote.without_secrets(reason(error))}; {advice}") from None

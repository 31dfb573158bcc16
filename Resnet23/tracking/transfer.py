"""Copying runs from the local store to a remote MLflow server; doing it again changes nothing.

The copy carries the tag `local_run_id`, by which it is found again, and once it is whole the tag `local_end_time`.
Files are compared by the SHA-256 that the artifact `artifacts.sha256` lists, metrics point by point.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from Resnet23.errors import InputError
from Resnet23.files import sha256_file
from Resnet23.tracking.failures import http_status, is_not_offered
from Resnet23.tracking.limits import MAX_ENTRIES, MAX_METRICS, batches
from Resnet23.tracking.logged_models import MODEL_NAME, assign_model, log_model_folder
from Resnet23.tracking.store import PARENT, find_run, local_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

LOCAL_RUN = "local_run_id"
LOCAL_END = "local_end_time"
OWN_TAGS = ("mlflow.runName",)  # given when the copy is made
DIGESTS_FILE = "artifacts.sha256"  # in the format of the command sha256sum
LARGE_FILE = 1 << 20  # bytes; after one of these the digests are saved, so that it is not sent twice
OLD_MAX_VALUE = 500  # characters; what servers before MLflow 2.10 take
UPLOAD_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",  # seconds, for the server's answer after a file's last byte
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


class RunTransfer:
    """One run and its copy on the remote. After a failure make a new one: what arrived is then looked up again."""

    def __init__(self, local: "MlflowClient", remote: "MlflowClient", run_id: str) -> None:
        self._local = local
        self._remote = remote
        self._run_id = run_id
        self._sent_points: dict[str, set[tuple[int, int]]] = {}  # metric -> (step, timestamp)
        self.copy: Run | None = None

    def send(self) -> bool:
        """Bring the copy up to date; files and model only of a run that has ended. False: it was up to date.

        Raises what MLflow and the network raise.
        """
        run = self._local.get_run(self._run_id)
        self.copy = self.copy or self._find_or_create(run)
        if self.copy.info.lifecycle_stage == "deleted" or _is_whole(self.copy, run):
            return False  # whoever deleted the copy does not want it again
        self._send_params(run)
        self._send_metrics(run)
        self._send_tags(run.data.tags)
        if run.info.status == "RUNNING":
            self._remote.update_run(self.copy.info.run_id, status="RUNNING")
        else:
            self._finish(run)
        self.copy = self._remote.get_run(self.copy.info.run_id)
        return True

    def _finish(self, run: "Run") -> None:
        """Send what a run has once it has ended; the last tag says that all of it has arrived."""
        self._send_dataset(run)
        self._send_files(run)
        self._remote.set_terminated(self.copy.info.run_id, run.info.status, run.info.end_time)
        self._send_tags({LOCAL_END: str(run.info.end_time)})

    def _find_or_create(self, run: "Run") -> "Run":
        """The copy that is there. Of several, left by requests that were answered too late, one is kept."""
        from mlflow.entities import ViewType

        experiment = self._experiment(run)
        copies = self._remote.search_runs([experiment], f"tags.{LOCAL_RUN} = '{run.info.run_id}'", ViewType.ALL)
        copies.sort(key=lambda copy: (copy.info.lifecycle_stage, copy.info.run_id))  # active before deleted
        for double in copies[1:]:
            if double.info.lifecycle_stage == "active":
                self._remote.delete_run(double.info.run_id)
        if copies:
            return copies[0]
        tags = {LOCAL_RUN: run.info.run_id} | self._parent_tag(run)
        return self._remote.create_run(experiment, run.info.start_time, tags, run.info.run_name)

    def _parent_tag(self, run: "Run") -> dict[str, str]:
        """The tag that puts the copy below the copy of its parent, which is sent first."""
        parent = run.data.tags.get(PARENT)
        if parent is None or find_run(self._local, parent) is None:
            return {}
        transfer = RunTransfer(self._local, self._remote, parent)
        transfer.send()
        return {PARENT: transfer.copy.info.run_id}

    def _experiment(self, run: "Run") -> str:
        """The remote's experiment of the same name, made where needed.

        Raises InputError when it was deleted there: to bring it back would bring back all its runs.
        """
        name = self._local.get_experiment(run.info.experiment_id).name
        found = self._remote.get_experiment_by_name(name)
        if found is None:
            return self._create_experiment(name)
        if found.lifecycle_stage != "active":
            raise InputError(f"experiment {name} was deleted there; restore it, or name another tracking.experiment")
        return found.experiment_id

    def _create_experiment(self, name: str) -> str:
        try:
            return self._remote.create_experiment(name)
        except Exception:
            found = self._remote.get_experiment_by_name(name)  # made by another process meanwhile?
            if found is None:
                raise
            return found.experiment_id

    def _send_params(self, run: "Run") -> None:
        from mlflow.entities import Param

        new = [Param(key, value) for key, value in run.data.params.items() if key not in self.copy.data.params]
        self._send_batches(new, MAX_ENTRIES, lambda batch: {"params": batch})

    def _send_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        known = self.copy.data.tags
        new = [RunTag(k, v) for k, v in tags.items() if known.get(k) != v and k not in (*OWN_TAGS, PARENT)]
        self._send_batches(new, MAX_ENTRIES, lambda batch: {"tags": batch})

    def _send_metrics(self, run: "Run") -> None:
        points = []
        for key in run.data.metrics:
            here = self._local.get_metric_history(run.info.run_id, key)
            there = self._points(key, here)
            points += [point for point in here if (point.step, point.timestamp) not in there]
        self._send_batches(points, MAX_METRICS, lambda batch: {"metrics": batch})
        for point in points:
            self._sent_points[point.key].add((point.step, point.timestamp))

    def _points(self, key: str, here: Sequence["Metric"]) -> set[tuple[int, int]]:
        """The points of a metric that the copy has; asked for once, and not when the only one is the same."""
        if key not in self._sent_points:
            there = self.copy.data.metrics
            if key not in there:
                history = []
            elif len(here) == 1 and there[key] == here[0].value:
                history = here
            else:
                history = self._remote.get_metric_history(self.copy.info.run_id, key)
            self._sent_points[key] = {(point.step, point.timestamp) for point in history}
        return self._sent_points[key]

    def _send_batches(
        self, entries: Sequence[Any], size: int, arguments: Callable[[Sequence[Any]], dict[str, Sequence[Any]]]
    ) -> None:
        """Send entries together. Where the server refuses that, one of them is too long for it: that one is cut."""
        for batch in batches(entries, size):
            try:
                self._remote.log_batch(self.copy.info.run_id, synchronous=True, **arguments(batch))
            except Exception as error:
                if http_status(error) != 400:
                    raise
                if len(batch) > 1:
                    self._send_batches(batch, (len(batch) + 1) // 2, arguments)
                elif len(value := str(batch[0].value)) > OLD_MAX_VALUE:
                    self._send_batches([type(batch[0])(batch[0].key, value[:OLD_MAX_VALUE])], 1, arguments)
                else:
                    raise

    def _send_dataset(self, run: "Run") -> None:
        """Name the dataset; servers before MLflow 2.4 have no place for it."""
        if not run.inputs.dataset_inputs or (self.copy.inputs and self.copy.inputs.dataset_inputs):
            return
        try:
            self._remote.log_inputs(self.copy.info.run_id, run.inputs.dataset_inputs)
        except Exception as error:
            if not is_not_offered(error):
                raise

    def _send_files(self, run: "Run") -> None:
        """Send the model as a model where the server knows such, else as files, and the other files."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = local_folder(run.info.artifact_uri)
            files = {path.relative_to(folder).as_posix(): path for path in _files_in(folder)}
            model = self._model_folder(run, Path(temporary, MODEL_NAME))
            if model and not self._send_model(model):
                files |= {f"{MODEL_NAME}/{path.relative_to(model).as_posix()}": path for path in _files_in(model)}
            _FileTransfer(self._remote, self.copy.info.run_id).send(files)

    def _model_folder(self, run: "Run", copy: Path) -> Path | None:
        """A copy of the run's model that names the remote's run; None when it has none, or the remote has it."""
        here = run.outputs.model_outputs if run.outputs else []
        there = self.copy.outputs.model_outputs if self.copy.outputs else []
        if not here or there:
            return None
        folder = self._logged_model_folder(here[-1].model_id)
        if folder is None:
            return None
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        assign_model(copy, self.copy.info.run_id, None)
        return copy

    def _logged_model_folder(self, model_id: str) -> Path | None:
        """Where the store keeps a model; None when somebody deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            folder = local_folder(self._local.get_logged_model(model_id).artifact_location)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return folder if folder.is_dir() else None

    def _send_model(self, folder: Path) -> bool:
        """Add the model to the copy's outputs; False when the server has no place for models."""
        where = f"source_run_id = '{self.copy.info.run_id}'"
        try:
            for unfinished in self._remote.search_logged_models([self.copy.info.experiment_id], where):
                self._remote.delete_logged_model(unfinished.model_id)
            with _patient():
                log_model_folder(self._remote, self.copy, folder)
        except Exception as error:
            if is_not_offered(error):
                return False
            raise
        return True


class _FileTransfer:
    """The files of a run on the remote, and their digests as the remote lists them."""

    def __init__(self, remote: "MlflowClient", run_id: str) -> None:
        self._remote = remote
        self._run_id = run_id

    def send(self, files: Mapping[str, Path]) -> None:
        """Send the files, by their paths in the run, whose contents the remote does not have; small ones first."""
        digests = {name: sha256_file(path) for name, path in files.items()}
        there = self._listed_digests()
        new = [name for name in files if there.get(name) != digests[name]]
        for name in sorted(new, key=lambda name: files[name].stat().st_size):
            folder = PurePosixPath(name).parent.as_posix()
            with _patient():
                self._remote.log_artifact(self._run_id, str(files[name]), None if folder == "." else folder)
            there[name] = digests[name]
            if files[name].stat().st_size >= LARGE_FILE:
                self._list_digests(there)
        if new:
            self._list_digests(there)

    def _listed_digests(self) -> dict[str, str]:
        """What the remote's list says; nothing when there is none yet."""
        if DIGESTS_FILE not in [file.path for file in self._remote.list_artifacts(self._run_id)]:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            text = Path(self._remote.download_artifacts(self._run_id, DIGESTS_FILE, folder)).read_text(encoding="utf-8")
        return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}

    def _list_digests(self, digests: Mapping[str, str]) -> None:
        lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
        self._remote.log_text(self._run_id, "".join(lines), DIGESTS_FILE)


def _is_whole(copy: "Run", run: "Run") -> bool:
    """Whether everything of a run that has ended had arrived when it ended."""
    return run.info.status != "RUNNING" and copy.data.tags.get(LOCAL_END) == str(run.info.end_time)


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def _patient() -> Iterator[None]:
    """Allow the upload of a file more time and a second try, which for an upload does no harm."""
    before = {key: os.environ.get(key) for key in UPLOAD_SETTINGS}
    os.environ.update(UPLOAD_SETTINGS)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})

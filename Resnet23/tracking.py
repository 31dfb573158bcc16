"""The experiment tracker: one MLflow run for each pipeline run, in an SQLite store inside the project.

Training opens a run and leaves its id in a run file; prediction and plots add to that run. Tracking never costs
a result: the first failure of the store ends it with one warning, and the stage goes on without. This is the only
module that imports mlflow, and only inside functions: the import takes seconds.
"""

import copy
import functools
import json
import logging
import math
import os
import platform
import re
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from filelock import FileLock
from loguru import logger

from Resnet23.config import TrackingParams, flatten
from Resnet23.errors import InputError, Resnet23Error, Terminated
from Resnet23.files import atomic_path, printable, write_json
from Resnet23.revision import git_revision

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient
    from mlflow.entities import Run

STORE_FILE = Path("mlruns/mlflow.db")
ARTIFACTS_DIR = Path("mlruns/artifacts")
LOCK_FILE = Path("mlruns/mlflow.lock")
LOCK_SECONDS = 300  # creating a store takes 3 s on an idle machine, opening one milliseconds
LOCATION_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)

# What one MLflow request and one MLflow value may hold.
MAX_METRICS = 1000
MAX_ENTRIES = 100  # params or tags
MAX_NAME = 250
MAX_VALUE = 6000


def start_run(
    params: TrackingParams, run_params: Mapping[str, Any], tags: Mapping[str, Any] | None = None
) -> "Tracker":
    """Open a new run, with `run_params` as its parameters and `tags` beside the versions of code and libraries.

    Parameters keep their dotted keys, except that those of training lose their prefix: `train.epochs` is `epochs`.
    """
    if not params.enabled:
        return NullTracker()
    logged = {key.removeprefix("train."): value for key, value in flatten(run_params).items()}
    try:
        with _open_store() as client:
            tracker = _create_run(client, params.experiment, _run_name(logged), _versions() | dict(tags or {}))
            tracker.log_params(logged)
            return tracker
    except Exception as error:
        return _untracked(error)


def continue_run(params: TrackingParams, run_file: Path) -> "Tracker":
    """Reopen the run that `run_file` names, to add to it.

    A run that this project's store does not know, as after a clone, gets a successor tagged `source_run_id`.
    Without a run file, or when the training was not tracked, nothing is.
    """
    if not params.enabled:
        return NullTracker()
    try:
        source = _read_run_file(run_file)
        if source is None:
            logger.info(f"{printable(run_file)} names no tracked training, so this stage is not tracked either")
            return NullTracker()
        with _open_store() as client:
            return _reopen_run(client, source) or _succeed_run(client, source)
    except Exception as error:
        return _untracked(error)


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Make the first failure of a Tracker's method one warning, after which its methods do nothing."""

    @functools.wraps(method)
    def attempt(tracker: "Tracker", *args: Any, **kwargs: Any) -> None:
        if tracker._stopped:
            return
        try:
            method(tracker, *args, **kwargs)
        except Exception as error:
            tracker._stopped = True
            _warn(error)

    return attempt


class Tracker:
    """One run in the store, open as long as the `with` block; how the block ends becomes the run's status."""

    def __init__(self, client: "MlflowClient | None", run_id: str | None, experiment: str | None) -> None:
        self._client = client
        self._stopped = client is None
        self.run_id = run_id
        self.experiment = experiment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._end("FINISHED")
        else:
            self._end("KILLED" if issubclass(kind, KeyboardInterrupt | Terminated) else "FAILED")

    def _end(self, status: str) -> None:
        """Close the run, also after a failure that left the store itself whole, such as a model beyond exporting."""
        if self._client is None:
            return
        try:
            self._client.set_terminated(self.run_id, status)
        except Exception as error:
            if not self._stopped:
                _warn(error)

    @_harmless
    def log_params(self, values: Mapping[str, Any]) -> None:
        """Add parameters; MLflow lets none of them change afterwards."""
        from mlflow.entities import Param

        entries = [Param(_legal(key), str(value)[:MAX_VALUE]) for key, value in flatten(values).items()]
        for batch in _batches(entries, MAX_ENTRIES):
            self._client.log_batch(self.run_id, params=batch, synchronous=True)

    @_harmless
    def log_tags(self, values: Mapping[str, Any]) -> None:
        """Add tags, or replace those of the same name; nested keys are joined by dots."""
        from mlflow.entities import RunTag

        entries = [RunTag(_legal(key), str(value)[:MAX_VALUE]) for key, value in flatten(values).items()]
        for batch in _batches(entries, MAX_ENTRIES):
            self._client.log_batch(self.run_id, tags=batch, synchronous=True)

    @_harmless
    def log_metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Add numbers, nested keys joined by dots; `step` is the epoch. What is not a finite number is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)  # milliseconds
        numbers = {key: float(value) for key, value in flatten(values).items() if isinstance(value, Real)}
        entries = [Metric(_legal(key), x, now, step or 0) for key, x in numbers.items() if math.isfinite(x)]
        for batch in _batches(entries, MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=batch, synchronous=True)

    def last_step(self, metric: str) -> int:
        """The highest step for which the run holds this metric, 0 when there is none."""
        if self._stopped:
            return 0
        try:
            history = self._client.get_metric_history(self.run_id, metric)
            return max((point.step for point in history), default=0)
        except Exception as error:
            self._stopped = True
            _warn(error)
            return 0

    @_harmless
    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Copy a file, or a folder with all that is in it, into the run's `folder`."""
        self._client.log_artifact(self.run_id, str(path), folder or None)

    @_harmless
    def log_model(self, model: "torch.nn.Module", example: np.ndarray) -> None:
        """Add the model in PyTorch's exported format, which loads without this package and runs no foreign code.

        `example` is a batch as the network takes it, (N, 3, H, W) float32, N at least 2: with one image the
        export would take 1 for the only batch size there is. `model` itself is left as it is.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        run = self._client.get_run(self.run_id)
        logged = self._client.create_logged_model(run.info.experiment_id, "model", self.run_id, params=run.data.params)
        description = Model(logged.artifact_location, self.run_id, model_uuid=logged.model_id, model_id=logged.model_id)
        with tempfile.TemporaryDirectory() as folder:
            _export_model(model, example, description, Path(folder, "model"))
            self._client.log_model_artifacts(logged.model_id, str(Path(folder, "model")))
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step=0)])

    def write_run_file(self, path: str | Path) -> None:
        """Write {run_id, experiment, store} for the stages that add to this run; all null when nothing is tracked."""
        store = STORE_FILE.as_posix() if self.run_id else None
        write_json(path, {"run_id": self.run_id, "experiment": self.experiment, "store": store})


class NullTracker(Tracker):
    """A tracker that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(client=None, run_id=None, experiment=None)


class RunFile(NamedTuple):
    """What the stages after training need to know of a run."""

    run_id: str
    experiment: str


@contextmanager
def _open_store() -> Iterator["MlflowClient"]:
    """The store of the project in the current directory, made when there is none, for this process alone."""
    LOCK_FILE.parent.mkdir(exist_ok=True)
    with FileLock(LOCK_FILE, timeout=LOCK_SECONDS):
        if STORE_FILE.exists():
            _relocate_artifacts()
        else:
            with atomic_path(STORE_FILE) as temporary:  # a half-made store would never work again
                _connect(temporary).search_experiments(max_results=1)
        yield _connect(STORE_FILE)


def _connect(database: Path) -> "MlflowClient":
    """MLflow's client for one database, apart from its global state, silent, and without calls home."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # no connection outlives its use
    absolute = Path.cwd() / database
    # SQLAlchemy would decode a % in the path and end it at a ?.
    path = os.path.relpath(absolute) if {"%", "?"} & set(str(absolute)) else absolute.as_posix()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow and its own dependencies deprecate
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # its errors reach us as exceptions
        return MlflowClient(tracking_uri=f"sqlite:///{path}", registry_uri=f"sqlite:///{path}")


def _relocate_artifacts() -> None:
    """Let the store find its artifacts although the project was moved: MLflow keeps absolute addresses.

    Raises sqlite3.DatabaseError when the file is no database; MLflow would try it again for minutes.
    """
    root, folder = Path.cwd().as_uri(), f"/{ARTIFACTS_DIR.as_posix()}"
    with closing(sqlite3.connect(STORE_FILE, timeout=LOCK_SECONDS)) as connection, connection:
        for table, column in LOCATION_COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, instr({column}, ?)) "
                f"WHERE instr({column}, ?) > 0 AND instr({column}, ?) != 1",
                (root, folder, folder, root + folder),
            )


def _experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment called `name`, made or brought back from the deleted ones where needed."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client.create_experiment(name, artifact_location=(Path.cwd() / ARTIFACTS_DIR).as_uri())
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    return experiment.experiment_id


def _create_run(client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, Any]) -> Tracker:
    run = client.create_run(_experiment_id(client, experiment), run_name=name)
    tracker = Tracker(client, run.info.run_id, experiment)
    tracker.log_tags(tags)
    return tracker


def _reopen_run(client: "MlflowClient", source: RunFile) -> Tracker | None:
    """The run of a run file, running again; None when the store has no such run, or a deleted one."""
    run = _find_run(client, source.run_id)
    if run is None or run.info.lifecycle_stage != "active":
        return None
    client.update_run(run.info.run_id, status="RUNNING")
    return Tracker(client, run.info.run_id, source.experiment)


def _succeed_run(client: "MlflowClient", source: RunFile) -> Tracker:
    """A new run for results of a training that is recorded elsewhere."""
    logger.info(f"{STORE_FILE}: has no run {source.run_id}; a new run tagged source_run_id takes its place")
    tags = _versions() | {"source_run_id": source.run_id}
    return _create_run(client, source.experiment, f"after-{source.run_id[:8]}", tags)


def _find_run(client: "MlflowClient", run_id: str) -> "Run | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _read_run_file(path: Path) -> RunFile | None:
    """The contents of a run file; None when there is no file or it names no run."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = RunFile(content["run_id"], content["experiment"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{printable(path)}: not a run file as training writes it; train again to get one") from None
    return found if found.run_id else None


def _export_model(model: "torch.nn.Module", example: np.ndarray, description: Any, folder: Path) -> None:
    """Save a copy of `model` on the CPU, in evaluation mode, as an MLflow model folder."""
    import mlflow.pytorch
    import torch
    from mlflow.models import infer_signature

    if len(example) < 2:
        raise ValueError(f"the example batch holds {len(example)} image, at least 2 are needed")
    copied = copy.deepcopy(model).to("cpu", memory_format=torch.contiguous_format).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own code
        mlflow.pytorch.save_model(
            copied,
            folder,
            mlflow_model=description,
            signature=infer_signature(example, copied(torch.from_numpy(example)).numpy()),
            input_example=example,
            pip_requirements=[f"{name}=={_public_version(name)}" for name in ("mlflow", "numpy", "torch")],
            serialization_format="pt2",
        )


def _versions() -> dict[str, Any]:
    """What produced a run: the code's revision, Python and PyTorch."""
    return {"git_revision": git_revision(), "python": platform.python_version(), "torch": version("torch")}


def _public_version(package: str) -> str:
    """An installed version without its local part: 2.14.1 for 2.14.1+cpu, which no public index carries."""
    return version(package).partition("+")[0]


def _run_name(params: Mapping[str, Any]) -> str:
    """What a run is called in lists, as in resnet23-cifar10-20261122-154500. MLflow would draw a random name."""
    parts = [params.get("model.name"), params.get("data.dataset"), datetime.now().strftime("%Y%m%d-%H%M%S")]
    return "-".join(str(part) for part in parts if part)


def _legal(name: str) -> str:
    """A name that MLflow takes: class names may hold anything, its names only letters, digits, spaces and - _ . /"""
    return re.sub(r"[^\w.\-/ ]", "_", name)[:MAX_NAME]


def _batches(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _untracked(error: Exception) -> NullTracker:
    _warn(error)
    return NullTracker()


def _warn(error: Exception) -> None:
    """Say once, in one line, that tracking ends here and why."""
    if isinstance(error, Resnet23Error):
        reason = str(error)
    else:
        first_line = next(iter(str(error).splitlines()), "")
        reason = f"{type(error).__name__}: {first_line}; if {STORE_FILE} is damaged, move it away to start a new one"
    logger.warning(f"tracking stops, the work goes on: {reason}")

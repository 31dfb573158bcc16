"""One MLflow run for each pipeline run, in the local store, and by a child process on the remote where there is one.

Training opens a run and leaves its id in a run file; prediction and plots add to that run. Tracking never costs
a result: the first failure of the store ends it with one warning, and the stage goes on without. mlflow is imported
only inside functions: the import takes seconds.
"""

import functools
import json
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from loguru import logger

from Resnet23.config import CommonTrackingParams, flatten
from Resnet23.environment import project_root
from Resnet23.errors import InputError, Resnet23Error, Terminated
from Resnet23.files import find_storage_error, printable, write_json
from Resnet23.tracking.destination import names_a_remote, runs_page
from Resnet23.tracking.limits import MAX_DIGEST, MAX_ENTRIES, MAX_METRICS, MAX_NAME, MAX_VALUE, batches
from Resnet23.tracking.logged_models import log_model_folder
from Resnet23.tracking.model_folder import write_model_folder
from Resnet23.tracking.ownership import OWNER, signature
from Resnet23.tracking.previous import RunHistory, read_run_history
from Resnet23.tracking.provenance import provenance
from Resnet23.tracking.sender_process import SenderProcess
from Resnet23.tracking.store import PARENT, STORE_FILE, experiment_id, find_run, open_store, store_uri

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient


class RunFile(NamedTuple):
    """What the stages after training need to know of a run."""

    run_id: str
    experiment: str


def start_run(
    params: CommonTrackingParams, run_params: Mapping[str, Any], tags: Mapping[str, Any] | None = None
) -> "Tracker":
    """Open a new run, with `run_params` as its parameters and `tags` beside those that say where it came from.

    Parameters keep their dotted keys, except that those of training lose their prefix: `train.epochs` is `epochs`.
    Under `dvc exp run` the run has the experiment's name, and a parent for all experiments on the same commit.
    """
    if not params.enabled:
        return NullTracker()
    logged = {key.removeprefix("train."): value for key, value in flatten(run_params).items()}
    name = os.environ.get("DVC_EXP_NAME") or _run_name(logged)
    try:
        with open_store() as client:
            described = provenance() | _parent_tag(client, params.experiment) | dict(tags or {})
            tracker = _create_run(client, params.experiment, name, described)
            tracker.log_params(logged)
            tracker.accompany(params, is_new=True)
            return tracker
    except Exception as error:
        return _untracked(error)


def continue_run(params: CommonTrackingParams, run_file: Path) -> "Tracker":
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
        with open_store() as client:
            tracker = _reopen_run(client, source) or _succeed_run(client, source)
            tracker.accompany(params, is_new=False)
            return tracker
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
        self._sender: SenderProcess | None = None
        self._system_metrics: Any = None
        self.run_id = run_id
        self.experiment = experiment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._end("FINISHED")
        else:
            self._end("KILLED" if issubclass(kind, KeyboardInterrupt | Terminated) else "FAILED")

    def accompany(self, params: CommonTrackingParams, is_new: bool) -> None:
        """Start what goes on beside the work: the process that fills the remote, the record of the machine's load."""
        if names_a_remote():
            self._sender = SenderProcess(self.run_id, is_new)
        if params.system_metrics:
            self._record_system_metrics()

    def start_child(self, name: str, run_params: Mapping[str, Any]) -> "Tracker":
        """Open a run below this one, as for one trial of a study or one head of several."""
        if self._stopped:
            return NullTracker()
        try:
            tags = provenance() | {PARENT: self.run_id}
            child = _create_run(self._client, self.experiment, name, tags)
            child.log_params(run_params)
            return child
        except Exception as error:
            return _untracked(error)

    @_harmless
    def log_params(self, values: Mapping[str, Any]) -> None:
        """Add parameters; MLflow lets none of them change afterwards."""
        from mlflow.entities import Param

        entries = [Param(_legal(key), str(value)[:MAX_VALUE]) for key, value in flatten(values).items()]
        for batch in batches(entries, MAX_ENTRIES):
            self._client.log_batch(self.run_id, params=batch, synchronous=True)

    @_harmless
    def log_tags(self, values: Mapping[str, Any]) -> None:
        """Add tags, or replace those of the same name; nested keys are joined by dots, None is left out."""
        from mlflow.entities import RunTag

        known = {key: value for key, value in flatten(values).items() if value is not None}
        entries = [RunTag(_legal(key), str(value)[:MAX_VALUE]) for key, value in known.items()]
        for batch in batches(entries, MAX_ENTRIES):
            self._client.log_batch(self.run_id, tags=batch, synchronous=True)

    @_harmless
    def log_metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Add numbers, nested keys joined by dots; `step` is the epoch. What is not a finite number is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)  # milliseconds
        numbers = {key: float(value) for key, value in flatten(values).items() if isinstance(value, Real)}
        entries = [Metric(_legal(key), x, now, step or 0) for key, x in numbers.items() if math.isfinite(x)]
        for batch in batches(entries, MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=batch, synchronous=True)
        if self._sender and step is not None:
            self._sender.epoch()

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

    def read_history(self) -> RunHistory | None:
        """This run beside the one before it; None when nothing is tracked."""
        if self._stopped:
            return None
        try:
            return read_run_history(self._client, self.run_id, runs_page())
        except Exception as error:
            self._stopped = True
            _warn(error)
            return None

    @_harmless
    def log_dataset(self, name: str, digest: str, source: Path, profile: Mapping[str, Any]) -> None:
        """Name the data that the run was trained on: where it lies, a hash of its contents, and its counts."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        location = json.dumps({"uri": source.as_posix()})
        dataset = Dataset(name, digest[:MAX_DIGEST], "local", location, profile=json.dumps(profile))
        self._client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    @_harmless
    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Copy a file, or a folder with all that is in it, into the run's `folder`."""
        self._client.log_artifact(self.run_id, str(path), folder or None)

    @_harmless
    def log_text(self, text: str, file: str) -> None:
        """Add a text as a file of the run."""
        self._client.log_text(self.run_id, text, file)

    def log_model(self, model: "torch.nn.Module", example: np.ndarray, classifier: Mapping[str, Any]) -> None:
        """Add the model, to be loaded by MLflow as a network or as a service that takes image files.

        `example` is a batch as the network takes it, (N, 3, H, W) float32, N at least 2; `classifier` says what
        its outputs mean, see `write_model_folder`. `model` itself is left as it is. One that cannot be exported costs
        a warning, and the rest of the run is recorded all the same.
        """
        if self._stopped:
            return
        try:
            self._log_model(model, example, classifier)
        except Exception as error:
            logger.warning(f"tracking goes on without the model in MLflow's format: {_first_line(error)}")

    def write_run_file(self, path: str | Path) -> None:
        """Write {run_id, experiment, store} for the stages that add to this run; all null when nothing is tracked."""
        store = STORE_FILE.as_posix() if self.run_id else None
        write_json(path, {"run_id": self.run_id, "experiment": self.experiment, "store": store})

    def _log_model(self, model: "torch.nn.Module", example: np.ndarray, classifier: Mapping[str, Any]) -> None:
        from mlflow.models import Model

        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "model")
            write_model_folder(folder, model, example, classifier, Model(run_id=self.run_id))
            log_model_folder(self._client, self._client.get_run(self.run_id), folder)

    def _record_system_metrics(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        uri = store_uri(project_root() / STORE_FILE)
        self._system_metrics = SystemMetricsMonitor(self.run_id, resume_logging=True, tracking_uri=uri)
        self._system_metrics.start()

    def _end(self, status: str) -> None:
        """Close the run, also after a failure that left the store itself whole."""
        if self._client is None:
            return
        try:
            if self._system_metrics:
                self._system_metrics.finish()
            self._client.set_terminated(self.run_id, status)
        except Exception as error:
            if not self._stopped:
                _warn(error)
        if self._sender:
            self._sender.end()


class NullTracker(Tracker):
    """A tracker that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(client=None, run_id=None, experiment=None)


def _create_run(client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, Any]) -> Tracker:
    run = client.create_run(experiment_id(client, experiment), run_name=name)
    tracker = Tracker(client, run.info.run_id, experiment)
    tracker.log_tags({**tags, OWNER: signature()})
    return tracker


def _parent_tag(client: "MlflowClient", experiment: str) -> dict[str, str]:
    """Under `dvc exp run`: the tag that puts a run below the one for all experiments on the same commit.

    So MLflow's list of runs has the tree that `dvc exp show` has. The parent is made for the first of them.
    """
    baseline = os.environ.get("DVC_EXP_BASELINE_REV")
    if not baseline:
        return {}
    known = {"dvc_exp_parent": baseline}
    where = " and ".join(f"tags.{key} = '{value}'" for key, value in known.items())
    found = client.search_runs([experiment_id(client, experiment)], where, max_results=1)
    if found:
        return {PARENT: found[0].info.run_id}
    parent = _create_run(client, experiment, f"experiments-on-{baseline[:7]}", known)
    client.set_terminated(parent.run_id)
    return {PARENT: parent.run_id}


def _reopen_run(client: "MlflowClient", source: RunFile) -> Tracker | None:
    """The run of a run file, running again; None when the store has no such run, or a deleted one."""
    run = find_run(client, source.run_id)
    if run is None:
        return None
    client.update_run(run.info.run_id, status="RUNNING")
    tracker = Tracker(client, run.info.run_id, source.experiment)
    tracker.log_tags({OWNER: signature()})
    names = [name for name in run.data.tags.get("dvc_exp_name", "").split(", ") if name]
    current = os.environ.get("DVC_EXP_NAME")
    if current and current not in names:  # a later experiment that took the training from DVC's run cache
        tracker.log_tags({"dvc_exp_name": ", ".join([*names, current])})
    return tracker


def _succeed_run(client: "MlflowClient", source: RunFile) -> Tracker:
    """A new run for results of a training that is recorded elsewhere."""
    logger.info(f"{STORE_FILE}: has no run {source.run_id}; a new run tagged source_run_id takes its place")
    tags = provenance() | {"source_run_id": source.run_id}
    return _create_run(client, source.experiment, f"after-{source.run_id[:8]}", tags)


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


def _run_name(params: Mapping[str, Any]) -> str:
    """What a run is called in lists, as in resnet23-cifar10-20261122-154500. MLflow would draw a random name."""
    parts = [params.get("model.name"), params.get("data.dataset"), datetime.now().strftime("%Y%m%d-%H%M%S")]
    return "-".join(str(part) for part in parts if part)


def _legal(name: str) -> str:
    """A name that MLflow takes: class names may hold anything, its names only letters, digits, spaces and - _ . /"""
    return re.sub(r"[^\w.\-/ ]", "_", name)[:MAX_NAME]


def _untracked(error: Exception) -> NullTracker:
    _warn(error)
    return NullTracker()


def _warn(error: Exception) -> None:
    """Say once, in one line, that tracking ends here and why."""
    if known := error if isinstance(error, Resnet23Error) else find_storage_error(error, STORE_FILE):
        reason = str(known)
    else:
        reason = f"{_first_line(error)}; if {STORE_FILE} is damaged, move it away to start a new one"
    logger.warning(f"tracking stops, the work goes on: {reason}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"

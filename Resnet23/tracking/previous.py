"""A run of the local store beside the one before it, for whoever wants to know what changed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# A training that was also tested; heads, studies and the parents of experiments are not.
TESTED = "attributes.status = 'FINISHED' and tags.stage = 'train' and metrics.test_loss > -1"


@dataclass(frozen=True)
class TrackedRun:
    """What the store has of one run."""

    run_id: str
    experiment_id: str
    name: str
    started: str  # UTC, as in 2026-11-23 18:15
    params: dict[str, str]
    metrics: dict[str, float]  # the last value of each
    tags: dict[str, str]


@dataclass(frozen=True)
class RunHistory:
    """A run, the finished one before it in the same experiment, and where else the runs can be seen."""

    current: TrackedRun
    previous: TrackedRun | None  # None: there is no earlier one
    remote: str | None  # the address of a page for people


def read_run_history(client: "MlflowClient", run_id: str, remote: str | None) -> RunHistory:
    """The run, and the latest one of its experiment and framework that began before it, was trained to its end and
    was tested.
    """
    run = client.get_run(run_id)
    before = f"{TESTED} and attributes.start_time < {run.info.start_time}"
    if framework := run.data.tags.get("framework"):
        before += f" and tags.framework = '{framework}'"
    order = ["attributes.start_time DESC"]
    earlier = client.search_runs([run.info.experiment_id], before, order_by=order, max_results=1)
    return RunHistory(_describe(run), _describe(earlier[0]) if earlier else None, remote)


def _describe(run: "Run") -> TrackedRun:
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)  # stored in milliseconds
    return TrackedRun(
        run.info.run_id,
        run.info.experiment_id,
        run.info.run_name,
        f"{started:%Y-%m-%d %H:%M}",
        dict(run.data.params),
        dict(run.data.metrics),
        dict(run.data.tags),
    )

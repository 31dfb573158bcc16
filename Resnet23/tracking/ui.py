"""Show the runs of the local store in a browser: by `mlflow ui` in place of this process."""

from typing import TYPE_CHECKING, Annotated

import typer
from loguru import logger

from Resnet23.command import DebugOption, run_command
from Resnet23.environment import project_root
from Resnet23.errors import InputError
from Resnet23.tracking.mlflow_process import become_mlflow, require_free_port
from Resnet23.tracking.store import ARTIFACTS_DIR, STORE_FILE, local_folder, open_store, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HOST = "127.0.0.1"
MOST_RUNS = 50_000  # that MLflow gives at once

PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port of the page.")]


def main(port: PortOption = 5000, debug: DebugOption = False) -> None:
    """Show the tracked runs in a browser."""
    store = project_root() / STORE_FILE
    if not store.exists():
        raise InputError(f"{STORE_FILE}: no such file, so there are no runs to show; `make train` makes one")
    require_free_port(HOST, port)
    with open_store() as local:  # which mends the addresses of a project that was moved
        lost = runs_without_files(local)
    if lost:
        logger.warning(
            f"no figures and models for {len(lost)} of the runs: their files are not in the project any more, "
            f"as in {local_folder(lost[0].info.artifact_uri)}"
        )
    store_options = ["--backend-store-uri", store_uri(store), "--default-artifact-root", ARTIFACTS_DIR.as_posix()]
    become_mlflow("ui", "--host", HOST, "--port", port, "--workers", 1, *store_options)


def runs_without_files(local: "MlflowClient") -> "list[Run]":
    """The runs that have logged a model, and so files, whose folder is not there."""
    experiments = [experiment.experiment_id for experiment in local.search_experiments()]
    runs = local.search_runs(experiments, max_results=MOST_RUNS)
    with_model = [run for run in runs if run.outputs and run.outputs.model_outputs]
    return [run for run in with_model if not local_folder(run.info.artifact_uri).is_dir()]


if __name__ == "__main__":
    run_command(main)

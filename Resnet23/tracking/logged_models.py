"""A model among the outputs of a run, as MLflow 3 keeps it: with an id and a place of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MODEL_NAME = "model"  # runs:/<run id>/model


def log_model_folder(client: "MlflowClient", run: "Run", folder: Path) -> None:
    """Add the MLflow model in `folder` to the outputs of `run`; the folder's MLmodel file then names both.

    Raises MlflowException, of a server that knows no such models with the HTTP status 404.
    """
    from mlflow.entities import LoggedModelOutput

    logged = client.create_logged_model(run.info.experiment_id, MODEL_NAME, run.info.run_id, params=run.data.params)
    assign_model(folder, run.info.run_id, logged.model_id)
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])


def assign_model(folder: Path, run_id: str, model_id: str | None) -> None:
    """Write into a model folder which run made it, and its id where it has one."""
    from mlflow.models import Model

    model = Model.load(folder)
    model.run_id, model.model_id, model.model_uuid = run_id, model_id, model_id or model.model_uuid
    model.save(str(folder / "MLmodel"))

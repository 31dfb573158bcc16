"""Serve the champion, or without one the newest model, over HTTP: by `mlflow models serve` in place of this process."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, load_params
from Resnet23.errors import InputError
from Resnet23.tracking.destination import Remote, find_remote
from Resnet23.tracking.mlflow_process import become_mlflow, require_free_port
from Resnet23.tracking.registry import RemoteError, newest_model, open_registry
from Resnet23.tracking.store import store_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

WITHOUT_REMOTE = "MLFLOW_TRACKING_URI= DAGSHUB_REPO_OWNER= DAGSHUB_REPO_NAME="
EXAMPLE = """\
to classify an image once the server has started:
printf '{{"dataframe_records": [{{"image": "%s"}}]}}' "$(base64 < IMAGE | tr -d '\\n')" | \
curl -s http://{host}:{port}/invocations -H 'Content-Type: application/json' -d @-"""

PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen on.")]
HostOption = Annotated[str, typer.Option("--host", help="The address to listen on; 0.0.0.0 for all of this machine.")]


def main(
    port: PortOption = 5001,
    host: HostOption = "127.0.0.1",
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Serve the champion, or without one the newest model, and show how to ask it."""
    params = load_params(params_file, preset, assignments)
    require_free_port(host, port)
    local = store_client()
    try:
        folder, which = choose_model(params.tracking.experiment, local, find_remote())
    except RemoteError as error:
        raise RemoteError(f"{error}; to serve a model of this machine: {WITHOUT_REMOTE} make serve-rest") from None
    print(f"serving {which}\n{EXAMPLE.format(host=host, port=port)}", flush=True)
    options = ["--env-manager", "local", "--host", host, "--port", port]
    become_mlflow("models", "serve", "--model-uri", os.path.relpath(folder), *options)


def choose_model(experiment: str, local: "MlflowClient", remote: Remote | None) -> tuple[Path, str]:
    """The folder of the model to serve, and which it is in words.

    Raises InputError when there is none, and Resnet23Error when the remote, whose champion it would be, is in trouble.
    """
    registry = open_registry(experiment, local, remote)
    champion = registry.champion()
    if champion:
        which = f"version {champion.version} of {registry.name}, the champion in {registry.place}"
        return registry.model_folder(champion), which
    newest = newest_model(local)
    if newest is None:
        raise InputError("there is no model to serve; train first: `make train`")
    run, folder = newest
    which = f"the newest model, of run {run.info.run_id}; {registry.name} has no champion in {registry.place}"
    return folder, which


if __name__ == "__main__":
    run_command(main)

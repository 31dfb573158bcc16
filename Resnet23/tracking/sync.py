"""Send to the remote every run of the local store that is not there, or not whole; runs twice without harm."""

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout
from loguru import logger
from tqdm import tqdm

from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.tracking.destination import Remote, connect, find_remote
from Resnet23.tracking.failures import is_refusal, reason
from Resnet23.tracking.store import active_runs, open_store, run_lock
from Resnet23.tracking.transfer import RunTransfer

if TYPE_CHECKING:
    from mlflow import MlflowClient

REQUEST_SECONDS = 60
PAUSES = (0, 2, 10)  # seconds before each attempt
NO_REMOTE = (
    "no remote is named; set MLFLOW_TRACKING_URI, or DAGSHUB_REPO_OWNER, DAGSHUB_REPO_NAME and DAGSHUB_USER_TOKEN, "
    "in the environment or in .env"
)
CHECK_CREDENTIALS = "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or DAGSHUB_USER_TOKEN"


class Sent(NamedTuple):
    """How many runs were sent now, were there already, and are being sent by the work that makes them."""

    sent: int
    there: int
    busy: int


def sync(remote: Remote) -> Sent:
    """Send all runs that the remote does not have whole.

    Raises InputError when the remote refuses the credentials, Resnet23Error when it fails three times for one run.
    """
    with open_store() as local:
        runs = active_runs(local)
    client = connect(remote, REQUEST_SECONDS)
    sent = busy = 0
    for run_id in tqdm(runs, desc="runs", unit="run", disable=None):
        try:
            with FileLock(run_lock(run_id), timeout=0):
                sent += _send(local, client, run_id, remote)
        except Timeout:
            busy += 1
    return Sent(sent, len(runs) - sent - busy, busy)


def _send(local: "MlflowClient", client: "MlflowClient", run_id: str, remote: Remote) -> bool:
    """Send one run; True when there was something to send."""
    failure: Exception
    for pause in PAUSES:
        time.sleep(pause)
        try:
            return RunTransfer(local, client, run_id).send()
        except Exception as error:
            failure = error
            if is_refusal(error):
                raise InputError(f"{remote.uri}: {reason(error)}; {CHECK_CREDENTIALS}") from None
    text = remote.without_secrets(reason(failure))
    raise Resnet23Error(f"{remote.uri}: run {run_id} could not be sent whole, {text}; run this again later")


def main(debug: DebugOption = False) -> None:
    """Send to the remote what it does not have yet."""
    logging.disable()  # what the libraries log; what matters arrives as exceptions
    remote = find_remote()
    if remote is None:
        raise InputError(NO_REMOTE)
    sent, there, busy = sync(remote)
    line = f"{remote.uri}: runs sent: {sent}, already there: {there}"
    logger.info(line + (f", being sent by the work that makes them: {busy}" if busy else ""))


if __name__ == "__main__":
    run_command(main)

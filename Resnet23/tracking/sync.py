"""Send to the remote every run of the local store that is not there, or not whole; runs twice without harm."""

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout
from loguru import logger
from tqdm import tqdm

from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.tracking.destination import Remote, connect, find_remote
from Resnet23.tracking.failures import is_refusal, reason
from Resnet23.tracking.ownership import is_abandoned
from Resnet23.tracking.store import active_runs, run_lock, store_client
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


class Refused(InputError):
    """The remote refuses the credentials: no other run would fare better."""


class Sent(NamedTuple):
    """How many runs were sent now, were there already, and are being sent by the work that makes them."""

    sent: int
    there: int
    busy: int


def sync(remote: Remote) -> Sent:
    """Send all runs that the remote does not have whole; those whose process was killed are closed first.

    Raises InputError when the remote refuses the credentials, and Resnet23Error, after all the others were sent, when
    a run failed three times.
    """
    local, client = store_client(), connect(remote, REQUEST_SECONDS)
    outcomes: Counter[str] = Counter()
    failures: dict[str, str] = {}
    for run in tqdm(active_runs(local), desc="runs", unit="run", disable=None):
        if is_abandoned(run):
            local.set_terminated(run.info.run_id, "KILLED")
        try:
            with FileLock(run_lock(run.info.run_id), timeout=0):
                outcomes["sent" if _send(local, client, run.info.run_id, remote) else "there"] += 1
        except Timeout:
            outcomes["busy"] += 1
        except Refused:
            raise
        except Resnet23Error as error:
            failures[run.info.run_id] = str(error)
    if failures:
        run_id, why = next(iter(failures.items()))
        raise Resnet23Error(f"{remote.uri}: {len(failures)} of the runs were not sent whole, as run {run_id}: {why}")
    return Sent(outcomes["sent"], outcomes["there"], outcomes["busy"])


def _send(local: "MlflowClient", client: "MlflowClient", run_id: str, remote: Remote) -> bool:
    """Send one run; True when there was something to send."""
    for pause in PAUSES:
        time.sleep(pause)
        try:
            return RunTransfer(local, client, run_id).send()
        except InputError:
            raise
        except Exception as error:
            if is_refusal(error):
                raise Refused(f"{remote.uri}: {reason(error)}; {CHECK_CREDENTIALS}") from None
            failure = remote.without_secrets(reason(error))
    raise Resnet23Error(f"{failure}; run this again later")


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

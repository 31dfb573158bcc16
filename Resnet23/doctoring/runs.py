"""The tracked runs: the local store, and the server that they go to. Credentials are named, never their values."""

import base64
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing

from Resnet23.config import PARAMS_FILE
from Resnet23.doctoring.findings import Finding, ok, problem, warning
from Resnet23.doctoring.network import NO_ANSWER, SECONDS, describe_failure, http_answer
from Resnet23.environment import project_root
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.tracking.destination import SET_A_TOKEN, Remote, find_remote, names_a_remote
from Resnet23.tracking.store import STORE_FILE

CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "DAGSHUB_USERNAME",
    "DAGSHUB_USER_TOKEN",
)
NOBODY = "nobody"  # stands where no credentials are
QUESTION = "api/2.0/mlflow/experiments/search?max_results=1"


def check_store() -> Finding | None:
    """The local store of the runs can be read."""
    if not PARAMS_FILE.exists():
        return None
    store = project_root() / STORE_FILE
    if not store.exists():
        return ok("no runs yet; the first training makes the store")
    try:
        with closing(sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True, timeout=SECONDS)) as connection:
            (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            (runs,) = connection.execute("SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'").fetchone()
    except sqlite3.Error as error:
        damage = str(error)
    if damage != "ok":
        return problem(
            f"{printable(STORE_FILE)}: cannot be read ({damage})",
            f"put a copy in its place, or move it away, then a new one is made: mv {STORE_FILE} {STORE_FILE}.broken",
        )
    return ok(f"{printable(STORE_FILE)}: {runs} runs")


def check_remote(environment: Mapping[str, str] = os.environ) -> Finding | None:
    """The server that the runs go to answers and takes the credentials."""
    if not names_a_remote(environment):
        return ok("none is named; runs stay in the local store")
    try:
        remote = find_remote(_without_lookup(environment))
    except InputError as error:
        return problem(str(error), "correct .env")
    named = [name for name in CREDENTIALS if environment.get(name)]
    if remote.password == NOBODY:
        return warning(
            f"{remote.uri}: no token in the environment or .env, unless `dagshub login` keeps one", SET_A_TOKEN
        )
    return _ask(remote, f"{remote.uri}, with {' and '.join(named) if named else 'no credentials'}")


def _without_lookup(environment: Mapping[str, str]) -> dict[str, str]:
    """The same settings, with which nobody is asked for the token that `dagshub login` has stored."""
    return {**environment, "DAGSHUB_USER_TOKEN": environment.get("DAGSHUB_USER_TOKEN") or NOBODY}


def _ask(remote: Remote, found: str) -> Finding:
    later = "runs stay in the local store meanwhile; `resnet23 sync` sends them later"
    try:
        status = http_answer(f"{remote.uri}/{QUESTION}", _authorization(remote))
    except NO_ANSWER as error:
        return warning(f"{found}: no answer within {SECONDS:g} s ({describe_failure(error)})", later)
    if status in (401, 403):
        return problem(f"{found}: refused (HTTP {status})", "correct user, password or token in .env")
    if status != 200:
        return warning(f"{found}: answers with HTTP {status}", f"look at the address; {later}")
    return ok(f"{found}: answers")


def _authorization(remote: Remote) -> dict[str, str]:
    """The header that shows user and password, or the token."""
    if remote.username:
        pair = f"{remote.username}:{remote.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {"Authorization": f"Bearer {remote.token}"} if remote.token else {}

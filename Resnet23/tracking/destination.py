"""Where runs go besides the local store: to an MLflow server, to a repository on DagsHub, or nowhere.

The environment decides, a project's .env included:

    MLFLOW_TRACKING_URI                        an MLflow server; with MLFLOW_TRACKING_USERNAME and
                                               MLFLOW_TRACKING_PASSWORD, or with MLFLOW_TRACKING_TOKEN
    DAGSHUB_REPO_OWNER and DAGSHUB_REPO_NAME   the MLflow server of that DagsHub repository; the token is
                                               DAGSHUB_USER_TOKEN, or the one that `dagshub login` has stored

The first wins. Nothing here asks a person for anything.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit

from Resnet23.errors import InputError
from Resnet23.tracking.store import prepare_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient

DAGSHUB = "https://dagshub.com"
DAGSHUB_SECONDS = 10  # for each request
SET_A_TOKEN = "set DAGSHUB_USER_TOKEN in .env (https://dagshub.com/user/settings/tokens), or run: dagshub login"


@dataclass(frozen=True)
class Remote:
    """A server of MLflow and what to show it: user and password, or a token. Neither is ever printed."""

    uri: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def run_page(self, experiment_id: str, run_id: str) -> str:
        """The address of a run's page."""
        return f"{self.uri}/#/experiments/{experiment_id}/runs/{run_id}"

    def without_secrets(self, text: str) -> str:
        """`text` with password and token replaced, should they appear in it."""
        for secret in (self.password, self.token):
            if secret:
                for written in {secret, quote(secret, safe="")}:
                    text = text.replace(written, "***")
        return text


def find_remote(environment: Mapping[str, str] = os.environ) -> Remote | None:
    """The server that the environment names, None when it names none.

    For DagsHub without DAGSHUB_USER_TOKEN this asks the dagshub package for its stored token, which takes a second
    and a request. Raises InputError for an address that is no http or https one and for a missing token.
    """
    if uri := environment.get("MLFLOW_TRACKING_URI"):
        return _mlflow_server(uri.rstrip("/"), environment)
    owner, name = environment.get("DAGSHUB_REPO_OWNER"), environment.get("DAGSHUB_REPO_NAME")
    if not (owner or name):
        return None
    if not (owner and name):
        missing = "DAGSHUB_REPO_NAME" if owner else "DAGSHUB_REPO_OWNER"
        raise InputError(f"{missing}: not set, although its partner is; set both in .env, or neither")
    return _on_dagshub(f"{dagshub_host(environment)}/{quote(owner)}/{quote(name)}.mlflow", environment)


def names_a_remote(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for a remote, in time of microseconds; `find_remote` may still find it wrong."""
    return any(environment.get(key) for key in ("MLFLOW_TRACKING_URI", "DAGSHUB_REPO_OWNER", "DAGSHUB_REPO_NAME"))


def runs_page(environment: Mapping[str, str] = os.environ) -> str | None:
    """The address at which people look at the runs of the remote, without user and password; None when none is named.

    Of a repository on DagsHub its page of experiments. Nothing is asked of anybody, and a wrong address gives None:
    `find_remote` is where it is explained.
    """
    uri = environment.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    owner, name = environment.get("DAGSHUB_REPO_OWNER"), environment.get("DAGSHUB_REPO_NAME")
    if not uri and owner and name:
        uri = f"{dagshub_host(environment)}/{quote(owner)}/{quote(name)}.mlflow"
    try:
        parts = _split_address(uri)
    except InputError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    is_dagshub = address.startswith(dagshub_host(environment) + "/") and address.endswith(".mlflow")
    return address.removesuffix(".mlflow") + "/experiments" if is_dagshub else address


def connect(remote: Remote, timeout: int) -> "MlflowClient":
    """MLflow's client for a remote; `timeout` in seconds is for each request. For processes that do nothing else.

    MLflow takes credentials, time-out and retries from the process's environment, so this changes it. A request is
    sent once: MLflow would repeat one that made a run and was answered too late, and so make the run twice.
    """
    os.environ |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    for key, value in (("USERNAME", remote.username), ("PASSWORD", remote.password), ("TOKEN", remote.token)):
        os.environ.pop(f"MLFLOW_TRACKING_{key}", None)
        if value:
            os.environ[f"MLFLOW_TRACKING_{key}"] = value
    prepare_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=remote.uri, registry_uri=remote.uri)


def dagshub_host(environment: Mapping[str, str] = os.environ) -> str:
    """The address of DagsHub, or of a DagsHub of one's own, as the dagshub package reads it."""
    return (environment.get("DAGSHUB_CLIENT_HOST") or DAGSHUB).rstrip("/")


def dagshub_token(environment: Mapping[str, str] = os.environ) -> str:
    """The token of the environment, else one that `dagshub login` has stored. Raises InputError for none."""
    if token := environment.get("DAGSHUB_USER_TOKEN"):
        return token
    try:
        token = _stored_token(dagshub_host(environment))
    except Exception as error:  # no network, a server in trouble, a damaged store
        raise InputError(f"DagsHub: no token to be had ({type(error).__name__}); {SET_A_TOKEN}") from None
    return token


def prepare_dagshub() -> None:
    """Make the dagshub package silent and quick to give up; call it before anything else of that package."""
    from dagshub.common import config

    config.quiet = True
    config.http_timeout = DAGSHUB_SECONDS  # the package hands on the variable for it as a text, which cannot work
    config.token = config.token or None  # the package takes an empty variable for a token
    logging.getLogger("dagshub").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


def _mlflow_server(uri: str, environment: Mapping[str, str]) -> Remote:
    parts = _split_address(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"MLFLOW_TRACKING_URI: found an address of kind {parts.scheme or 'none'!r}, expected a server's, as in "
            "https://dagshub.com/OWNER/REPO.mlflow; the local store is kept in any case"
        )
    uri = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # an address is printed, a password is not
    username = environment.get("MLFLOW_TRACKING_USERNAME") or unquote(parts.username or "")
    password = environment.get("MLFLOW_TRACKING_PASSWORD") or unquote(parts.password or "")
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    if not (username or token) and uri.startswith(dagshub_host(environment) + "/"):
        return _on_dagshub(uri, environment)
    return Remote(uri, username or None, password or None, token or None)


def _split_address(uri: str) -> SplitResult:
    """The parts of an address. Raises InputError, which quotes none of it, when its password cuts it short."""
    try:
        parts = urlsplit(uri)
        is_whole = (parts.port is None or parts.port > 0) and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:  # brackets that do not match, or a port that is no number
        is_whole = False
    if not is_whole:
        raise InputError(
            "MLFLOW_TRACKING_URI: not an address; a password that holds characters such as / # ? [ belongs, with its "
            "user, into MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_USERNAME"
        )
    return parts


def _on_dagshub(uri: str, environment: Mapping[str, str]) -> Remote:
    token = dagshub_token(environment)
    return Remote(uri, environment.get("DAGSHUB_USERNAME") or token, token)


def _stored_token(host: str) -> str:
    """What `dagshub login` has stored for `host`; raises when there is nothing, and never opens a login page."""
    prepare_dagshub()
    from dagshub.auth.tokens import TokenStorage

    class KeptTokens(TokenStorage):
        """A store that forgets nothing: the package takes a server in trouble for one that refuses the token."""

        def invalidate_token(self, *_: object) -> None:
            pass

    return KeptTokens().get_token(host, fail_if_no_token=True)

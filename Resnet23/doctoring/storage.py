"""DVC's remotes: where `dvc push` sends data and models. Credentials are used, never shown."""

import base64
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from Resnet23.doctoring.findings import Finding, ok, problem, warning
from Resnet23.doctoring.network import NO_ANSWER, SECONDS, describe_failure, http_answer
from Resnet23.doctoring.programs import dvc_root
from Resnet23.errors import name_some
from Resnet23.files import printable
from Resnet23.places import public_form

# What an address begins with -> the extra of DVC that reads it, and the package that comes with that.
ADAPTERS = {"s3": "s3", "gs": "gs", "azure": "azure", "ssh": "ssh", "gdrive": "gdrive", "hdfs": "hdfs", "oss": "oss"}
LATER = "outputs stay in the local cache meanwhile"


def check_remotes() -> Finding | None:
    """The remotes that DVC is configured for: a folder is there, a server answers, the package for others too."""
    root = dvc_root()
    if root is None:
        return None
    from dvc.config import Config, ConfigError  # takes a second

    try:
        config = Config(str(root / ".dvc"))
    except ConfigError as error:
        return problem(f"{root / '.dvc'}: {error}", "correct config or config.local there")
    remotes, chosen = config["remote"], config["core"].get("remote")
    if not remotes:
        return ok("none is configured; data and models stay on this machine")
    if chosen is None and len(remotes) > 1:
        return warning(f"{name_some(remotes)}, none of which is the default", "dvc remote default NAME")
    name = chosen or next(iter(remotes))
    if name not in remotes:
        return problem(f"the default one, {name}, is not among them: {name_some(remotes)}", "dvc remote default NAME")
    return _check_remote(name, remotes[name])


def _check_remote(name: str, remote: Mapping[str, Any]) -> Finding:
    """One remote, by the kind of its address."""
    url = str(remote["url"])
    scheme, separator, _ = url.partition("://")
    found = f"{name}, {public_form(url) if separator else printable(url)}"
    if scheme in ("http", "https") and separator:
        return _ask(found, url, remote)
    if not separator:
        if Path(url).is_dir():
            return ok(found)
        return warning(f"{found}: no such folder", f"mount it or make it; the first `dvc push` makes it too; {LATER}")
    adapter = ADAPTERS.get(scheme)
    if adapter and find_spec(f"dvc_{adapter}") is None:
        return problem(f"{found}: the package for {scheme} is not installed", f'pip install "dvc[{adapter}]"')
    return ok(f"{found} (not tried)")


def _ask(found: str, url: str, remote: Mapping[str, Any]) -> Finding:
    """Whether the server answers and takes user and password."""
    user, password = remote.get("user"), remote.get("password")
    pair = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
    try:
        status = http_answer(public_form(url), {"Authorization": f"Basic {pair}"} if user else {})
    except NO_ANSWER as error:
        return warning(f"{found}: no answer within {SECONDS:g} s ({describe_failure(error)})", LATER)
    if status in (401, 403):
        mend = "dvc remote modify --local NAME user USER, then password" if not user else "correct .dvc/config.local"
        return problem(f"{found}: refused (HTTP {status})", mend)
    if status >= 500:
        return warning(f"{found}: answers with HTTP {status}", LATER)
    return ok(f"{found}: answers")

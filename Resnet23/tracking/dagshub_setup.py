"""Make a repository on DagsHub the project's DVC remote and the place where its runs go.

The address goes to .dvc/config, which git tracks, the token to .dvc/config.local and the repository's name to .env,
which git ignores. Doing it again, also for another repository, replaces what was written before.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from dotenv import set_key
from loguru import logger

from Resnet23.command import DebugOption, run_command
from Resnet23.environment import ENVIRONMENT_FILE, load_environment_file
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.files import printable
from Resnet23.tracking.destination import SET_A_TOKEN, dagshub_host, dagshub_token, prepare_dagshub
from Resnet23.tracking.failures import REFUSED, reason

if TYPE_CHECKING:
    from dagshub.common.api import RepoAPI

DVC_DIR = Path(".dvc")
LOCAL_CONFIG = DVC_DIR / "config.local"
REMOTE = "dagshub"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
DATA_FILE = "data/processed/images.tar"


def set_up(owner: str, name: str, create: bool = False) -> str:
    """Connect the project in the current directory with OWNER/NAME on DagsHub; gives what to tell the user.

    With `create` a missing repository is made. Raises InputError, before anything is written, for impossible names,
    no DVC project, a file for secrets that git does not ignore, a missing or refused token, and a missing repository.
    When DagsHub cannot be asked for the repository, one warning says so.
    """
    _check_name("OWNER", owner)
    _check_name("REPO", name)
    environment_file = Path(os.path.relpath(load_environment_file({}) or ENVIRONMENT_FILE))
    _check_project(environment_file, LOCAL_CONFIG)
    token = dagshub_token()
    repository = _repository(owner, name, token)
    if not _exists(repository):
        if not create:
            raise InputError(
                f"{repository.repo_url}: no such repository, or none that the token's owner may see; correct OWNER and "
                f"REPO, or make it: on {repository.host}/repo/create, or with --create (make dagshub-init ... CREATE=1)"
            )
        _create(repository, token)
    _write_remote(f"{repository.repo_url}.dvc", token)
    set_key(environment_file, "DAGSHUB_REPO_OWNER", owner, quote_mode="never")
    set_key(environment_file, "DAGSHUB_REPO_NAME", name, quote_mode="never")
    return _summary(repository, environment_file)


def _check_name(argument: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(
            f"{argument}: found {printable(name)!r}, expected a name of letters, digits, - _ and ., as in "
            "make dagshub-init OWNER=jane REPO=flowers"
        )


def _check_project(*private_files: Path) -> None:
    """Raise InputError unless this is a DVC project and its git ignores `private_files`, be they there or not."""
    if not DVC_DIR.is_dir():
        raise InputError(f"{DVC_DIR}: not there; run this in the folder of a DVC project")
    for file in private_files:
        status = _git("check-ignore", "--quiet", str(file)).returncode
        if status == 1:
            raise InputError(
                f"{printable(file)}: git does not ignore it, and would publish the secrets in it; add it to "
                f".gitignore, and if git tracks it already, first: git rm --cached {printable(file)}"
            )
        if status:
            raise InputError(f"{printable(Path.cwd())}: not in a git repository, which DagsHub needs; git init first")


def _repository(owner: str, name: str, token: str) -> "RepoAPI":
    """What the dagshub package knows of a repository: its addresses."""
    prepare_dagshub()
    from dagshub.auth.token_auth import HTTPBearerAuth
    from dagshub.common.api import RepoAPI

    # With credentials of ours it does not look for any, at last by a login page.
    return RepoAPI(f"{owner}/{name}", host=dagshub_host(), auth=HTTPBearerAuth(token))


def _exists(repository: "RepoAPI") -> bool:
    """Whether DagsHub shows the repository to the token's owner; yes, with a warning, when it cannot be asked."""
    from dagshub.common.helpers import http_request

    try:
        status = http_request("GET", repository.repo_api_url, auth=repository.auth).status_code
    except Exception as error:  # of the network
        logger.warning(f"{repository.repo_url}: not known whether it exists, {reason(error)}")
        return True
    if status in REFUSED:
        raise InputError(f"DagsHub refuses the token (HTTP {status}); {SET_A_TOKEN}")
    if status not in (200, 404):
        logger.warning(f"{repository.repo_url}: not known whether it exists, DagsHub answers with HTTP {status}")
    return status != 404


def _create(repository: "RepoAPI", token: str) -> None:
    """Make the repository, private and empty: the user's own, or that of the organization OWNER."""
    from dagshub.common import config
    from dagshub.common.api import UserAPI
    from dagshub.upload import create_repo

    config.set_host(repository.host)
    config.token = token  # so that create_repo does not look for one either
    try:
        user = UserAPI.get_user_from_token(token, repository.host).username
        organization = "" if user.lower() == repository.owner.lower() else repository.owner
        create_repo(repository.repo_name, organization, private=True, gitignores="", template="none")
    except Exception as error:
        page = f"{repository.host}/repo/create"
        raise Resnet23Error(f"{repository.repo_url}: could not be made, {reason(error)}; make it on {page}") from None
    logger.info(f"{repository.repo_url}: made, a private one; its settings on DagsHub can open it to everybody")


def _write_remote(url: str, token: str) -> None:
    """Make `url` the default DVC remote: the address for everybody, the token for this machine."""
    from dvc.config import Config, ConfigError

    LOCAL_CONFIG.touch()
    LOCAL_CONFIG.chmod(0o600)
    try:
        config = Config(str(DVC_DIR))
        with config.edit("repo") as shared:
            shared["core"]["remote"] = REMOTE
            shared["remote"].setdefault(REMOTE, {}).update(url=url, auth="basic")
        with config.edit("local") as local:
            local["remote"].setdefault(REMOTE, {}).update(user=token, password=token)
    except ConfigError as error:
        raise InputError(f"{DVC_DIR}: {error}; correct config or config.local there") from None


def _summary(repository: "RepoAPI", environment_file: Path) -> str:
    """What was written, what to do next, and where to look."""
    url = repository.repo_url
    branch = _git("branch", "--show-current").stdout.strip() or "main"
    lines = [
        "Written:",
        f"  {DVC_DIR / 'config'}: remote {REMOTE}, the default one, {url}.dvc",
        f"  {LOCAL_CONFIG}: its user and password, which is your token; git ignores this file",
        f"  {printable(environment_file)}: DAGSHUB_REPO_OWNER and DAGSHUB_REPO_NAME, so that runs go there",
        "Next:",
        f"  git add {DVC_DIR / 'config'} && git commit -m 'DVC remote on DagsHub'",
        f"  git remote add {REMOTE} {url}.git    (once)",
        f"  git push {REMOTE} {branch}",
        "  dvc push",
        "  make train",
        "Pages:",
        f"  repository   {url}",
        f"  experiments  {url}/experiments",
        f"  MLflow       {url}.mlflow",
        f"  data         {repository.raw_api_url(DATA_FILE, branch)}",
    ]
    if os.environ.get("MLFLOW_TRACKING_URI"):
        lines.insert(4, "  but MLFLOW_TRACKING_URI is set and comes first: runs go to that server")
    return "\n".join(lines)


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        raise InputError("git: not found; install it, a repository on DagsHub is filled by git push") from None


def main(
    owner: Annotated[str, typer.Argument(help="The user or organization on DagsHub.")],
    repo: Annotated[str, typer.Argument(help="The name of the repository.")],
    create: Annotated[bool, typer.Option("--create", help="Make the repository, a private one, if missing.")] = False,
    debug: DebugOption = False,
) -> None:
    """Make OWNER/REPO on DagsHub the project's DVC remote and the place where its runs go."""
    print(set_up(owner, repo, create))


if __name__ == "__main__":
    run_command(main)

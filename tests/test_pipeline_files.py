"""dvc.yaml, the ignore files and the folders: what holds the stages together."""

import re
import subprocess

import pytest
from package_imports import ROOT, module_files, reachable_modules

from Resnet23 import config
from Resnet23.config import Params, read_yaml

PIPELINE = read_yaml(ROOT / "dvc.yaml")
STAGES = PIPELINE["stages"]

# They change no result, or act only through tracked parameters.
NO_DEPENDENCIES = {
    "__init__", "config", "errors", "files", "command", "environment", "interrupts", "machine", "revision",
    "modeling.watch", *(module for module in module_files() if module.split(".")[0] == "tracking"),
}  # fmt: skip
PAGES_OF_NO_STAGE = ("studies.html", "frameworks.html", "model_card.md", "project_readme.md")


def paths(stage: str, *kinds: str) -> set[str]:
    """The paths that a stage lists under `kinds`, without their settings."""
    entries = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def outs(stage: str) -> set[str]:
    """Everything that a stage writes."""
    return paths(stage, "outs", "metrics", "plots")


def is_ignored(path: str) -> bool:
    """Whether the repository's .gitignore covers `path`."""
    command = ["git", "check-ignore", "--quiet", "--no-index", path]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_the_five_stages_in_their_order():
    assert list(STAGES) == ["datadownload", "features", "train", "predict", "plots"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_it_imports(stage):
    module = re.fullmatch(r"python -m Resnet23\.([a-z0-9_.]+)", STAGES[stage]["cmd"])[1]
    files = module_files()
    imported = {files[name].relative_to(ROOT).as_posix() for name in reachable_modules(module, NO_DEPENDENCIES)}
    if "Resnet23/report.py" in imported:
        imported |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "Resnet23" / "templates").iterdir()}
        imported -= {f"Resnet23/templates/{page}" for page in PAGES_OF_NO_STAGE}
    listed = {path for path in paths(stage, "deps") if path.startswith("Resnet23/")}
    assert listed == imported


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_reads_is_in_the_repository_or_written_by_an_earlier_stage(stage):
    earlier = set().union(*(outs(name) for name in list(STAGES)[: list(STAGES).index(stage)]))
    for path in paths(stage, "deps"):
        assert path in earlier or path == str(config.EXTRAS_DIR.as_posix()) or (ROOT / path).is_file(), path


@pytest.mark.parametrize("stage", STAGES)
def test_the_tracked_parameters_exist(stage):
    for key in STAGES[stage]["params"]:
        section = Params
        for part in key.split("."):
            section = section.model_fields[part].annotation


def test_every_parameter_but_the_trackers_belongs_to_a_stage():
    tracked = {key.split(".")[0] for stage in STAGES.values() for key in stage["params"]}
    assert tracked == set(Params.model_fields) - {"tracking"}


def test_the_outs_are_the_paths_of_config():
    written = {path for stage in STAGES for path in outs(stage)}
    for name in vars(config):
        if name.endswith("_FILE") and name not in ("PARAMS_FILE", "MODEL_CARD_FILE"):
            assert getattr(config, name).as_posix() in written, name
    assert config.FIGURES_DIR.as_posix() in written


def test_git_keeps_the_record_and_dvc_the_rest():
    for stage in STAGES:
        for entry in [*STAGES[stage].get("metrics", []), *STAGES[stage].get("plots", [])]:
            ((path, settings),) = entry.items()
            assert settings["cache"] is False
            assert not is_ignored(path), path
        for path in paths(stage, "outs"):
            assert is_ignored(path), path
    for folder in ("data", "models", "reports/extras"):
        assert is_ignored(f"{folder}/anything")
        assert not is_ignored(f"{folder}/README.md")


def test_dvc_searches_no_folder_that_holds_projects_or_many_files():
    ignored = (ROOT / ".dvcignore").read_text(encoding="utf-8").splitlines()
    assert {"/.venv/", "/demo/", "/runs/", "/models/.resume/", "/data/processed/train/"} <= set(ignored)


def test_dvc_asks_nobody_and_links_rather_than_copies():
    settings = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    for line in ("analytics = false", "check_update = false", 'type = "reflink,hardlink,copy"'):
        assert line in settings


def test_the_plots_read_columns_that_exist():
    for plot in PIPELINE["plots"]:
        ((_, definition),) = plot.items()
        for path in definition["y"]:
            assert any(path in outs(stage) for stage in STAGES)
    assert PIPELINE["metrics"] == [config.METRICS_FILE.as_posix(), config.RUN_FILE.as_posix()]

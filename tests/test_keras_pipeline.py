"""pipelines/keras/dvc.yaml: its stages belong to those of the dvc.yaml at the top."""

import re

import pytest
from package_imports import ROOT, module_files, reachable_modules
from test_pipeline_files import NO_DEPENDENCIES, PAGES_OF_NO_STAGE, is_ignored
from test_pipeline_files import outs as outs_at_the_top

from Resnet23.config import read_yaml
from Resnet23.keras_variant.params import KERAS_PARAMS_FILE, KerasParams
from Resnet23.outputs import KERAS, PYTORCH, Outputs

STAGES = read_yaml(ROOT / "pipelines/keras/dvc.yaml")["stages"]


def paths(stage: str, *kinds: str) -> set[str]:
    """The paths that a stage lists under `kinds`, without their settings."""
    entries = [entry for kind in kinds for entry in STAGES[stage].get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def outs(stage: str) -> set[str]:
    """Everything that a stage writes."""
    return paths(stage, "outs", "metrics", "plots")


def keys(stage: str) -> list[str]:
    """The parameters that a stage depends on."""
    ((entry,),) = [STAGES[stage]["params"]]
    ((file, names),) = entry.items()
    assert file == KERAS_PARAMS_FILE.as_posix()
    return names


def test_the_stages_are_those_after_the_features_and_run_at_the_top():
    assert list(STAGES) == ["train", "predict", "plots"]
    assert {stage["wdir"] for stage in STAGES.values()} == {"../.."}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_it_imports(stage):
    module = re.fullmatch(r"python -m Resnet23\.([a-z0-9_.]+)", STAGES[stage]["cmd"])[1]
    files = module_files()
    imported = {files[name].relative_to(ROOT).as_posix() for name in reachable_modules(module, NO_DEPENDENCIES)}
    if "Resnet23/report.py" in imported:
        pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "Resnet23" / "templates").iterdir()}
        imported |= pages - {f"Resnet23/templates/{page}" for page in PAGES_OF_NO_STAGE}
    assert {path for path in paths(stage, "deps") if path.startswith("Resnet23/")} == imported


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_reads_is_there_or_written_before(stage):
    earlier = [outs(name) for name in list(STAGES)[: list(STAGES).index(stage)]]
    written = set().union(outs_at_the_top("features"), *earlier)
    for path in paths(stage, "deps"):
        assert path in written or (ROOT / path).is_file() or path == KERAS.extras.as_posix(), path


def test_every_parameter_but_the_trackers_belongs_to_a_stage():
    named = {key for stage in STAGES for key in keys(stage)}
    assert named == set(KerasParams.model_fields) - {"tracking"}


def test_the_outs_are_those_that_the_code_writes_and_none_of_the_other_pipeline():
    written = set().union(*(outs(stage) for stage in STAGES))
    files = {value for name, value in vars(KERAS).items() if hasattr(value, "as_posix") and name != "extras"}
    assert written == {path.as_posix() for path in files}
    assert not files & {value for value in vars(PYTORCH).values() if hasattr(value, "as_posix")}


def test_git_keeps_the_record_and_dvc_the_rest():
    for stage in STAGES:
        for entry in [*STAGES[stage].get("metrics", []), *STAGES[stage].get("plots", [])]:
            ((path, settings),) = entry.items()
            assert settings["cache"] is False
            assert not is_ignored(path), path
        for path in paths(stage, "outs"):
            assert is_ignored(path), path
    assert is_ignored(f"{KERAS.extras.as_posix()}/anything")
    assert not is_ignored(f"{KERAS.extras.as_posix()}/README.md")
    assert is_ignored("reports/keras/comparison.html")


@pytest.mark.parametrize(("outputs", "command"), [(PYTORCH, "make train"), (KERAS, "make train-keras")])
def test_a_message_names_the_command_of_its_pipeline(outputs: Outputs, command: str):
    assert outputs.command(outputs.makers[outputs.checkpoint]) == command

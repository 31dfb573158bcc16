"""docs/studies.md: its example is a study, its commands are there, and it shows every study."""

import re
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from small_project import REPOSITORY

from Resnet23.studies.definition import SCALES, Scale, Study, read_study, study_names
from Resnet23.studies.runner import check_study
from Resnet23.studies.settings import settings_of
from Resnet23.studies.workplace import scale_params

GUIDE = (REPOSITORY / "docs/studies.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository's studies, presets and parameters in the current directory."""
    for name in ("studies", "presets"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_the_example_is_a_study():
    [example] = re.findall(r"^```yaml\n# (studies/\S+\.yaml)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    Path(example[0]).write_text(example[1], encoding="utf-8")
    study = read_study(Path(example[0]).stem)
    check_study(study, "smoke", scale_params(study, "smoke"))
    assert len(settings_of(study, "smoke")) == 4


def test_the_keys_that_the_guide_explains_are_those_of_a_study():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", GUIDE[GUIDE.index("| key |") :], re.MULTILINE)
    explained = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert explained == set(Study.model_fields) - {"name", "question", "expected"}
    assert set(Scale.model_fields) <= explained | {"preset", "seeds", "cost"}


def test_every_study_and_scale_is_there():
    results = GUIDE[GUIDE.index("## Results") :]
    for name in study_names():
        assert f"studies/{name}/small/" in results
    assert all(f"| `{scale}` |" in GUIDE for scale in SCALES)


def test_its_commands_name_studies_scales_and_targets_that_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"^(?: {4})?(make [^\n#]+)", GUIDE, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        target, *words = command.split()[1:]
        values = dict(word.split("=", 1) for word in words)
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        assert values.get("NAME", study_names()[0]) in study_names()
        assert values.get("SCALE", "smoke") in SCALES


def test_its_figures_are_in_the_repository():
    figures = re.findall(r"\]\(\.\./(reports/studies/[^)]+)\)", GUIDE)
    assert len(figures) >= len(study_names())
    assert all((REPOSITORY / figure).exists() for figure in figures)


def test_the_costs_and_expectations_are_written():
    for file in Path("studies").glob("*.yaml"):
        text = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        assert all(re.search(r"\d|not measured", scale["cost"]) for scale in text["scales"].values())

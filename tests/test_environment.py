"""The settings of a machine: where .env is looked for, and what it may change."""

import os
import subprocess
from pathlib import Path

import pytest

from Resnet23.environment import load_environment_file, project_root
from Resnet23.errors import InputError


@pytest.fixture
def repository_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty git repository below a folder that has a .env too; its folder runs/digits is the current directory."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / ".env").write_text("PLACE=outside\n")
    top = tmp_path / "repository"
    (top / "runs" / "digits").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", top], check=True)
    monkeypatch.chdir(top / "runs" / "digits")
    return top


def place() -> str | None:
    """Which file the settings come from."""
    environment = {}
    file = load_environment_file(environment)
    assert (file is None) == (environment == {})
    return environment.get("PLACE")


def test_the_nearest_file_up_to_the_top_of_the_repository_counts(repository_folder):
    assert place() is None
    (repository_folder / ".env").write_text("PLACE=top\n")
    assert place() == "top"
    Path(".env").write_text("PLACE=here\n")
    assert place() == "here"


def test_a_worktree_has_a_top_as_well(repository_folder):
    """There .git is a file."""
    Path(".git").write_text("gitdir: elsewhere\n")
    (repository_folder / ".env").write_text("PLACE=top\n")
    assert place() is None


def test_outside_git_only_the_projects_own_folder_counts(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / ".env").write_text("PLACE=above\n")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert place() is None
    Path(".env").write_text("PLACE=here\n")
    assert place() == "here"


def test_a_temporary_experiment_has_the_file_of_its_project(repository_folder, tmp_path, monkeypatch):
    (repository_folder / ".env").write_text("PLACE=top\n")
    copy = tmp_path / "temporary" / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert place() is None
    monkeypatch.setenv("DVC_ROOT", str(repository_folder))
    assert project_root() == repository_folder
    assert place() == "top"


def test_what_the_environment_says_wins_and_empty_values_say_nothing(repository_folder):
    (repository_folder / ".env").write_text(
        "# comment\nGIVEN=file\nOFF=file\nEMPTY=\nexport QUOTED='a b'\nBARE\nNEW=ä\n", "utf-8"
    )
    environment = {"GIVEN": "shell", "OFF": ""}
    assert load_environment_file(environment) == repository_folder / ".env"
    assert environment == {"GIVEN": "shell", "OFF": "", "QUOTED": "a b", "NEW": "ä"}


def test_the_process_has_the_settings(repository_folder, monkeypatch):
    Path(".env").write_text("RESNET23_TEST_GIVEN=file\nRESNET23_TEST_NEW=file\n")
    monkeypatch.setenv("RESNET23_TEST_GIVEN", "shell")
    monkeypatch.setenv("RESNET23_TEST_NEW", "")
    monkeypatch.delenv("RESNET23_TEST_NEW")
    load_environment_file()
    assert os.environ["RESNET23_TEST_GIVEN"] == "shell"
    assert os.environ["RESNET23_TEST_NEW"] == "file"


def test_a_file_that_is_no_text_is_named(repository_folder):
    (repository_folder / ".env").write_bytes(b"NAME=\xff\xfe")
    with pytest.raises(InputError, match=r"\.env: not UTF-8"):
        load_environment_file({})

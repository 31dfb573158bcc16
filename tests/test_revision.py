"""The recorded revision tells whether the code, rather than the record of its results, was changed."""

import subprocess
from pathlib import Path

import pytest

from Resnet23.revision import git_revision


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit of code and record."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    for name in ("code.py", "dvc.lock", "reports/metrics.json"):
        (tmp_path / name).write_text("first")
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], check=True)
    return tmp_path


def test_a_clean_commit_is_twelve_digits(repository):
    assert len(git_revision()) == 12


def test_what_the_pipeline_rewrites_is_no_change_of_the_code(repository):
    (repository / "dvc.lock").write_text("second")
    (repository / "reports/metrics.json").unlink()
    (repository / "untracked.txt").write_text("new")
    assert not git_revision().endswith("-dirty")


def test_changed_code_is_dirty(repository):
    (repository / "code.py").write_text("second")
    assert git_revision().endswith("-dirty")


def test_outside_git_there_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision() is None

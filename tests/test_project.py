"""Project folders inside the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Resnet23.config import load_params, preset_file, read_yaml
from Resnet23.errors import InputError
from Resnet23.keras_variant.params import load_keras_params
from Resnet23.project import make_project

COPIED = ["params.yaml", "dvc.yaml", "pipelines", "presets", "reports/keras/extras", ".dvc/config"]


@pytest.fixture
def small_repository(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the repository, with a space and a letter beyond ASCII in its path, as the current directory."""
    root = tmp_path / "my repository é"
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, root / name)
    for name in ("Resnet23/module.py", "data/raw/archive.tar", "reports/extras/README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.chdir(root)
    return root


def test_a_project_has_the_effective_parameters_with_their_comments(small_repository):
    make_project(Path("runs/digits"), "digits", ["train.epochs=3", "data.source=photos/mine"])
    written = read_yaml("runs/digits/params.yaml")
    expected = load_params(preset="digits", assignments=["train.epochs=3"]).model_dump()
    expected["data"]["source"] = "../../photos/mine"  # the same folder, seen from the project
    assert written == expected
    text = Path("runs/digits/params.yaml").read_text(encoding="utf-8")
    assert "params.yaml + preset digits + train.epochs=3" in text.splitlines()[0]
    assert "every random draw comes from it" in text
    assert "max_leaked: null" in text


def test_a_project_has_the_keras_pipeline_with_what_the_preset_says_of_it(small_repository):
    make_project(Path("runs/digits"), "digits", ["keras.train.epochs=3"])
    written = read_yaml("runs/digits/pipelines/keras/params.yaml")
    assert written == load_keras_params(preset="digits", assignments=["train.epochs=3"]).model_dump()
    assert written["model"]["width"] == read_yaml(preset_file("digits"))["keras"]["model"]["width"]
    assert read_yaml("runs/digits/params.yaml") == load_params(preset="digits").model_dump()
    assert Path("runs/digits/pipelines/keras/dvc.yaml").read_text() == Path("pipelines/keras/dvc.yaml").read_text()
    assert Path("runs/digits/reports/keras/extras/README.md").is_file()


@pytest.mark.parametrize("source", ["https://example.org/photos.zip", os.path.abspath(os.sep)])
def test_addresses_and_absolute_sources_stay_as_they_are(source, small_repository):
    make_project(Path("demo"), assignments=[f"data.source={source}"])
    assert read_yaml("demo/params.yaml")["data"]["source"] == source


def test_code_and_downloads_are_linked_relatively_so_that_everything_can_be_moved(small_repository, monkeypatch):
    make_project(Path("runs/digits"), "digits")
    moved = small_repository.rename(small_repository.with_name("moved"))
    monkeypatch.chdir(moved / "runs" / "digits")
    assert Path("Resnet23/module.py").read_text() == "Resnet23/module.py"
    assert Path("data/raw/archive.tar").read_text() == "data/raw/archive.tar"
    assert Path("reports/extras/README.md").is_file()
    for file in Path().rglob("*"):
        if file.is_file():
            assert str(small_repository) not in file.read_text(encoding="utf-8")


def test_where_links_are_not_allowed_the_folders_are_copied_and_refreshed(small_repository, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("links are not allowed")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    make_project(Path("demo"))
    Path("Resnet23/module.py").write_text("changed")
    make_project(Path("demo"))
    assert not Path("demo/Resnet23").is_symlink()
    assert Path("demo/Resnet23/module.py").read_text() == "changed"


def test_a_second_call_changes_the_parameters_and_keeps_the_results(small_repository):
    make_project(Path("demo"), "digits")
    kept = [Path("demo/dvc.lock"), Path("demo/models/resnet23_cifar.pth"), Path("demo/data/processed/images.tar")]
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("result")
    make_project(Path("demo"), "digits", ["train.epochs=3"])
    assert read_yaml("demo/params.yaml")["train"]["epochs"] == 3
    assert [file.read_text() for file in kept] == ["result"] * 3


@pytest.mark.parametrize("folder", ["", ".", "..", "../elsewhere", "data", "params.yaml", "runs/../.."])
def test_only_a_new_folder_inside_the_repository_becomes_a_project(folder, small_repository):
    before = sorted(small_repository.parent.rglob("*"))
    with pytest.raises(InputError, match=r"as in runs/mine"):
        make_project(Path(folder))
    assert sorted(small_repository.parent.rglob("*")) == before


def test_a_wrong_parameter_or_preset_leaves_no_folder(small_repository):
    with pytest.raises(InputError, match="did you mean digits"):
        make_project(Path("demo"), "digit")
    for assignment in ("train.epoch=1", "keras.train.epoch=1"):
        with pytest.raises(InputError, match="did you mean epochs"):
            make_project(Path("demo"), assignments=[assignment])
    assert not Path("demo").exists()
    assert preset_file("digits").is_file()


def test_git_and_dvc_of_the_repository_do_not_see_the_project(small_repository):
    def output(*command: str, folder: str = ".") -> str:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout

    dvc = (sys.executable, "-m", "dvc")
    cmd = "python -c \"open('out', 'w').write('x')\""
    Path("dvc.yaml").write_text(
        f"stages:\n  one:\n    cmd: {cmd}\n    deps: [reports/extras/README.md]\n    outs: [out]\n"
    )
    Path("pipelines/keras/dvc.yaml").write_text("stages: {}\n")
    Path(".gitignore").write_text("/out\n")
    output("git", "init", "--quiet")
    output(*dvc, "repro", "--quiet")
    before = output("git", "status", "--short", "--untracked-files=all")
    make_project(Path("runs/mine"))
    assert output("git", "status", "--short", "--untracked-files=all") == before
    assert "up to date" in output(*dvc, "status")
    assert output(*dvc, "root", folder="runs/mine").strip() == "."
    assert "is cached" in output(*dvc, "repro", folder="runs/mine")  # the cache is the repository's

"""Folders that nobody can write to, root included: every command says so before it works, and never that it saved."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from private_disk import PrivateDisk, finished_project, succeed, tree

# A command and the folder that it must write to.
CASES = [
    (["datadownload"], "data/processed"),
    (["features"], "data/features"),
    (["modeling.train"], "models"),
    (["modeling.train"], "reports"),
    (["modeling.predict"], "reports"),
    (["modeling.predict", "data/processed/test/0", "--output", "tables/answers.csv"], "tables"),
    (["plots"], "reports/figures"),
    (["plots"], "reports"),
    (["export", "--formats", "safetensors"], "models/export"),
    (["export", "--formats", "safetensors"], "reports/extras"),
    (["explain"], "reports/extras"),
    (["model_card"], "reports/extras"),
    (["modeling.lr_find"], "reports/extras"),
    (["validate"], "reports/extras/heads"),
    (["classifiers.pretrain"], "models"),
]
# Packages that come with an extra.
NEEDS = {"export": "safetensors", "model_card": "huggingface_hub", "classifiers.pretrain": "transformers"}
STAGES = ["datadownload", "features", "modeling.train", "modeling.predict", "plots"]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDisk]:
    """A disk with a finished project on it, and the folders of the commands outside the pipeline."""
    with finished_project(tmp_path_factory.mktemp("disk")) as disk:
        for _, folder in CASES:
            (disk.project / folder).mkdir(parents=True, exist_ok=True)
        yield disk


@pytest.mark.slow
@pytest.mark.fault(24)
@pytest.mark.parametrize(("command", "folder"), CASES, ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_read_only_folder_ends_a_command_before_it_works(disk, command, folder):
    if package := NEEDS.get(command[0]):
        pytest.importorskip(package)
    assert_refused(disk, command, folder)


@pytest.mark.slow
@pytest.mark.fault(24)
@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_works_in_a_read_only_project(disk, stage):
    assert_refused(disk, [stage], ".")


def assert_refused(disk: PrivateDisk, command: list[str], folder: str) -> None:
    """The command prints one line, which names a place in `folder`, and nothing is other than before."""
    before = tree(disk.project)
    module, *arguments = command
    with disk.read_only(disk.inside / folder):
        done = disk.run(f"Resnet23.{module}", *arguments)
    assert done.code == 2, done.stderr
    assert "no access (read-only file system); change the permissions, or work elsewhere" in done.error
    assert Path(done.error.removeprefix("error: ").partition(":")[0]).is_relative_to(folder)
    assert (done.stdout, done.stderr.splitlines()) == ("", [done.error])
    assert tree(disk.project) == before


@pytest.mark.slow
@pytest.mark.fault(24)
def test_a_read_only_store_of_runs_costs_a_warning_and_no_training(disk):
    expected = (disk.project / "models/resnet23_cifar.pth").read_bytes()
    (disk.project / "mlruns").mkdir()
    (disk.project / "models/resnet23_cifar.pth").unlink()
    with disk.read_only(disk.inside / "mlruns"):
        done = disk.run("Resnet23.modeling.train", "--set", "tracking.enabled=true")
    succeed(done)
    assert done.stderr.count("tracking stops, the work goes on: ") == 1
    assert "mlruns" in done.stderr and "read-only file system" in done.stderr
    assert (disk.project / "models/resnet23_cifar.pth").read_bytes() == expected

"""The notebooks: clean in git, no functions of their own, run from the first cell to the last, rendered in docs."""

import ast
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_project import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
EXPLORATION, WALKTHROUGH = NOTEBOOKS
RENDERED = REPOSITORY / "docs/notebooks"
COPIED = ("params.yaml", "dvc.yaml", "presets", "reports/extras/README.md", "notebooks")
MOST_BYTES = 1_500_000  # of all pictures in docs/notebooks
DIGITS = "handwritten digits."  # what a notebook says that goes on without the official files

Cells = list[dict[str, Any]]
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def read_cells(path: Path, kind: str = "") -> Cells:
    """The cells of a notebook, or those of one kind."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"].startswith(kind)]


def code_of(cell: dict[str, Any]) -> str:
    """The Python in a cell, without IPython's own commands."""
    return re.sub(r"^%.*$", "", "".join(cell["source"]), flags=re.MULTILINE)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A copy of what the notebooks need of the repository, in which they may leave what they want."""
    for package in ("nbconvert", "ipykernel"):
        pytest.importorskip(package, reason=f"{package} comes with the extra notebooks")
    root = tmp_path / "my repository"
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, root / name)
    (root / "Resnet23").symlink_to(REPOSITORY / "Resnet23", target_is_directory=True)
    return root


def execute(root: Path, name: str, mirror: Path) -> Cells:
    """Run a notebook of the repository `root` as `make notebooks` does, and give its code cells with their outputs."""
    output = root.parent / "executed"
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "RESNET23_DATA_MIRROR": str(mirror),
        "IPYTHONDIR": str(root.parent / "ipython"),
        "JUPYTER_CONFIG_DIR": str(root.parent / "jupyter"),
        "JUPYTER_DATA_DIR": str(root.parent / "jupyter"),
    }
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--output-dir", str(output)]
    done = subprocess.run(
        [*command, str(root / "notebooks" / name)], env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return read_cells(output / name, "code")


def texts(cells: Cells) -> str:
    """Everything that the cells printed."""
    return "".join("".join(output.get("text", [])) for cell in cells for output in cell["outputs"])


def pictures(cells: Cells) -> dict[str, np.ndarray]:
    """The last picture of each cell that shows one, (H, W, C) uint8, by the cell's id."""
    encoded = {
        cell["id"]: output["data"]["image/png"]
        for cell in cells
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    }
    return {name: np.asarray(Image.open(BytesIO(base64.b64decode(png)))) for name, png in encoded.items()}


def percentages(pattern: str, text: str) -> list[float]:
    """The numbers that the groups of a pattern find in a text, as shares of 1."""
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in: {text}"
    return [float(number) / 100 for number in found.groups()]


def files_of(root: Path) -> set[Path]:
    """All files of the repository `root` but those of its project folders."""
    return {path for path in root.rglob("*") if path.is_file() and (root / "runs") not in path.parents}


@every_notebook
def test_git_gets_no_outputs(notebook):
    for cell in read_cells(notebook, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@every_notebook
def test_a_notebook_only_calls_what_the_package_has(notebook):
    tree = ast.parse("\n".join(map(code_of, read_cells(notebook, "code"))))
    own = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, own)]
    assert any(isinstance(node, ast.ImportFrom) and (node.module or "").startswith("Resnet23") for node in tree.body)


@every_notebook
def test_the_docs_show_the_notebook_as_it_is(notebook):
    page = (RENDERED / f"{notebook.stem}.md").read_text(encoding="utf-8")
    missing = [cell["id"] for cell in read_cells(notebook) if "".join(cell["source"]).strip() not in page]
    assert not missing, f"cells that differ from docs/notebooks/{notebook.stem}.md; run `make notebooks`: {missing}"
    linked = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)
    assert len(linked) >= 4
    assert {RENDERED / name for name in linked} == set((RENDERED / f"{notebook.stem}_files").iterdir())


def test_the_rendered_copies_are_small_and_name_no_machine():
    assert sum(path.stat().st_size for path in RENDERED.rglob("*.png")) < MOST_BYTES
    for page in RENDERED.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|usr|opt)/\S*", text)
        assert DIGITS not in text.replace(DIGITS + '")', ""), f"{page.name}: made without the official files"


@pytest.mark.slow
def test_the_exploration_runs_without_a_network(stand_in, tmp_path):
    before = files_of(stand_in)
    cells = execute(stand_in, EXPLORATION.name, tmp_path / "nothing")
    said = texts(cells)
    assert "cifar10 is not there" in said
    assert DIGITS in said
    assert files_of(stand_in) == before
    assert set(pictures(cells)) == {"look", "means", "extremes", "nearest"}
    assert all(picture[..., :3].std() > 10 for picture in pictures(cells).values())  # levels; a blank one has 0
    accuracy, chance = percentages(r"nearest mean image: ([\d.]+)% of .*by chance: ([\d.]+)%", said)
    assert chance == pytest.approx(0.1)
    assert 0.8 < accuracy < 1  # of a nearest centroid on these digits
    assert re.search(r"train normalised: mean( +0\.000){3}\ntrain normalised: std( +1\.000){3}\n", said)


@pytest.mark.slow
def test_the_walkthrough_runs_without_a_network(stand_in, tmp_path):
    before = files_of(stand_in)
    cells = execute(stand_in, WALKTHROUGH.name, tmp_path / "nothing")
    said = texts(cells)
    assert "cifar100 is not there" in said
    assert files_of(stand_in) == before
    check_walkthrough(cells, said, 10)
    assert percentages(r"([\d.]+)% of [\d,]+ test images classified correctly", said)[0] > 0.9


@pytest.mark.slow
def test_the_walkthrough_runs_on_cifar100(stand_in, mirror):
    cells = execute(stand_in, WALKTHROUGH.name, mirror)
    said = texts(cells)
    assert DIGITS not in said
    check_walkthrough(cells, said, 20)
    accuracy, top5 = (
        percentages(pattern, said)[0]
        for pattern in (r"([\d.]+)% of [\d,]+ test images classified correctly", r"\(top-5\): ([\d.]+)%")
    )
    assert 0.25 < accuracy < top5
    right, largest = percentages(r"right superclass: ([\d.]+)%; always naming the largest one: ([\d.]+)%", said)
    assert accuracy < right
    assert right > 2 * largest
    assert "superclasses" in pictures(cells)


def check_walkthrough(cells: Cells, said: str, classes: int) -> None:
    """What holds whatever the images are."""
    shown = {"look", "augmentation", "curves", "filters", "confusion", "per-class", "calibration", "mistakes"}
    assert shown <= set(pictures(cells))
    accuracy, guessing = (percentages(rf"{who}: +accuracy ([\d.]+)%", said)[0] for who in ("untrained", "guessing"))
    assert guessing == pytest.approx(1 / classes)
    assert accuracy < 3 / classes
    low, high = percentages(r"95% interval of the test accuracy: ([\d.]+)% to ([\d.]+)%", said)
    assert low < percentages(r"([\d.]+)% of [\d,]+ test images classified correctly", said)[0] < high


@pytest.mark.slow
def test_the_exploration_runs_on_the_default_data(stand_in, mirror):
    cells = execute(stand_in, EXPLORATION.name, mirror)
    said = texts(cells)
    assert DIGITS not in said
    accuracy, chance = percentages(r"nearest mean image: ([\d.]+)% of .*by chance: ([\d.]+)%", said)
    assert chance * 2 < accuracy < 0.4

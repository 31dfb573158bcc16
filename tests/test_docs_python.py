"""The Python that the documents show runs, each example in some test."""

import re
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from documented_commands import documents
from served_page import served_page
from small_checkpoint import small_checkpoint
from small_features import make_features
from small_project import REPOSITORY, SHRUNK

from Resnet23.config import CHECKPOINT_FILE
from Resnet23.images import encode_png
from Resnet23.modeling.checkpoint import save_checkpoint

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
HERE = ["README.md", "docs/api/index.md", "docs/tour.md"]  # they need a project with features and a checkpoint
ELSEWHERE = {
    "docs/serve.md": "tests/test_docs_python.py",
    "docs/heads.md": "tests/classifiers/test_guides.py",
    "docs/transfer-learning.md": "tests/test_transfer_guide.py",
    "docs/multi-label.md": "tests/test_multilabel_guide.py",
    "docs/export.md": "tests/exporting/test_export_guide.py",
    "docs/keras.md": "tests/keras_variant/test_keras_export.py",
}


def examples(page: str) -> list[str]:
    """The Python blocks of a page."""
    return BLOCK.findall((REPOSITORY / page).read_text(encoding="utf-8"))


def run_examples(page: str) -> None:
    """Run the blocks of a page in the current directory, one after the other."""
    exec(compile("\n".join(examples(page)), page, "exec"), {})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    make_features(folder, SHRUNK)
    with chdir(folder):
        save_checkpoint(CHECKPOINT_FILE, small_checkpoint())
    return folder


def test_every_page_with_python_has_a_test_that_runs_it():
    shown = {page.relative_to(REPOSITORY).as_posix() for page in documents() if BLOCK.search(page.read_text("utf-8"))}
    assert shown == set(HERE) | set(ELSEWHERE)
    for page, test in ELSEWHERE.items():
        text = (REPOSITORY / test).read_text(encoding="utf-8")
        assert page in text and "exec(" in text, test


@pytest.mark.parametrize("page", HERE)
def test_the_examples_run(page, finished, monkeypatch):
    monkeypatch.chdir(finished)
    run_examples(page)


@pytest.mark.slow
def test_a_program_asks_the_demo_app(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("photo.jpg", "a.jpg", "b.jpg")):
        (tmp_path / name).write_bytes(encode_png(np.full((20, 24, 3), 80 * number, np.uint8)))
    (example,) = examples("docs/serve.md")
    with served_page() as (address, _):
        exec(compile(example.replace("http://127.0.0.1:7860/", address), "docs/serve.md", "exec"), {})

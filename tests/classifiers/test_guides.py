"""The guides say what works."""

import re
from pathlib import Path

import pytest
import torch
from small_encoders import save_hugging_face_encoder
from small_features import make_features
from small_project import REPOSITORY, SHRUNK


@pytest.fixture
def project(no_project):
    """A few digits, and an encoder where `make encoder` leaves one."""
    make_features(no_project, SHRUNK)
    save_hugging_face_encoder(Path("models/encoder"), image_size=32, features=512)
    return no_project


def run_examples(guide: str, blocks: int) -> dict:
    """Run the Python of a guide, one block after the other, and give its variables."""
    text = (REPOSITORY / guide).read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(found) == blocks
    variables: dict = {}
    exec(compile("\n".join(found), guide, "exec"), variables)
    return variables


def test_the_examples_of_the_guide_to_heads_run(project, capsys):
    variables = run_examples("docs/heads.md", 5)
    printed = capsys.readouterr().out
    assert "% of the test images are right" in printed
    assert "BinaryFigures(accuracy=" in printed
    answer, seen_in_training = variables["answer"].probabilities[0], variables["on_test"].logits[0].sigmoid()
    assert answer == pytest.approx(seen_in_training.item(), abs=1e-5), "a file is seen as the arrays were"
    assert f"3: {answer:.1%}" in printed
    assert len(list(Path("data/interim/encoded").iterdir())) == 3, "each of the three splits is encoded once"


def test_the_example_of_the_packages_readme_runs(project):
    variables = run_examples("Resnet23/classifiers/README.md", 1)
    encoder, head = variables["encoder"], variables["head"]
    with torch.no_grad():
        right = [int(head(encoder(image[None])).argmax()) == label for image, label in variables["test"]]
    assert variables["accuracy"] == pytest.approx(100 * sum(right) / len(right))

"""The package's README says what works."""

import re
from pathlib import Path

from small_encoders import save_hugging_face_encoder
from small_features import make_features
from small_project import REPOSITORY, SHRUNK

README = REPOSITORY / "Resnet23" / "classifiers" / "README.md"


def test_its_example_runs_in_a_project(no_project, capsys):
    make_features(no_project, SHRUNK)
    save_hugging_face_encoder(Path("models/encoder"), image_size=32, features=512)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    exec(compile("\n".join(blocks), README, "exec"), {})
    printed = capsys.readouterr().out
    assert "% of the test images are right" in printed
    assert "BinaryFigures(accuracy=" in printed
    assert len(list(Path("data/interim/encoded").iterdir())) == 3, "each of the three splits is encoded once"

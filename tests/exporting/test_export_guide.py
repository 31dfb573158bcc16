"""docs/export.md says what works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from small_exports import NETWORK, digits_checkpoint
from small_project import REPOSITORY

from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE
from Resnet23.exporting.formats import FORMATS
from Resnet23.modeling.checkpoint import save_checkpoint

GUIDE = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")


def test_the_guide_lists_the_formats():
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z0-9.]+)` \|", GUIDE, re.MULTILINE)
    assert listed == [(name, row.file) for name, row in FORMATS.items()]


@pytest.mark.slow
def test_the_commands_and_the_examples_of_the_guide_run(digits_folder, tmp_path, monkeypatch, capsys):
    for package in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
        pytest.importorskip(package, reason=f"{package} comes with the extra `export`")
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(digits_folder / "data")
    features = read_features()
    save_checkpoint(CHECKPOINT_FILE, digits_checkpoint(features, *NETWORK))
    Image.fromarray(features.test.images[0]).resize((75, 50)).save("photo.jpg")
    commands = re.findall(r"^python -m (Resnet23\.export.*)$", GUIDE, re.MULTILINE)
    assert len(commands) == 2
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for command in commands:
        arguments = [sys.executable, "-m", *command.split()]
        result = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert result.returncode == 0, result.stderr
        assert "Deprecat" not in result.stderr.replace("has deprecated torch.jit", "")
    examples = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/export.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d 0\.\d+", printed[0])
    assert printed[1:] == ["torch.Size([5, 10])", "<All keys matched successfully>"]

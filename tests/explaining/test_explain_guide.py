"""docs/explain.md: its commands run."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from PIL import Image
from small_project import REPOSITORY

from Resnet23 import explain
from Resnet23.config import EXPLAIN_PICTURE

GUIDE = (REPOSITORY / "docs" / "explain.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m Resnet23\.explain(.*)$", GUIDE, re.MULTILINE)


def test_the_commands_of_the_guide_run(enter):
    pytest.importorskip("captum", reason="captum comes with the extra `explain`")
    folder = enter("digits")
    Path("my-photos").mkdir()
    for name in ("photo.jpg", "my-photos/other.png"):
        Image.new("RGB", (40, 30), "orange").save(name)
    app = typer.Typer()
    app.command()(explain.main)
    assert len(COMMANDS) == 3
    for arguments in COMMANDS:
        typer.main.get_command(app).main(shlex.split(arguments), standalone_mode=False)
    for figure in (EXPLAIN_PICTURE, Path("mistakes.png"), explain.FILES_PICTURE):
        assert (folder / figure).is_file()
        assert figure.name in GUIDE

"""The pinned packages: each with the hashes of its files, which pip compares with what it gets."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from small_project import REPOSITORY

FILES = ["requirements.txt", "requirements-dev.txt", "requirements-tensorflow.txt", "requirements-tfjs.txt"]
PIN = re.compile(r"[\w.-]+==[\w.!+-]+( ; .+)?( +--hash=sha256:[0-9a-f]{64})+")


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_pinned_with_the_hashes_of_its_files(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8").replace(" \\\n", " ")
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    assert pins
    assert [line[:60] for line in pins if not PIN.fullmatch(line)] == []


def make_wheel(folder: Path) -> Path:
    """The smallest package that pip installs."""
    files = {
        "tiny.py": "",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, "tiny-1.0.dist-info/RECORD": f"{record}tiny-1.0.dist-info/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.mark.parametrize("is_tampered", [False, True])
def test_a_package_that_is_not_what_was_tested_is_not_installed(tmp_path, is_tampered):
    wheel = make_wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if is_tampered:
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("tiny/evil.py", "")
    (tmp_path / "requirements.txt").write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--find-links", tmp_path]
    command += ["--target", tmp_path / "installed", "--requirement", tmp_path / "requirements.txt"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) != is_tampered, result.stderr
    assert (tmp_path / "installed/tiny.py").exists() != is_tampered
    assert ("DO NOT MATCH THE HASHES" in result.stderr) == is_tampered

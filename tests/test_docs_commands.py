"""Every command that README.md, CONTRIBUTING.md and docs/ show: could it run, and does it?

The fast tests check all of them without running any. The slow one runs, with tiny parameters and on the digits, those
that no other test runs and that need nothing from elsewhere; NOT_RUN says why the others are left out.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from command_checks import Checker
from documented_commands import (
    Block,
    begins_with_a_program,
    inline_commands,
    logical_lines,
    shell_blocks,
    shell_texts,
    simple_commands,
)
from small_project import REPOSITORY
from test_learning_path import make_repository

BLOCKS = shell_blocks()
UNFINISHED = re.compile("Missing argument|requires an argument")  # sentences may name an option without its value
OF_OTHER_PROJECTS = {"make create_environment"}  # named to say what replaces them


class Reason(NamedTuple):
    """Commands that the slow test leaves out, by a pattern of their text or of the file they stand in, and why."""

    pattern: str
    why: str
    file: str = ".*"


NOT_RUN = [
    # Other tests run these.
    Reason(".*", "tests/test_learning_path.py runs it", r"docs/learning-path\.md"),
    Reason(".*", "tests/test_transfer_guide.py runs it", r"docs/transfer-learning\.md"),
    Reason(".*", "tests/test_cifar100_guide.py runs what needs no CIFAR-100", r"docs/cifar100\.md"),
    Reason(r".*(keras|tfjs|tensorflow).*|make browser", "TensorFlow: tests/keras_variant"),
    Reason(r"(make new|resnet23 new|python -m Resnet23\.new_project)\b.*", "writes outside the project"),
    # Minutes to hours.
    Reason(r"make bench-.*|python -m benchmarks\..*", "measures for minutes to hours: tests/benchmarks"),
    Reason(r".*(SCALE=(small|full)|make studies|study-worker|--scale (small|full)).*", "hours: tests/studies"),
    Reason(
        r"make (test|test-slow|test-faults|soak|audit|lint|format|notebooks|requirements|clean)\b.*",
        "tests, mends or removes this very tree",
    ),
    Reason(r".*cifar100.*", "CIFAR-100 has to be downloaded"),
    # Installing.
    Reason(
        r"(make setup|.*\bpip install|conda|npm|docker|pre-commit|rm -r|python3?[.\d]* -m venv|source ~).*", "installs"
    ),
    Reason(r"awk .*", "prepares an installation"),
    Reason(r"resnet23 --(install|show)-completion", "changes what the shell of the user does"),
    # The network, and other hosts.
    Reason(r"git .*|cd flowers|make (dagshub-init|sync-tracking).*|.*tracking\.sync.*|resnet23 sync", "a server"),
    Reason(r"(\.venv/bin/)?dvc (push|pull|remote|gc).*|cp \.env.*|.*MLFLOW_TRACKING_URI=.*", "a server, or a share"),
    Reason(r".*(--nnodes|--num_machines|--num_processes|--multi_gpu|--nproc-per-node [48]).*", "several GPUs or hosts"),
    # They serve until they are stopped, or speak with what serves.
    Reason(
        r".*\b(serve|serve-rest|mlflow-ui|tensorboard|http\.server|webapp)\b.*", "serves: the tests of these modules"
    ),
    Reason(r"(curl|printf|MODEL=|PORT=).*", "speaks with a server"),
    # Not everywhere.
    Reason(r"(nvidia-smi|free).*", "not on every machine"),
    Reason(r"make heads TARGET=cat", "the digits have no cats"),
    Reason(r".*PRESET=multilabel-fruits", "photos that do not come with the project: tests/test_photo_files.py"),
]
FIRST = ("make repro", "make demo")  # what the others need
TIME_LIMIT = 1200  # seconds for the commands of one block, on a busy machine


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return Checker(tmp_path_factory.mktemp("installed"))


@pytest.fixture(autouse=True)
def benchmarks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY)


@pytest.mark.parametrize("file", sorted({block.file for block in BLOCKS}))
def test_every_command_could_run(file, checker):
    lines = [line for block in BLOCKS if block.file == file for line in block.commands]
    wrong = {line: checker.problems(line) for line in lines}
    assert not {line: problems for line, problems in wrong.items() if problems}


@pytest.mark.parametrize("line", [line for block in BLOCKS for line in block.failing])
def test_a_command_that_is_shown_with_its_error_is_wrong(line, checker):
    assert checker.problems(line)


def test_the_commands_in_sentences_could_run(checker):
    shown = {(file, line) for file, line in inline_commands() if line not in OF_OTHER_PROJECTS}
    wrong = {(file, line): checker.problems(line) for file, line in shown}
    partly = {key: [each for each in problems if not UNFINISHED.search(each)] for key, problems in wrong.items()}
    assert not {key: problems for key, problems in partly.items() if problems}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("make dmeo", "no target dmeo"),
        ("make repro PRESTE=digits", "no variable PRESTE"),
        ("make repro PRESET=digit", "did you mean digits"),
        ("make export FORMATS=onnx && dvc repro trian", "no stage trian"),
        ("python -m Resnet23.modeling.trian", "no module"),
        ("python -m Resnet23.modeling.train --epochs 3", "--epochs"),
        ("(cd demo && python -m Resnet23.modeling.train --set train.epoch=3) | tee log", "did you mean epochs"),
        ("python -m Resnet23.project runs/x --set keras.train.epoch=3", "did you mean epochs"),
        ("torchrun --nproc-per-node 2 -m Resnet23.modeling.train --sett train.epochs=3", "--sett"),
        ("resnet23 trian", "no command trian"),
        ("resnet23 predict --otput x.csv", "--otput"),
        ("dvc rpro", "dvc rpro"),
        ("dvc exp run -S train.epoch=3", "did you mean epochs"),
        ("RESNET23_MIROR=x make data", "no module reads RESNET23_MIROR"),
        ("pip install -r requirements-dve.txt", "does not exist"),
        ("makee demo", "makee is not known"),
    ],
)
def test_a_mistake_is_found(line, problem, checker):
    assert problem in " ".join(checker.problems(line))


MARKDOWN = """\
Text

```
$ make a   # why
printf x |
    curl y -d @-
```

    make b \\
      C=1
    # no

```text
make d
```
"""


def test_blocks_are_taken_apart():
    blocks = [logical_lines(body) for body in shell_texts(MARKDOWN)]
    assert blocks == [["make a", "printf x | curl y -d @-"], ["make b C=1"]]
    assert not begins_with_a_program("Makefile  dvc.yaml")
    words = simple_commands("(cd demo && A=1 make x 2>&1) | tee log > out")
    assert words == [["cd", "demo"], ["A=1", "make", "x"], ["tee", "log"]]


def reason_against(file: str, line: str) -> str | None:
    """Why the slow test does not run a command; None for one that it runs."""
    return next(
        (each.why for each in NOT_RUN if re.fullmatch(each.file, file) and re.fullmatch(each.pattern, line)), None
    )


def test_every_reason_is_needed():
    shown = [(block.file, line) for block in BLOCKS for line in block.commands]
    for reason in NOT_RUN:
        names = re.findall(r"tests/\w+(?:\.py)?", reason.why)
        assert all((REPOSITORY / name).exists() for name in names), reason
    unused = [
        each
        for each in NOT_RUN
        if not any(re.fullmatch(each.file, file) and re.fullmatch(each.pattern, line) for file, line in shown)
    ]
    assert not unused


def test_records_that_documents_name_are_there_or_said_to_be_written():
    for file in (REPOSITORY / "docs").glob("*.md"):
        text = " ".join(file.read_text(encoding="utf-8").split())
        for named in re.finditer(r"(written to )?\W?(reports/benchmarks/[\w-]+\.json)", text):
            assert named[1] or (REPOSITORY / named[2]).is_file(), f"{file.name}: {named[2]}"


def runnable() -> list[Block]:
    """The blocks that hold a command which has not been run before, without the commands that are not run at all."""
    found, seen = [], set(FIRST)
    for block in BLOCKS:
        lines = tuple(line for line in block.commands if reason_against(block.file, line) is None)
        if any(line not in seen and not line.startswith(("source ", "cd ")) for line in lines):
            found.append(Block(block.file, lines))
        seen |= set(lines)
    return found


def make_trained_repository(folder: Path) -> None:
    """A small copy of the repository under git and DVC, whose pipeline has run, with photos in the folders named."""
    make_repository(folder, tracking=True)
    for name in (".dvc/config", ".dvcignore", ".gitignore", "pipelines/keras/dvc.yaml", "pipelines/keras/params.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / "reports/keras/extras").mkdir(parents=True)
    shutil.copy(REPOSITORY / "reports/keras/extras/README.md", folder / "reports/keras/extras")
    shutil.copytree(REPOSITORY / "studies", folder / "studies")
    program = folder / ".venv/bin/resnet23"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m Resnet23 "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (folder / ".venv/bin/activate").touch()
    photos = folder / "my-photos"
    for name in ("flowers", "some/photos", "holiday"):
        shutil.copytree(photos, folder / name)
    shutil.copy(photos / "ants/0.jpg", folder / "photo.jpg")
    run("\n".join(["git init --quiet", "git add .", "git commit --quiet -m start", *FIRST]), folder)


def run(script: str, folder: Path) -> None:
    """Run lines of the shell in `folder` with its programs first; a failure shows the end of what was printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "GIT_"))}
    environment["PATH"] = os.pathsep.join(
        [str(folder / ".venv/bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    for name in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{name}_NAME": "Test", f"GIT_{name}_EMAIL": "test@example.invalid"}
    command = ["bash", "-euxo", "pipefail", "-c", script]
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout[-3000:]}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("make") is None or shutil.which("git") is None:
        pytest.skip("make and git are needed")
    folder = tmp_path_factory.mktemp("repository")
    make_trained_repository(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", runnable(), ids=lambda block: f"{block.file}: {block.commands[-1]}"[:100])
def test_the_commands_run(block, trained):
    run("\n".join(block.commands), trained)

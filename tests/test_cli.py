"""The program `resnet23`: every command under one name, its help and its completion without heavy imports."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from small_project import REPOSITORY
from typer.core import TyperOption

from Resnet23.cli import ROWS, Row, build, load, outline
from Resnet23.command import explain
from Resnet23.commands import report
from Resnet23.errors import Resnet23Error
from Resnet23.outputs import PYTORCH

HEAVY = {"torch", "torchvision", "mlflow", "matplotlib", "sklearn", "pandas", "tensorflow"}


@pytest.fixture
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository, with its presets and studies, as the current directory."""
    monkeypatch.chdir(REPOSITORY)


def options(command) -> dict[str, tuple]:
    """What completion needs to know of each option and argument."""
    return {
        param.name: (
            sorted([*param.opts, *param.secondary_opts]),
            isinstance(param, TyperOption) and param.is_flag,
            param.type_descriptor.choices,
            param.nargs,
            param.multiple if isinstance(param, TyperOption) else None,
        )
        for param in command.params
    }


def complete(monkeypatch, capsys, line: str) -> list[str]:
    """What a bash would offer after `line`."""
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_RESNET23_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        build()(prog_name="resnet23")
    return capsys.readouterr().out.split()


def run(*arguments: str, folder=None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    command = [sys.executable, "-m", "Resnet23", *arguments]
    settings = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_command_has_the_options_of_its_module_in_help_and_completion(row: Row):
    command = load(row)
    assert options(command) == options(outline(row))
    assert {"debug", "quiet"} <= options(command).keys()
    with command.make_context(f"resnet23 {row.name}", [], resilient_parsing=True) as context:
        shown = command.get_help(context)
    for param in command.params:
        names = param.opts if isinstance(param, TyperOption) else [param.display_name_raw]
        assert all(name in shown for name in names)


def test_the_names_are_different_and_each_has_a_line_of_help_that_is_shown_whole():
    assert len({row.name for row in ROWS}) == len({row.module for row in ROWS}) == len(ROWS)
    result = run("--help", COLUMNS="80")
    assert result.returncode == 0
    for row in ROWS:
        assert f"  {row.name} " in result.stdout
        assert row.help in result.stdout


def test_help_and_completion_import_nothing_heavy():
    program = """
import sys
from Resnet23.cli import ROWS, build, outline
try:
    build()(["--help"], prog_name="resnet23")
except SystemExit:
    pass
for row in ROWS:
    outline(row)
print(*{name.split(".")[0] for name in sys.modules})
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True
    )
    assert not HEAVY & set(result.stdout.splitlines()[-1].split())


def test_the_program_alone_and_its_version():
    assert run().stdout == run("--help").stdout
    assert run("--version").stdout.startswith("resnet23 ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'? (see `resnet23 --help`)"),
        (["report", "--opne"], "No such option: --opne; did you mean --open? (see `resnet23 report --help`)"),
        (["study", "a", "b"], "Got unexpected extra argument(s) (b) (see `resnet23 study --help`)"),
        (
            ["plots", "--batch-size", "8"],
            "No such option: --batch-size; parameters are changed by --set train.batch_size=VALUE or "
            "--set predict.batch_size=VALUE (see `resnet23 plots --help`)",
        ),
        (["--verison"], "No such option: --verison; did you mean --version? (see `resnet23 --help`)"),
    ],
)
def test_a_slip_of_the_finger_gets_a_suggestion(arguments, message):
    with pytest.raises(Exception) as caught:
        build()(arguments, prog_name="resnet23", standalone_mode=False)
    assert explain(caught.value) == (message, 2)


def test_a_failure_is_one_line_with_the_exit_code_of_the_module(tmp_path):
    result = run("report", folder=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: reports/metrics.json: no metrics to read")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("in_repository")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("resnet23 expl", ["explain"]),
        ("resnet23 --ver", ["--version"]),
        ("resnet23 train --fr", ["--fresh"]),
        ("resnet23 train --preset dig", ["digits"]),
        ("resnet23 train --set train.deterministic", ["train.deterministic=true", "train.deterministic=false"]),
        ("resnet23 features --set data.resize", ["data.resize=crop", "data.resize=pad", "data.resize=stretch"]),
        ("resnet23 study filt", ["filters"]),
        ("resnet23 study filters --scale sm", ["smoke", "small"]),
        ("resnet23 heads --device c", ["cpu", "cuda"]),
        ("resnet23 nonsense --x", []),
    ],
)
def test_a_shell_is_offered_what_fits(monkeypatch, capsys, line, offered):
    assert complete(monkeypatch, capsys, line) == offered


def test_parameters_are_offered_with_the_values_that_the_project_has(project, monkeypatch, capsys):
    assert complete(monkeypatch, capsys, "resnet23 train --set train.batch") == ["train.batch_size=32"]
    (project / "params.yaml").write_text("train: {batch_size: none of these}")
    assert complete(monkeypatch, capsys, "resnet23 train --set train.batch") == ["train.batch_size=64"]


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A finished project, as far as the command `report` looks; gives what was drawn and what was opened."""
    monkeypatch.chdir(tmp_path)
    PYTORCH.metrics.parent.mkdir()
    PYTORCH.metrics.write_text('{"accuracy": 0.5, "train_accuracy": 0.75}')
    PYTORCH.predictions.touch()
    done = SimpleNamespace(drawn=0, opened=[])

    def draw() -> None:
        done.drawn += 1
        PYTORCH.page.touch()

    monkeypatch.setattr(report, "import_module", lambda name: SimpleNamespace(main=draw))
    monkeypatch.setattr(report.webbrowser, "open", lambda address: done.opened.append(address) or True)
    return done


def test_report_says_where_the_page_is_and_opens_it_drawn_where_it_is_missing(finished, capsys):
    report.main()
    said = capsys.readouterr().out
    assert "50.0%" in said and "reports/index.html" in said and "not drawn yet" in said
    assert finished.drawn == 0 and finished.opened == []

    report.main(open_it=True)
    assert finished.drawn == 1
    assert finished.opened == [PYTORCH.page.resolve().as_uri()]
    report.main(open_it=True)
    assert finished.drawn == 1

    os.utime(PYTORCH.page, (0, 0))  # as after predictions that came out the same, of which DVC draws no new page
    capsys.readouterr()
    report.main()
    assert "draws it" not in capsys.readouterr().out
    report.main(open_it=True)
    assert finished.drawn == 1


def test_report_names_the_address_where_there_is_no_browser(finished, monkeypatch):
    PYTORCH.page.touch()
    monkeypatch.setattr(report.webbrowser, "open", lambda address: False)
    with pytest.raises(Resnet23Error, match="file://"):
        report.main(open_it=True)

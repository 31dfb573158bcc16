"""The shell commands that README.md, CONTRIBUTING.md and the pages of docs/ show."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from small_project import REPOSITORY

SHELLS = {"sh", "bash", "shell", "console"}
# What begins a command. A block without a language is a shell's if its first line begins with one of these.
PROGRAMS = {
    *("make", "python", "python3", "python3.12", "pip", "dvc", "resnet23", "torchrun", "accelerate", "git", "npm"),
    *(
        "source",
        "cd",
        "cp",
        "mv",
        "mkdir",
        "rm",
        "ls",
        "cat",
        "head",
        "tail",
        "cut",
        "grep",
        "awk",
        "printf",
        "echo",
        "kill",
    ),
    *("curl", "base64", "tr", "free", "df", "du", "nvidia-smi", "conda", "docker", "pre-commit", "tensorboard"),
    *("mlflow", "node", "export", "unzip", "tar", "tee", "eval", "env"),
}
FENCED = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:(?: {4}[^\n]*|)\n)*? {4}[^\n]*\n(?:(?: {4}[^\n]*)?\n)*", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`((?:make|resnet23|dvc) [^`\n]+|python -m Resnet23[^`\n]+)`(?!`)")
COMMENT = re.compile(r"(?:^|\s+)#(?:\s.*)?$")
ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")
OPERATORS = re.compile(r"[();&|]+")
ERROR = "error: "  # how the project's own message about a failure begins
RECORDS = {"docs/benchmarks.md", "docs/lab-notes.md"}  # they name the commands of their day, in tables and sentences


class Block(NamedTuple):
    """Commands that are shown together, to be run one after the other in one shell.

    `failing` are those below which the block shows the error that they end with; they are not among the others.
    """

    file: str
    commands: tuple[str, ...]
    failing: tuple[str, ...] = ()


def documents() -> list[Path]:
    """README.md, CONTRIBUTING.md and every page that a person has written."""
    pages = sorted((REPOSITORY / "docs").rglob("*.md"))
    written = [page for page in pages if "notebooks" not in page.relative_to(REPOSITORY).parts]
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *written]


def shell_blocks() -> list[Block]:
    """All blocks of shell commands of all documents."""
    found = []
    for page in documents():
        name = page.relative_to(REPOSITORY).as_posix()
        for body in shell_texts(page.read_text(encoding="utf-8")):
            lines = logical_lines(body)
            failing = tuple(line for line, following in pairwise(lines) if following.startswith(ERROR))
            commands = tuple(line for line in lines if not line.startswith(ERROR) and line not in failing)
            found.append(Block(name, commands, failing))
    return found


def shell_texts(markdown: str) -> Iterator[str]:
    """The text of each code block, fenced or indented, that a shell is meant to read."""
    for match in FENCED.finditer(markdown):
        language = match["language"].split(maxsplit=1)[0] if match["language"].strip() else ""
        if language in SHELLS or (not language and begins_with_a_program(match["body"])):
            yield match["body"]
    for match in INDENTED.finditer(FENCED.sub("", markdown)):
        if begins_with_a_program(match.group()):
            yield match.group()


def begins_with_a_program(text: str) -> bool:
    """Whether the first line that is no comment begins as a command does."""
    lines = logical_lines(text)
    if not lines:
        return False
    words = re.sub(r"^[(\s]+", "", lines[0]).split()
    first = next((word for word in words if not ASSIGNMENT.match(word)), "")
    return first.removeprefix(".venv/bin/") in PROGRAMS


def logical_lines(text: str) -> list[str]:
    """The commands of a block: comments and prompts removed, lines joined that are meant as one."""
    lines: list[str] = []
    goes_on = False
    for line in text.splitlines():
        stripped = COMMENT.sub("", line.strip().removeprefix("$ ")).strip()
        if not stripped:
            continue
        if goes_on:
            lines[-1] = f"{lines[-1].removesuffix(chr(92)).rstrip()} {stripped}"
        else:
            lines.append(stripped)
        goes_on = stripped.endswith(("\\", "|", "&&"))
    return lines


def inline_commands() -> list[tuple[str, str]]:
    """File and text of the commands inside sentences and tables, of all documents that are no records."""
    found = []
    for page in documents():
        name = page.relative_to(REPOSITORY).as_posix()
        if name not in RECORDS:
            text = FENCED.sub("", page.read_text(encoding="utf-8"))
            found += [(name, match[1]) for match in INLINE.finditer(text)]
    return found


def simple_commands(line: str) -> list[list[str]]:
    """The words of each program that a line starts, without redirections, as in `(cd demo && make x) | tee log`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if OPERATORS.fullmatch(word):
            commands.append([])
        elif set(word) <= {"<", ">", "&"}:
            redirected = True
            if commands[-1] and commands[-1][-1] in ("1", "2"):  # as in 2>&1
                commands[-1].pop()
        elif not redirected:
            commands[-1].append(word)
        else:
            redirected = False
    return [[words[0].removeprefix(".venv/bin/"), *words[1:]] for words in commands if words]

"""The lists of presets and studies, from the files themselves and the comments at their heads."""

import re
import textwrap
from pathlib import Path
from typing import Any

from Resnet23.config import read_yaml

FACT = re.compile(r"^(Command|Cost|Expected): +(.*)")
PRESETS = """\
# Presets

A preset is a recipe: a small parameter file that replaces whole sections of [params.yaml](params.md). One is run in a
folder of its own: `make repro PRESET=digits` works in `runs/digits`. A file that you put into `presets/` becomes one
more. This page is made from the files.

"""
STUDIES = """\
# List of studies

A study trains many networks to answer one question. `make study NAME=learning-rate SCALE=smoke` runs one;
[Studies](../studies.md) has the results, and says how to ask a question of your own. This page is made from the files.

"""


def make_pages(repository: Path) -> dict[str, str]:
    """The Markdown of both pages, by their names in the site."""
    presets = sorted((repository / "presets").glob("*.yaml"))
    studies = sorted((repository / "studies").glob("*.yaml"))
    results = (repository / "docs" / "studies.md").read_text(encoding="utf-8")
    return {
        "reference/presets.md": PRESETS + "\n".join(map(describe_preset, presets)),
        "reference/studies.md": STUDIES + "\n".join(describe_study(file, results) for file in studies),
    }


def describe_preset(file: Path) -> str:
    """A preset as Markdown: what its head says, then the file folded away."""
    text = file.read_text(encoding="utf-8")
    paragraphs, facts = read_head(text)
    body = text[re.search(r"^(?!#)", text, re.MULTILINE).start() :].strip()
    terms = [f"{name}\n:   {as_markdown(name, lines)}\n" for name, lines in facts.items()]
    folded = f'??? example "presets/{file.name}"\n\n' + textwrap.indent(f"```yaml\n{body}\n```\n", " " * 4)
    return "\n\n".join([f"## {file.stem}", *paragraphs[:1], *terms, *paragraphs[1:], folded])


def read_head(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """The paragraphs of the comment at the head of a file, and the lines of its facts, such as what it costs."""
    paragraphs: list[str] = [""]
    facts: dict[str, list[str]] = {}
    lines = None  # those of the fact that is being read
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        content = line.removeprefix("#").removeprefix(" ")
        if fact := FACT.match(content):
            lines = facts.setdefault(fact[1], [fact[2]])
        elif lines is not None and content.startswith("  "):
            lines.append(content.strip())
        elif content.strip():
            lines = None
            paragraphs[-1] = f"{paragraphs[-1]} {content.strip()}".strip()
        elif paragraphs[-1]:
            paragraphs.append("")
    return [paragraph for paragraph in paragraphs if paragraph], facts


def as_markdown(name: str, lines: list[str]) -> str:
    """The lines of a fact: commands one below the other as code with what stands behind them, other things as text."""
    if name != "Command":
        return " ".join(lines)
    commands = (re.split(r" {2,}", line, maxsplit=1) for line in lines)
    return "  \n    ".join(" ".join([f"`{command}`", *rest]) for command, *rest in commands)


def describe_study(file: Path, results: str) -> str:
    """A study as Markdown: the question, what is varied, what is expected, what each scale costs, and its results.

    `results` is the page that has those, with a heading for each study that has been run.
    """
    study = read_yaml(file)
    link = f" [Results](../studies.md#{file.stem})" if f"\n### {file.stem}\n" in results else ""
    rows = [f"| `{name}` | `{scale['preset']}` | {scale['cost']} |" for name, scale in study["scales"].items()]
    return "\n".join(
        [
            f"## {file.stem}\n",
            f"**{study['question']}**{link}\n",
            *varied(study),
            f"Expected\n:   {study['expected']}\n",
            "| scale | preset | cost |\n|---|---|---|",
            *rows,
            "",
        ]
    )


def varied(study: dict[str, Any]) -> list[str]:
    """What differs between the trainings: the values of keys, the variants, the keys that are tuned for each."""
    values = [f"`{key}`: {', '.join(map(str, choices))}" for key, choices in study.get("vary", {}).items()]
    variants = [", ".join(study["variants"])] if "variants" in study else []
    tuned = [f"`{key}`, tuned for each" for key in study.get("tune", {})]
    lines = [*variants, *values, *tuned]
    return ["Compared\n:   " + "  \n    ".join(lines) + "\n"] if lines else []

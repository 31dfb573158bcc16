"""The reference of both parameter files: made from the files, the comments in them, and the classes that check them."""

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from Resnet23.config import Params, read_yaml
from Resnet23.keras_variant.params import KerasParams

# A line of a parameter file: `key: value  # comment`, or a comment alone, which belongs to the key after it.
LINE = re.compile(r"(?P<indent> *(?:- )?)(?:(?P<key>\w+):)?(?: (?! *#)[^#]+?)?(?: *# (?P<comment>.*))?")
NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
WORDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


class ParameterPage(NamedTuple):
    """A page of the reference: the file it is about, how the file is checked, and how the page begins."""

    title: str
    file: str
    kind: type[BaseModel]
    introduction: str
    prefix: str = ""  # before a key in `--set` of Resnet23.project

    @property
    def text(self) -> str:
        """The lines above the first key."""
        return (
            f"# {self.title}\n\n{self.introduction} This page is made from `{self.file}` and from the classes that "
            "check it, so it names every key.\n\n*In a preset that leaves it out*: the value that a key takes when a "
            "preset names the section but not the key. A section that a preset does not name stays as in "
            f"`{self.file}`.\n\nFor one run, in a folder of its own: "
            f"`python -m Resnet23.project runs/mine --set {self.prefix}train.epochs=5`.\n"
        )


PAGES = {
    "reference/params.md": ParameterPage(
        "params.yaml",
        "params.yaml",
        Params,
        "What the pipeline does: every key, what it means, and which values it takes.",
    ),
    "reference/keras-params.md": ParameterPage(
        "Parameters of the Keras pipeline",
        "pipelines/keras/params.yaml",
        KerasParams,
        "What the [Keras pipeline](../keras.md) does with the images that [params.yaml](params.md) chooses.",
        "keras.",
    ),
}


@dataclass(frozen=True)
class Key:
    """A key of a parameter file: its dotted name, how it is checked, its value there and the comment beside it."""

    name: str
    field: FieldInfo
    value: Any
    comment: str


def make_pages(repository: Path) -> dict[str, str]:
    """The Markdown of both pages, by their names in the site."""
    return {name: make_page(repository, page) for name, page in PAGES.items()}


def make_page(repository: Path, page: ParameterPage) -> str:
    """The Markdown of one page: a heading for each section, a term for each key."""
    comments = read_comments((repository / page.file).read_text(encoding="utf-8"))
    keys = walk(page.kind, read_yaml(repository / page.file), comments)
    return "\n".join([page.text, *(describe(key) for key in keys)])


def read_comments(text: str) -> dict[str, str]:
    """The comment of each key by its dotted name, where it has one; the entries of a list have the list's name."""
    comments: dict[str, str] = {}
    path: list[tuple[int, str]] = []  # the keys that the present line is below, each with its depth
    above: list[str] = []
    for line in text.splitlines():
        parts = LINE.fullmatch(line)
        if parts is None or not parts["key"]:
            above = [*above, parts["comment"]] if parts and parts["comment"] else []
            continue
        depth = len(parts["indent"])
        path = [(other, key) for other, key in path if other < depth] + [(depth, parts["key"])]
        name = ".".join(key for _, key in path)
        comments[name] = " ".join([*([parts["comment"]] if parts["comment"] else []), *above])
        above = []
    return comments


def walk(
    kind: type[BaseModel], values: Mapping[str, Any], comments: Mapping[str, str], prefix: str = ""
) -> Iterator[Key]:
    """All keys below a section, the sections among them first, in the order of the classes."""
    for name, field in kind.model_fields.items():
        key = Key(f"{prefix}{name}", field, values.get(name), comments.get(f"{prefix}{name}", ""))
        yield key
        inner = section_of(field)
        if inner:
            below = key.value[0] if isinstance(key.value, list) else key.value
            yield from walk(inner, below or {}, comments, f"{key.name}.")


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The class of a section, or of the entries of a list of sections; None for a plain value."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def describe(key: Key) -> str:
    """A key as Markdown: a section as a heading, a value as a term with what it means and takes."""
    anchor = f"{{ #{key.name} }}"
    if section_of(key.field) and "." not in key.name:
        return f"\n## {key.name} {anchor}\n\n{sentence(key.comment)}\n"
    facts = [] if section_of(key.field) else [allowed(key.field), *defaults(key)]
    term = f"[`{key.name}`](#{key.name}){anchor}"
    lines = [line for line in (sentence(key.comment), " · ".join(facts)) if line]
    return f"{term}\n:   " + "\n\n    ".join(lines or ["A section of its own."]) + "\n"


def sentence(comment: str) -> str:
    """A comment with a capital and a full stop; names of values in small letters stay as they are before a colon."""
    text = comment.strip()
    if not text:
        return ""
    first = text.split(maxsplit=1)[0]
    text = text if first.endswith(":") or first.endswith(",") else text[0].upper() + text[1:]
    return text if text.endswith((".", "...")) else f"{text}."


def defaults(key: Key) -> list[str]:
    """The value in the file, and where it differs the one in a preset that leaves the key out."""
    neutral = key.field.get_default()
    if key.value == neutral:
        return [f"default `{shown(neutral)}`"]
    return [f"default `{shown(key.value)}`", f"in a preset that leaves it out `{shown(neutral)}`"]


def shown(value: Any) -> str:
    """A value as YAML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return "null" if value is None else str(value)


def allowed(field: FieldInfo) -> str:
    """Which values a key takes, in words: the names, or the kind and the range."""
    annotation = field.annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    words = [word for kind in kinds for word in words_of(kind)]
    text = ", ".join(words[:-1]) + (" or " if len(words) > 1 else "") + words[-1]
    limits = [limit for limit in limits_of(field) if limit]
    return " ".join([text, *([f"({', '.join(limits)})"] if limits else [])])


def words_of(kind: Any) -> list[str]:
    """The names that a choice offers, or the name of a kind of value."""
    if get_origin(kind) is Literal:
        return [f"`{name}`" for name in get_args(kind)]
    if get_origin(kind) is list:
        return [f"list of {words_of(get_args(kind)[0])[0]}s"]
    return [NAMES[kind]]


def limits_of(field: FieldInfo) -> Iterator[str]:
    """The range of a number, as in "at least 0", and the shortest length of a list."""
    limits = {name: getattr(rule, name) for rule in field.metadata for name in WORDS if hasattr(rule, name)}
    if {"ge", "le"} <= limits.keys():
        yield f"{limits['ge']} to {limits['le']}"
        return
    yield from (WORDS[name].format(f"{value:,}" if isinstance(value, int) else value) for name, value in limits.items())
    if field.annotation not in (str, str | None):
        yield from (f"at least {rule.min_length}" for rule in field.metadata if hasattr(rule, "min_length"))

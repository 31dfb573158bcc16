"""What a shell may suggest for the values of options: names and keys that are known without importing PyTorch.

Each function takes what was typed so far. A project that cannot be read has no suggestions, and no error: somebody is
in the middle of a line.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from Resnet23.errors import InputError


def presets(typed: str) -> list[tuple[str, str]]:
    """The recipes of presets/, each with the first line of its file."""
    from Resnet23.config import PRESETS_DIR  # here: it takes as long as the rest together

    return [(file.stem, _first_line(file)) for file in sorted(PRESETS_DIR.glob(f"{typed}*.yaml"))]


def studies(typed: str) -> list[tuple[str, str]]:
    """The studies of studies/, each with the first line of its file, and what runs them all."""
    from Resnet23.studies.definition import STUDIES_DIR

    named = [(file.stem, _first_line(file)) for file in sorted(STUDIES_DIR.glob("*.yaml"))]
    return [row for row in [*named, ("all", "One after the other.")] if row[0].startswith(typed)]


def scales(typed: str) -> list[str]:
    """The sizes that a study runs in."""
    from Resnet23.studies.definition import SCALES

    return [scale for scale in SCALES if scale.startswith(typed)]


def assignments(typed: str) -> list[str]:
    """Every parameter as KEY=VALUE: with its present value, or where few are possible with each of them."""
    from Resnet23.config import Params

    values = _present_values()
    known = (f"{key}={value}" for key, words in _keys(Params) for value in words or [values[key]])
    return [assignment for assignment in known if assignment.startswith(typed)]


def _present_values() -> dict[str, str]:
    """The parameters of the project in the current directory, or where there is none the default ones, as YAML."""
    from Resnet23.config import Params, flatten, load_params

    try:
        params = load_params()
    except InputError:
        params = Params()
    return {key: _as_yaml(value) for key, value in flatten(params.model_dump()).items()}


def _keys(section: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Dotted keys with the words that may be given for them, none where they are too many; lists are left out."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if hasattr(kind, "model_fields"):
            yield from _keys(kind, f"{prefix}{name}.")
        elif not any(get_origin(each) is list for each in (kind, *get_args(kind))):
            yield f"{prefix}{name}", _words(kind)


def _words(kind: Any) -> list[str]:
    """The values of a type that has few, as they are written in YAML."""
    if get_origin(kind) is Literal:
        return [_as_yaml(value) for value in get_args(kind)]
    parts = [_words(part) for part in get_args(kind)]
    if kind is bool:
        return ["true", "false"]
    if kind is type(None):
        return ["null"]
    return [word for part in parts for word in part] if all(parts) else []


def _as_yaml(value: Any) -> str:
    """A plain value as it is written in YAML."""
    named = {None: "null", True: "true", False: "false"}
    return named[value] if value is None or isinstance(value, bool) else str(value)


def _first_line(file: Path) -> str:
    """The first line of a file's comment."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        return next(lines, "").lstrip("# ").strip()


STUDY = "Resnet23.studies.__main__"
# By the module and the name of a parameter of its `main`; no module: in all of them.
SUGGESTIONS: dict[tuple[str, str], Callable[[str], list[Any]]] = {
    ("", "preset"): presets,
    ("", "assignments"): assignments,
    (STUDY, "name"): studies,
    (STUDY, "scale"): scales,
}

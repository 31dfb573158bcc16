"""The points that a study tries: which parameters have which values, and what these make of the base parameters."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import BaseModel

from Resnet23.config import Params, validate_params
from Resnet23.errors import InputError
from Resnet23.studies.definition import Study, Value

OPTIONS = "options."
SECTIONS = ("model.", "train.", OPTIONS)  # what may be varied: the data are prepared once for all trials


@dataclass(frozen=True)
class Setting:
    """One point: what it is called in tables and figures, and the value of each parameter that it sets."""

    name: str
    values: dict[str, Any]


def settings_of(study: Study, scale: str) -> list[Setting]:
    """Every point of a grid or list of variants, in the order of the file; one without values if nothing varies."""
    if study.variants:
        return [Setting(name, values) for name, values in study.variants.items()]
    varied = study.varied(scale)
    return [named(dict(zip(varied, point, strict=True))) for point in product(*varied.values())]


def named(values: Mapping[str, Value]) -> Setting:
    """A setting called after its values: the value alone where only one parameter varies."""
    if not values:
        return Setting("as it is", {})
    if len(values) == 1:
        return Setting(show(next(iter(values.values()))), dict(values))
    return Setting(", ".join(f"{label(key)} {show(value)}" for key, value in values.items()), dict(values))


def label(key: str) -> str:
    """A parameter as axes name it: `train.weight_decay` is weight decay."""
    return key.rpartition(".")[2].replace("_", " ")


def show(value: Value) -> str:
    """A value as tables show it."""
    return format(value, "g") if isinstance(value, float) else str(value)


def apply(params: Params, options: BaseModel, values: Mapping[str, Any]) -> tuple[Params, BaseModel]:
    """The parameters and the options of the analysis with these values.

    Raises InputError naming the keys that do not exist, may not be varied, or do not take their value.
    """
    changed = {"": copy.deepcopy(params.model_dump()), "options": options.model_dump()}
    for key, value in values.items():
        if not key.startswith(SECTIONS):
            raise InputError(f"{key}: cannot be varied in a study; expected a parameter of model, train or options")
        _assign(changed[""] if not key.startswith(OPTIONS) else changed, key, value)
    origin = f"the study varies {', '.join(values)}"
    return (
        validate_params(Params, changed[""], origin),
        validate_params(type(options), changed["options"], origin),
    )


def _assign(section: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of nested dictionaries; a key that is not there is left for validation to refuse."""
    *parents, last = key.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise InputError(f"{key}: {parent} is not a section of the parameters")
    section[last] = value

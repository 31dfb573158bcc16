"""What a study is: a YAML file in studies/, read into typed, validated objects."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from Resnet23.config import describe_errors, read_yaml, suggest
from Resnet23.errors import InputError
from Resnet23.files import printable

STUDIES_DIR = Path("studies")
ScaleName = Literal["smoke", "small", "full"]
SCALES: tuple[str, ...] = get_args(ScaleName)
Value = bool | int | float | str | None


class Part(BaseModel):
    """A part of a study's file: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Range(Part):
    """Values from `low` to `high` for a search, evenly or, with `log`, evenly by factors."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (0 if self.log else -float("inf")) < self.low < self.high:
            raise ValueError(f"expected {'0 < ' if self.log else ''}low < high, found {self.low:g} and {self.high:g}")
        return self


Choices = Annotated[list[Value], Field(min_length=1)] | Range
Varied = dict[str, Choices]  # parameter, such as train.learning_rate -> its values


class Scale(Part):
    """How large a study is run: on which preset, changed how, with which seeds.

    `vary` takes the place of the study's, `set` and `options` are laid over the study's; `cost` is said in words.
    """

    preset: str
    set: dict[str, Any] = {}
    options: dict[str, Any] = {}
    seeds: list[int] = Field(min_length=1)
    vary: Varied | None = None
    cost: str


class Study(Part):
    """A question and how it is answered.

    `vary` gives values of parameters, all combinations of which are tried, or with `search` as many as `trials` says;
    `variants` gives the settings one by one, by name. `tune` finds the best value of a parameter for each of them
    first, by validation, with a seed of its own. Parameters are those of params.yaml and `options.` of the analysis;
    `set` changes those of the preset for all settings.
    """

    name: str
    question: str = Field(min_length=1)
    analysis: str
    vary: Varied = {}
    variants: dict[str, dict[str, Any]] = {}  # a value may be a list, such as train.phases
    tune: dict[str, list[Value]] = {}
    search: Literal["grid", "random", "tpe"] = "grid"
    trials: int | None = Field(None, ge=1)
    prune: Literal["median", "hyperband"] | None = None
    set: dict[str, Any] = {}
    options: dict[str, Any] = {}
    scales: dict[ScaleName, Scale] = Field(min_length=1)
    expected: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """What no single key can tell."""
        varied = [self.vary, *(scale.vary for scale in self.scales.values() if scale.vary is not None)]
        if self.variants and any(varied):
            raise ValueError("found both vary and variants, expected one of them")
        if self.tune and self.search != "grid":
            raise ValueError(f"tune: found with search {self.search}, which chooses values itself")
        if len(self.tune) > 1:
            raise ValueError(f"tune: found {len(self.tune)} parameters, expected one")
        if (self.search == "grid") != (self.trials is None):
            raise ValueError("trials: expected the number of trials with search random or tpe, and only there")
        if self.search == "grid" and any(isinstance(choices, Range) for vary in varied for choices in vary.values()):
            raise ValueError("vary: found a range with search grid, expected a list of values")
        if self.search != "grid" and not self.vary:
            raise ValueError(f"search: found {self.search} without vary, expected something to search")
        return self

    def varied(self, scale: str) -> Varied:
        """The values that are varied at this scale."""
        chosen = self.scales[scale].vary
        return self.vary if chosen is None else chosen


def study_names() -> list[str]:
    """The studies there are, sorted."""
    return sorted(path.stem for path in STUDIES_DIR.glob("*.yaml"))


def read_study(name: str) -> Study:
    """The study of a file in studies/. Raises InputError naming the file and every wrong key at once."""
    names = study_names()
    if name not in names:
        raise InputError(f"study {name!r} does not exist in {STUDIES_DIR}/; {suggest(name, names)}")
    file = STUDIES_DIR / f"{name}.yaml"
    try:
        return Study.model_validate({"name": name, **read_yaml(file)})
    except ValidationError as error:
        raise InputError(f"{printable(file)}: {describe_errors(error, Study)}") from None

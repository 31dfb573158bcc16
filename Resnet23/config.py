"""Paths, constants, and params.yaml as typed, validated objects.

Parameters are read once, by a command's `main`, and passed down. The defaults in the classes below are neutral:
they are what a preset gets for the keys it does not name, whereas params.yaml names every key and ships a recipe.
"""

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML

from Resnet23.errors import InputError, name_some, one_line
from Resnet23.files import printable

# All paths are relative to the project, which is the current directory, wherever the package is installed.
DATA_DIR = Path("data")
RAW_DIR = DATA_DIR / "raw"
PROCESSED_DIR = DATA_DIR / "processed"
FEATURES_DIR = DATA_DIR / "features"
MODELS_DIR = Path("models")
REPORTS_DIR = Path("reports")
FIGURES_DIR = REPORTS_DIR / "figures"
EXTRAS_DIR = REPORTS_DIR / "extras"
PRESETS_DIR = Path("presets")
PARAMS_FILE = Path("params.yaml")
TWIN = "keras"  # the part of a preset that is meant for the parameters of the Keras pipeline

CHECKPOINT_FILE = MODELS_DIR / "resnet23_cifar.pth"
ENCODER_DIR = MODELS_DIR / "encoder"
EXPORT_DIR = MODELS_DIR / "export"
EXPORT_RESULTS = EXTRAS_DIR / "export.json"
EXPLAIN_RESULTS = EXTRAS_DIR / "explanations.json"
EXPLAIN_PICTURE = EXTRAS_DIR / "explanations.png"
EXPLAIN_PICTURE_DARK = EXTRAS_DIR / "explanations.dark.png"
MODEL_CARD_FILE = EXTRAS_DIR / "MODEL_CARD.md"
INSPECTION_FILE = MODELS_DIR / "inspection.npz"
HISTORY_FILE = REPORTS_DIR / "history.csv"
RUN_FILE = REPORTS_DIR / "run.json"
VAL_PREDICTIONS_FILE = REPORTS_DIR / "val_predictions.csv"
PREDICTIONS_FILE = REPORTS_DIR / "predictions.csv"
METRICS_FILE = REPORTS_DIR / "metrics.json"
PAGE_FILE = REPORTS_DIR / "index.html"

# The default task, for people who import the package rather than run the pipeline.
IMAGE_SIZE = (32, 32)
BATCH_SIZE = 64
CLASS_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
NUM_CLASSES = len(CLASS_NAMES)
# Mean and standard deviation of CIFAR-10's 50,000 training images, per RGB channel, pixels scaled to [0, 1].
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)

# How messages quote a wrong value: however long it is or deeply nested.
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 100


class Section(BaseModel):
    """A part of params.yaml: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class MaxPerClass(Section):
    """How many images of each class are kept in each split; None keeps all."""

    train: int | None = Field(500, ge=1)
    test: int | None = Field(100, ge=1)


class DataParams(Section):
    """Stage 1: which images, from where, how large."""

    dataset: Literal["cifar10", "cifar100", "digits", "digits-multilabel", "folder", "multilabel"] = "cifar10"
    source: str | None = Field(None, min_length=1)
    image_size: int = Field(32, ge=8, le=1024)
    resize: Literal["crop", "pad", "stretch"] = "crop"
    classes: list[str] | None = Field(None, min_length=2)
    max_per_class: MaxPerClass = MaxPerClass()
    take: Literal["first", "last"] = "first"
    test_fraction: float = Field(0.2, gt=0, lt=1)

    @field_validator("source")
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        """Git, DVC and the tracker keep the parameters, and show them."""
        if value is not None and has_password(value):
            raise ValueError(
                "found an address with a password, which git, DVC and the tracker would keep; "
                "fetch the file with it, and name its path"
            )
        return value

    @field_validator("max_per_class", mode="before")
    @classmethod
    def _same_for_both_splits(cls, value: Any) -> Any:
        """A plain number, or null, holds for both splits."""
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return {"train": value, "test": value}
        return value


class FeaturesParams(Section):
    """Stage 2: the validation split and what to do about bad or leaked images."""

    storage: Literal["array", "files"] = "array"
    val_fraction: float = Field(0.1, ge=0, lt=1)
    on_bad_image: Literal["stop", "skip"] = "stop"
    max_leaked: int | None = Field(None, ge=0)


class ModelParams(Section):
    """Which network, how wide, how much dropout, and what its weights are before training."""

    name: str = "resnet23"
    width: int = Field(64, ge=1, le=1024)
    dropout: float = Field(0.1, ge=0, lt=1)
    final_dropout: float = Field(0.2, ge=0, lt=1)
    pretrained: bool | str = False
    stem: Literal["published", "small"] = "published"
    reuse_classifier: bool = True
    zero_init_residual: bool = False
    average_flips: bool = False


class ColorJitterParams(Section):
    """Largest changes of brightness, contrast, saturation (factors 1 +- x) and hue (turns, at most 0.5)."""

    probability: float = Field(0.0, ge=0, le=1)
    brightness: float = Field(0.2, ge=0, le=1)
    contrast: float = Field(0.2, ge=0, le=1)
    saturation: float = Field(0.2, ge=0, le=1)
    hue: float = Field(0.1, ge=0, le=0.5)


class AffineParams(Section):
    """Largest rotation in degrees and largest shift as a fraction of the image's side."""

    probability: float = Field(0.0, ge=0, le=1)
    degrees: float = Field(15.0, ge=0, le=180)
    translate: float = Field(0.1, ge=0, le=1)


class ResizedCropParams(Section):
    """A random part of the image, at least `min_area` of it, brought back to full size."""

    probability: float = Field(0.0, ge=0, le=1)
    min_area: float = Field(0.25, gt=0, le=1)
    max_aspect: float = Field(4 / 3, ge=1, le=10)


class RandAugmentParams(Section):
    """For the policy randaugment: changes for each image, and their strength from 0 to 30."""

    operations: int = Field(2, ge=1, le=14)
    magnitude: int = Field(9, ge=0, le=30)


class AugmentParams(Section):
    """Random changes of the training images; every one is off by default."""

    flip: Literal["none", "random", "alternating"] = "none"
    crop_padding: int = Field(0, ge=0)
    crop_mode: Literal["reflect", "zero"] = "reflect"
    resized_crop: ResizedCropParams = ResizedCropParams()
    cutout: int = Field(0, ge=0)
    color_jitter: ColorJitterParams = ColorJitterParams()
    affine: AffineParams = AffineParams()
    policy: Literal["none", "randaugment", "autoaugment", "trivialaugment"] = "none"
    randaugment: RandAugmentParams = RandAugmentParams()
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)


class PhaseParams(Section):
    """A part of the training with an optimizer and a schedule of its own; None takes the value of the section."""

    epochs: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    trainable: str = Field("all", pattern=r"^(all|head|from:.+)$")
    freeze_statistics: bool = False
    rate_decay_by_depth: float = Field(1.0, gt=0, le=1)
    resolution: int | None = Field(None, ge=8, le=1024)


class ThresholdParams(Section):
    """How the probability is chosen from which on a label is given; `level` is the precision or recall wanted."""

    goal: Literal["f1", "precision", "recall"] | None = "f1"
    level: float = Field(0.9, gt=0, le=1)


class TrainParams(Section):
    """Stage 3: the recipe."""

    task: Literal["multiclass", "multilabel"] | None = None
    loss: str | None = None
    thresholds: ThresholdParams = ThresholdParams()
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(64, ge=2)
    accumulation: int = Field(1, ge=1)
    optimizer: str = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(0.0, ge=0)
    schedule: str = "constant"
    warmup_epochs: float = Field(0.0, ge=0)
    step_epochs: float = Field(10.0, gt=0)
    step_factor: float = Field(0.1, gt=0, lt=1)
    restart_epochs: float = Field(5.0, gt=0)
    phases: list[PhaseParams] = Field([PhaseParams()], min_length=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    ema_decay: float = Field(0.0, ge=0, lt=1)
    clip_norm: float = Field(0.0, ge=0)
    clip_value: float = Field(0.0, ge=0)
    patience: int = Field(0, ge=0)
    augment: AugmentParams = AugmentParams()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: Literal["auto"] | bool = "auto"
    deterministic: bool = False
    num_workers: int = Field(0, ge=0, le=256)
    pin_memory: bool = True
    checkpoint_minutes: float = Field(5.0, gt=0)
    checkpoint_steps: int | None = Field(None, ge=1)


class PredictParams(Section):
    """Stage 4: how prediction runs; it changes no result."""

    batch_size: int = Field(256, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class PlotsParams(Section):
    """Stage 5: how the figures look."""

    dpi: int = Field(120, ge=50, le=600)
    examples: int = Field(24, ge=4, le=100)


class CommonTrackingParams(Section):
    """The experiment tracker; in no stage's parameters, so that changing it reruns nothing."""

    enabled: bool = True
    experiment: str = Field("resnet23", min_length=1)
    tensorboard: bool = False
    system_metrics: bool = False


class TrackingParams(CommonTrackingParams):
    """The tracker, and what only the PyTorch pipeline measures for it."""

    gradients: bool = False


class Params(Section):
    """The whole of params.yaml."""

    seed: int = Field(0, ge=0, lt=2**32)
    data: DataParams = DataParams()
    features: FeaturesParams = FeaturesParams()
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    predict: PredictParams = PredictParams()
    plots: PlotsParams = PlotsParams()
    tracking: TrackingParams = TrackingParams()


Kind = TypeVar("Kind", bound=BaseModel)


def load_params(
    file: str | Path = PARAMS_FILE, preset: str | None = None, assignments: Sequence[str] | None = None
) -> Params:
    """Read a parameter file, lay a preset's sections over it, apply `key=value` assignments, and validate.

    Raises InputError naming the file and every wrong key at once.
    """
    return validate_params(Params, *merge_params(file, preset, assignments))


def validate_params(kind: type[Kind], merged: Mapping[str, Any], origin: str) -> Kind:
    """Values as typed parameters; raises InputError naming `origin` and every wrong key at once."""
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise InputError(f"{origin}: {describe_errors(error, kind)}") from None


def merge_params(
    file: str | Path = PARAMS_FILE,
    preset: str | None = None,
    assignments: Sequence[str] | None = None,
    part: str | None = None,
) -> tuple[dict[str, Any], str]:
    """The parameters before validation, and the names of the places they came from, for messages.

    Of the preset count the sections below the key `part`, without it all others.
    """
    merged = read_yaml(file)
    origins = [printable(file)]
    if preset is not None:
        merged.update(_read_preset(preset_file(preset), part))
        origins.append(printable(preset_file(preset)))
    for assignment in assignments or ():
        _assign(merged, assignment)
    if assignments:
        origins.append("--set")
    return merged, " + ".join(origins)


def preset_file(name: str) -> Path:
    """The file of a preset. Raises InputError listing the presets when there is none of that name."""
    names = sorted(path.stem for path in PRESETS_DIR.glob("*.yaml"))
    if name not in names:
        raise InputError(f"preset {name!r} does not exist in {PRESETS_DIR}/; {suggest(name, names)}")
    return PRESETS_DIR / f"{name}.yaml"


def read_yaml(file: str | Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping (DVC writes 1e-05, which YAML 1.1 would read as a string)."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{printable(file)}: no such file; run this in a project's folder, or name one with --params"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{printable(file)}: cannot be read ({error}); expected a UTF-8 text file") from None
    value = _parse_yaml(text, printable(file))
    if not isinstance(value, dict):
        raise InputError(
            f"{printable(file)}: found {type(value).__name__}, expected a mapping of sections such as train:"
        )
    return value


def _read_preset(file: Path, part: str | None) -> dict[str, Any]:
    """The sections of a preset that are meant for params.yaml, or those below its key `part`."""
    sections = read_yaml(file)
    if part is None:
        return {name: section for name, section in sections.items() if name != TWIN}
    below = {} if sections.get(part) is None else sections[part]
    if not isinstance(below, dict):
        raise InputError(
            f"{printable(file)}: {part}: found {type(below).__name__}, expected a mapping of sections such as train:"
        )
    return below


def suggest(name: str, known: Sequence[str]) -> str:
    """A hint for a misspelt name: the nearest known one, else all of them."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(known)}"


def has_password(address: str) -> bool:
    """Whether a text is an address with a password or a token before its host, as https://TOKEN@HOST/FILE."""
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:  # brackets that do not match
        return False


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MemoryError:
        raise
    except Exception as error:  # also what Python says of a 13th month, of 5,000 digits, of lists in lists in lists
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise InputError(f"{origin}: not valid YAML{where}: {one_line(problem.splitlines()[0])}") from None


def _assign(params: dict[str, Any], assignment: str) -> None:
    """Apply one `section.key=value`; the value is read as YAML, exactly as in params.yaml."""
    key, equals, text = assignment.partition("=")
    origin = f"--set {_short_name(assignment)}"
    if not equals or not key:
        raise InputError(f"{origin}: expected KEY=VALUE, as in train.epochs=3")
    *parents, last = key.split(".")
    section = params
    for parent in parents:
        below = section.get(parent, {})
        if not isinstance(below, dict):
            raise InputError(f"{origin}: {_short_name(parent)} is not a section of the parameters")
        section[parent] = dict(below)  # a YAML alias names the same dictionary in two places
        section = section[parent]
    section[last] = _parse_yaml(text, f"--set {_short_name(key)}")  # the value may be a secret


def describe_errors(error: ValidationError, kind: type[BaseModel]) -> str:
    """One phrase for each wrong key of a `kind`: the key, what was found, what was expected."""
    return name_some(list(dict.fromkeys(_phrases(error, kind))), separator="; ")


def _phrases(error: ValidationError, kind: type[BaseModel]) -> Iterator[str]:
    for item in error.errors():
        key = ".".join(_short_name(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            known = _known_keys(kind, item["loc"][:-1])
            yield f"{key}: unknown key" + (f", {suggest(str(item['loc'][-1]), known)}" if known else "")
        elif item["type"] == "missing":
            yield f"{key}: missing"
        elif item["type"] == "value_error":  # says itself what was found
            yield f"{key}: {message}" if key else message
        else:
            expected = message.replace("Input should be", "expected").replace(" or instance of ", " or ")
            yield f"{key}: found {shortened(item['input'])}, {expected}"


def shortened(value: object) -> str:
    """A wrong value as messages quote it: in one line, and not all of a long one."""
    try:
        return SHORT.repr(value)
    except ValueError:  # Python writes no integer of so many digits
        return f"{type(value).__name__} of more than 4,300 digits"


def _short_name(part: int | str) -> str:
    """A key as messages show it, of which it is one part; a stranger's may hold anything."""
    text = str(part)
    return one_line(text) if len(text) <= SHORT.maxstring else SHORT.repr(text)[1:-1]


def _known_keys(kind: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys of the section at `location` of the parameters; none where a value of several kinds is expected."""
    section: Any = kind
    for part in location:
        fields = getattr(section, "model_fields", None)
        # What is no section is a list or a dictionary of them, such as train.phases.
        section = fields[part].annotation if fields else next(reversed(get_args(section)), None)
    return list(getattr(section, "model_fields", ()))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one level of dotted keys, as in {"train.epochs": 20}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat

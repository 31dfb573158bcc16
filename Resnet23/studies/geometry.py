"""The analysis of stride and padding: what they make of sizes, receptive field, arithmetic and accuracy."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from torch import Tensor, nn

from Resnet23.config import Params
from Resnet23.errors import Resnet23Error
from Resnet23.figures.findings import counted
from Resnet23.figures.geometries import Geometry, plot_accuracies, plot_maps, plot_sizes
from Resnet23.figures.theme import Theme
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.measure import multiply_accumulates
from Resnet23.studies.definition import Part, Value
from Resnet23.studies.measuring import Job, train_network
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.pictures import kept_images, strongest_maps
from Resnet23.studies.plain_network import PlainNetwork, output_sizes, receptive_fields
from Resnet23.studies.settings import OPTIONS
from Resnet23.studies.statistics import Difference, compare, pooled_noise
from Resnet23.studies.wording import points

COMPARISONS = 4  # told together: from each value to the next, of stride and of padding


class Options(Part):
    """The small network: `layers` convolutions of `width` channels, all of one kernel size, stride and padding."""

    stride: int = Field(1, ge=1, le=8)
    padding: int = Field(1, ge=0)
    kernel_size: int = Field(3, ge=1, le=15)
    layers: int = Field(3, ge=1, le=8)
    width: int = Field(16, ge=1, le=1024)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """A wider padding would give outputs that see nothing of the image."""
        if self.padding >= self.kernel_size:
            raise ValueError(f"padding: found {self.padding}, expected less than the kernel size {self.kernel_size}")
        return self


def check_sizes(params: Params, options: Options) -> None:
    """Raise InputError when images of the stored size are too small for the geometry."""
    output_sizes(params.data.image_size, options.stride, options.padding, options.kernel_size, options.layers)


def measure(job: Job) -> Measurement:
    """Measure sizes, receptive fields and arithmetic of the small network, train it, and keep its feature maps.

    Raises InputError when the images are too small for the geometry, and Resnet23Error when a measured size or
    receptive field is not what the formulas say.
    """
    image_size = network_preprocessing(job.features, job.params).image_size
    torch.manual_seed(job.params.seed)
    model = PlainNetwork(len(job.features.classes), image_size, **job.options.model_dump())
    numbers = geometry_numbers(model, image_size, job.options)
    measurement = train_network(job, model)
    arrays = {} if measurement.numbers["diverged"] else _pictures(job, model)
    return replace(measurement, numbers=measurement.numbers | numbers, arrays=arrays)


def draw(results: Results) -> dict[str, Callable[[Theme], Figure]]:
    """Sizes by layer, accuracies beside their cost, and an example image on its way through each geometry."""
    geometries = [_geometry(outcome, results) for outcome in results.complete]
    if not geometries:
        return {}
    figures: dict[str, Callable[[Theme], Figure]] = {
        "sizes": partial(plot_sizes, geometries),
        "accuracy": partial(plot_accuracies, geometries),
    }
    if any(geometry.maps for geometry in geometries):
        figures["feature_maps"] = partial(plot_maps, geometries)
    return figures


def conclude(results: Results) -> list[str]:
    """What stride and padding do to the test accuracy, against the noise between seeds, and what they cost."""
    outcomes = results.complete
    if not outcomes:
        return ["No setting was trained to the end: there is nothing to compare."]
    geometries = [_geometry(outcome, results) for outcome in outcomes]
    sentences = [
        f"All {sum(len(each.sides) - 1 for each in geometries)} measured output sizes are floor((n + 2p - k) / s) + 1, "
        "and all receptive fields, measured through gradients, are those of the recursion.",
        _effect_sentence(outcomes, "stride"),
        _effect_sentence(outcomes, "padding"),
        _noise_sentence(outcomes),
        _cost_sentence(geometries),
        _coverage_sentence(geometries),
    ]
    return [sentence for sentence in sentences if sentence]


def geometry_numbers(model: PlainNetwork, image_size: int, options: Options) -> dict[str, float]:
    """What is measured of an untrained network; raises Resnet23Error where the formulas say otherwise.

    For each layer, along one side: `side` is that of the output (layer 0 is the image), `receptive_field` that of the
    recursion, and `seen` how many of its pixels lie inside the image for the unit in the middle. `coverage` is the
    share of the image's pixels that reach the classifier at all.
    """
    shape = (options.stride, options.padding, options.kernel_size, options.layers)
    probe = positive_copy(model)
    image = torch.ones(1, 3, image_size, image_size, dtype=torch.float64, requires_grad=True)
    outputs = probe.outputs(image)
    numbers: dict[str, float] = {"side_0": image_size}
    rows = zip(outputs, output_sizes(image_size, *shape), receptive_fields(*shape), strict=True)
    for layer, (output, side, field) in enumerate(rows, start=1):
        _require_equal(layer, "output side", list(output.shape[-2:]), [side, side])
        middle = side // 2
        seen = pixels_seen(output[0, 0, middle, middle], image)
        expected = field.pixels(middle, image_size)
        _require_equal(layer, "pixels seen by the middle unit", seen, [list(expected), list(expected)])
        numbers |= {f"side_{layer}": side, f"receptive_field_{layer}": field.size, f"seen_{layer}": len(expected)}
    (gradient,) = torch.autograd.grad(outputs[-1].sum(), image)
    numbers["coverage"] = float((gradient[0, 0] != 0).float().mean())
    numbers["multiply_accumulates"] = multiply_accumulates(copy.deepcopy(model), image_size)
    return numbers


def positive_copy(model: PlainNetwork) -> PlainNetwork:
    """The network with all weights 1 and BatchNorm that changes nothing: what a unit sees cannot cancel out."""
    probe = copy.deepcopy(model).cpu().double().eval()  # sums of products of ones can exceed what a float holds
    for module in probe.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # mean 0, variance 1, weight 1, bias 0
    return probe


def pixels_seen(unit: Tensor, image: Tensor) -> list[list[int]]:
    """The rows and the columns of an image (1, 3, S, S) by which the value of a unit changes."""
    (gradient,) = torch.autograd.grad(unit, image, retain_graph=True)
    seen = gradient[0, 0] != 0  # (S, S)
    return [seen.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0)]


def option_effect(
    outcomes: Sequence[Outcome], key: str, values: tuple[Value, Value], comparisons: int = 1
) -> Difference | None:
    """Test accuracy at the second value of an option minus that at the first, by seed.

    Each seed counts with its mean over the settings that both values have otherwise in common; None without such.
    """
    low, high = (_by_the_rest(outcomes, key, value) for value in values)
    if not (common := [rest for rest in low if rest in high]):
        return None
    before, after = (np.mean([side[rest] for rest in common], axis=0) for side in (low, high))
    return compare(after, before, comparisons)


def _by_the_rest(outcomes: Sequence[Outcome], key: str, value: Value) -> dict[tuple, np.ndarray]:
    """The test accuracies (seeds,) of the settings with this value, by what else they set."""
    return {
        tuple((name, other) for name, other in each.setting.values.items() if name != key): each.samples(
            "test_accuracy"
        )
        for each in outcomes
        if each.setting.values.get(key) == value
    }


def _effect_sentence(outcomes: Sequence[Outcome], name: str) -> str:
    """What one more of an option does, from each of its values to the next; nothing where it does not vary."""
    key = f"options.{name}"
    values = sorted({each.setting.values[key] for each in outcomes if key in each.setting.values})
    parts = []
    for pair in pairwise(values):
        if (effect := option_effect(outcomes, key, pair, COMPARISONS)) is None:
            continue
        verdict = "" if effect.interval is None else ", clear" if effect.is_clear else ", not clear"
        parts.append(f"from {pair[0]} to {pair[1]} {points(effect)}{verdict}")
    return f"Test accuracy by {name}, all else equal: {'; '.join(parts)}." if parts else ""


def _cost_sentence(geometries: Sequence[Geometry]) -> str:
    """The arithmetic of each stride."""
    parts = []
    for stride in sorted({each.stride for each in geometries}):
        costs = [each.multiply_accumulates / 1e6 for each in geometries if each.stride == stride]
        low, high = f"{min(costs):.2g}", f"{max(costs):.2g}"
        parts.append(f"{low if low == high else f'{low} to {high}'} with stride {stride}")
    return f"An image takes, in millions of multiply-accumulates, {', '.join(parts)}."


def _coverage_sentence(geometries: Sequence[Geometry]) -> str:
    """Where the division by the stride leaves a rest, pixels at the edge reach no output."""
    parts = [
        f"{each.coverage:.0%} with stride {each.stride} and padding {each.padding}"
        for each in geometries
        if each.coverage < 1
    ]
    return f"Not all of the image's pixels reach the classifier: {', '.join(parts)}." if parts else ""


def _noise_sentence(outcomes: Sequence[Outcome]) -> str:
    """How much the seeds alone do, and how many trainings failed."""
    noise = pooled_noise([each.samples("test_accuracy") for each in outcomes])
    if noise is None:
        text = "Each setting had a single seed, or seeds made no difference: how much is chance is not known."
    else:
        scatter = f"{100 * noise.deviation:.1f} points (standard deviation)"
        text = f"Between seeds of one setting the test accuracy scatters by {scatter}."
    diverged = sum(each.diverged for each in outcomes)
    return text + (f" {counted(diverged, 'training')} diverged and count as guessing." if diverged else "")


def _geometry(outcome: Outcome, results: Results) -> Geometry:
    """What the figures need of a setting."""
    options = results.options.model_dump() | {
        key.removeprefix(OPTIONS): value for key, value in outcome.setting.values.items() if key.startswith(OPTIONS)
    }
    measurements = list(outcome.measured.values())
    numbers, layers = measurements[0].numbers, range(1, options["layers"] + 1)
    arrays = next((each.arrays for each in measurements if each.arrays), {})
    return Geometry(
        stride=options["stride"],
        padding=options["padding"],
        sides=[int(numbers["side_0"]), *(int(numbers[f"side_{layer}"]) for layer in layers)],
        receptive_fields=[1, *(int(numbers[f"receptive_field_{layer}"]) for layer in layers)],
        coverage=numbers["coverage"],
        multiply_accumulates=numbers["multiply_accumulates"],
        accuracies=outcome.samples("test_accuracy"),
        image=arrays.get("image"),
        maps=[arrays[f"map_{layer}"] for layer in layers] if arrays else [],
    )


def _require_equal(layer: int, what: str, found: list, expected: list) -> None:
    if found != expected:
        raise Resnet23Error(f"layer {layer}: {what}: measured {found}, the formula says {expected}")


@torch.no_grad()
def _pictures(job: Job, model: PlainNetwork) -> dict[str, np.ndarray]:
    """The first test image (1, S, S, 3) uint8 and the strongest channel of each layer on it, (s, s) uint8."""
    how = network_preprocessing(job.features, job.params)
    data = network_images(job.features.test, how, np.arange(1))
    outputs = model.cpu().eval().outputs(data[0][0][None])
    maps = {f"map_{layer}": strongest_maps(output, 1)[0, 0] for layer, output in enumerate(outputs, start=1)}
    return {"image": kept_images(data)[0], **maps}

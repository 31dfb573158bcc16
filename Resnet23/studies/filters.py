"""The analysis of what a network sees: its first kernels before and after training, and feature maps of its layers."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field
from torch import nn

from Resnet23.errors import InputError
from Resnet23.figures.feature_maps import plot_activity, plot_feature_maps, plot_kernels
from Resnet23.figures.findings import counted
from Resnet23.figures.theme import Theme
from Resnet23.modeling.flips import FlipAveraging
from Resnet23.modeling.inputs import network_images, network_preprocessing
from Resnet23.modeling.train import first_kernels
from Resnet23.studies.activity import Activity, feature_maps, find_layers, measure_activity, settle_statistics
from Resnet23.studies.definition import Part
from Resnet23.studies.measuring import Job, train_network
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.pictures import kept_images, strongest_maps
from Resnet23.studies.statistics import compare, effect_size, spread

MOST_KERNELS = 128  # that are kept and drawn
COMPARED = {"kernel_angle": "the angle of the kernels", "test_accuracy": "the test accuracy"}


class Options(Part):
    """Which layers are looked at, by their names in `named_modules()`, on how many images; maps kept of each layer."""

    layers: list[str] = Field(["bn1", "stages.0", "stages.1", "stages.3"], min_length=1, max_length=6)
    images: int = Field(4, ge=1, le=6)
    maps: int = Field(9, ge=1, le=16)


def measure(job: Job) -> Measurement:
    """Train the network; measure how its first kernels moved and what its layers do before and after.

    Raises InputError for a layer that the network does not have, or one without places, and for a network in which no
    convolution sees the image's colours.
    """
    model = job.network()
    find_layers(model, job.options.layers)
    untrained, trained = copy.deepcopy(model), copy.deepcopy(model)
    for network in (untrained, trained):
        if isinstance(network, FlipAveraging):
            network.average_flips = False  # the layers are asked about every image once
    if not len(before := first_kernels(untrained)):
        raise InputError(f"model.name: found {job.params.model.name}, in which no convolution sees the image's colours")
    measurement = train_network(job, model)
    if measurement.numbers["diverged"]:
        return measurement
    trained.load_state_dict(model.state_dict())  # a copy, as hooks do not see into a model that has been compiled
    train_data, _, _ = job.images()
    size, seed = job.params.predict.batch_size, job.params.seed
    settle_statistics(untrained.to(job.device), train_data, size, job.device, seed)
    after = first_kernels(trained)
    numbers = kernel_changes(before, after) | _activity_numbers(job, untrained, trained.to(job.device))
    arrays = {"kernels_before": before[:MOST_KERNELS], "kernels_after": after[:MOST_KERNELS], **_pictures(job, trained)}
    return replace(measurement, numbers=measurement.numbers | numbers, arrays=arrays)


def draw(results: Results) -> dict[str, Callable[[Theme], Figure]]:
    """The pictures of the first training, and the activity of the layers over all seeds of the first setting."""
    outcomes = _trained(results)
    if not outcomes:
        return {}
    layers, measurements = results.options.layers, list(outcomes[0].measured.values())
    arrays = measurements[0].arrays
    maps = {name: arrays[f"maps_{name}"] for name in layers}
    captions = [results.classes[label] for label in arrays["labels"]]
    activity = {key: _table(outcomes[0], key, layers) for key in _activity_keys()}
    return {
        "kernels": partial(plot_kernels, arrays["kernels_before"], arrays["kernels_after"]),
        "feature_maps": partial(plot_feature_maps, arrays["images"], captions, maps),
        "activity": partial(plot_activity, layers, activity),
    }


def conclude(results: Results) -> list[str]:
    """How far the kernels moved, which channels are dead, how the layers tell classes apart, against the seeds."""
    outcomes = _trained(results)
    if not outcomes:
        return ["No training came to its end: there is nothing to see."]
    first, layers = outcomes[0], results.options.layers
    of_setting = f" with {first.setting.name}" if len(outcomes) > 1 else ""
    sentences = [
        f"Training{of_setting} turned the kernels of the first layer by {_shown(first, 'kernel_angle', 0)} degrees on "
        f"average (unrelated kernels: 90) and changed them by {_shown(first, 'kernel_change', 2)} of their norm "
        f"({counted(len(first.measured), 'seed')}).",
        _dead_sentence(first, layers),
        _selectivity_sentence(first, layers),
        *(_setting_sentence(outcomes, number) for number in COMPARED if len(outcomes) > 1),
    ]
    if len(first.measured) == 1:
        sentences.append("With a single seed there is no telling how much of this is chance.")
    return sentences


def kernel_changes(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """How far kernels (K, 3, h, w) moved: the change relative to their norm, and the mean angle in degrees."""
    old, new = (kernels.reshape(len(kernels), -1).astype(np.float64) for kernels in (before, after))
    norms = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
    cosines = np.clip((old * new).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny), -1, 1)
    return {
        "kernel_change": float(np.linalg.norm(new - old) / np.linalg.norm(old)),
        "kernel_angle": float(np.degrees(np.arccos(cosines)).mean()),
    }


def sample_rows(members: np.ndarray, count: int) -> np.ndarray:
    """The first image of each of `count` classes, spread over those that have any; members (N, C) is 1 or 0."""
    present = np.flatnonzero(members.any(axis=0))
    chosen = present[np.linspace(0, len(present) - 1, min(count, len(present))).round().astype(int)]
    return members[:, chosen].argmax(axis=0)


def _activity_numbers(job: Job, untrained: nn.Module, trained: nn.Module) -> dict[str, float]:
    """What each layer does on the test images, after training and before."""
    _, _, test = job.images()
    members = _members(job)
    numbers = {}
    for prefix, model in (("", trained), ("untrained_", untrained)):
        found = measure_activity(model, test, job.options.layers, job.params.predict.batch_size, job.device)
        for layer, activity in found.items():
            values = _activity_values(activity, members)
            numbers |= {f"{prefix}{name}_{layer}": value for name, value in values.items()}
    return numbers


def _activity_values(activity: Activity, members: np.ndarray) -> dict[str, float]:
    return {
        "dead": activity.dead,
        "rare": activity.rare,
        "active": activity.active,
        "selectivity": activity.selectivity(members),
    }


def _activity_keys() -> list[str]:
    return [f"{prefix}{name}" for prefix in ("", "untrained_") for name in ("dead", "rare", "active", "selectivity")]


def _pictures(job: Job, model: nn.Module) -> dict[str, np.ndarray]:
    """A few test images of different classes, (n, S, S, 3) uint8, and the strongest maps of each layer on them."""
    members = _members(job)
    rows = sample_rows(members, job.options.images)
    data = network_images(job.features.test, network_preprocessing(job.features, job.params), rows)
    maps = feature_maps(model, data, job.options.layers, job.device)
    return {
        "images": kept_images(data),
        "labels": members[rows].argmax(axis=1),
        **{f"maps_{name}": strongest_maps(found, job.options.maps) for name, found in maps.items()},
    }


def _members(job: Job) -> np.ndarray:
    """(N, C): 1 where a test image is of a class."""
    targets = job.features.test.targets
    return targets if targets.ndim == 2 else np.eye(len(job.features.classes), dtype=np.uint8)[targets]


def _trained(results: Results) -> list[Outcome]:
    """The complete settings without the trainings that diverged, of which nothing is measured."""
    kept = [
        replace(each, measured={seed: found for seed, found in each.measured.items() if not found.numbers["diverged"]})
        for each in results.complete
    ]
    return [outcome for outcome in kept if outcome.measured]


def _table(outcome: Outcome, key: str, layers: Sequence[str]) -> np.ndarray:
    """A number of every layer, (seeds, layers)."""
    return np.stack([outcome.samples(f"{key}_{layer}") for layer in layers], axis=1)


def _shown(outcome: Outcome, number: str, digits: int) -> str:
    """Mean and spread of a number, as in 0.61 ± 0.02."""
    samples = outcome.samples(number)
    deviation = spread(samples)
    return f"{samples.mean():.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _dead_sentence(outcome: Outcome, layers: Sequence[str]) -> str:
    """Where channels are dead, if anywhere."""
    shares: Mapping[str, float] = {layer: outcome.samples(f"dead_{layer}").mean() for layer in layers}
    dead = [f"{share:.1%} in {layer}" for layer, share in shares.items() if share > 0]
    if not dead:
        return f"No channel of {', '.join(layers)} is dead: each responds to some test image."
    return f"Share of dead channels, which respond to no test image, mean over seeds: {', '.join(dead)}."


def _selectivity_sentence(outcome: Outcome, layers: Sequence[str]) -> str:
    """How selective by class the last layer is, and whether training made it so."""
    last = layers[-1]
    difference = compare(outcome.samples(f"selectivity_{last}"), outcome.samples(f"untrained_selectivity_{last}"))
    after, before = (_shown(outcome, f"{prefix}selectivity_{last}", 2) for prefix in ("", "untrained_"))
    text = (
        f"In {last} the class selectivity of a channel (0 none, 1 a single class) is {after} on average, {before} "
        "before training"
    )
    if difference.interval is None:
        return text + "."
    low, high = difference.interval
    verdict = "clearly a change" if difference.is_clear else "no clear change"
    return f"{text}: {verdict} ({difference.mean:+.2f}, 95% interval {low:+.2f} to {high:+.2f})."


def _setting_sentence(outcomes: Sequence[Outcome], number: str) -> str:
    """Whether what is varied changes a number by more than the seeds do."""
    groups = [outcome.samples(number) for outcome in outcomes]
    means = ", ".join(f"{each.setting.name} {group.mean():.3g}" for each, group in zip(outcomes, groups, strict=True))
    size = effect_size(groups)
    against = "the noise between seeds is not known" if size is None else f"{size:.1f} times the noise between seeds"
    return f"Between settings {COMPARED[number]} ({means}) scatters: {against}."

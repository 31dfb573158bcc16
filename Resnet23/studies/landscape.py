"""The analysis `landscape`: the loss around the weights of a network, before and after its training.

Before and after, the same random directions are taken, each filter-normalised to the weights it is added to, and the
same images. BatchNorm takes its statistics anew from the images at every point: see `directions`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Self

import numpy as np
import torch
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from scipy import stats
from torch import nn

from Resnet23.figures.findings import counted, percent
from Resnet23.figures.landscapes import (
    LOSS,
    STAGES,
    Landscape,
    half_rise,
    loss_range,
    plot_lines,
    plot_planes,
    plot_sharpness,
    plot_surfaces,
)
from Resnet23.figures.theme import Theme
from Resnet23.modeling.losses import get_task
from Resnet23.studies.definition import Part
from Resnet23.studies.directions import draw_batches, filter_normalised, largest_curvature, measure_points
from Resnet23.studies.measuring import Job, train_network
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.settings import label, show
from Resnet23.studies.statistics import ERROR, Difference, compare, spread

FEWEST = 4  # settings from which on it is asked whether sharpness and accuracy go together


class Options(Part):
    """How far and how finely the loss is explored, and on how many images.

    Lines and planes go from minus to plus `radius` times the norm of each filter, with the centre among their points,
    and lines with half the radius as well, where sharpness is told.
    """

    radius: float = Field(1.0, gt=0)
    directions: int = Field(5, ge=1)
    line_points: int = Field(13, ge=5)
    plane_points: int = Field(13, ge=3)
    images: int = Field(128, ge=2)
    test_images: int = Field(128, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.line_points % 4 != 1:
            raise ValueError(f"line_points: expected 5, 9, 13 or another 4k + 1, found {self.line_points}")
        if self.plane_points % 2 != 1:
            raise ValueError(f"plane_points: expected an odd number, found {self.plane_points}")
        return self


def measure(job: Job) -> Measurement:
    """Explore the loss around the initial weights, train, and explore it around the trained ones.

    Numbers, with `_before` and `_after`: loss (of the training images at the centre), rise (of that loss at half the
    radius, mean over the directions) and curvature (largest eigenvalue of the Hessian). Arrays: `distances`, `sides`,
    and with the same endings lines and plane, as a Landscape has them. A training that diverged has nothing after it.
    """
    options = job.options
    probe = job.network().to(job.device)  # in full precision, whatever training wraps around the other one
    arrays = {
        "distances": np.linspace(-options.radius, options.radius, options.line_points),
        "sides": np.linspace(-options.radius, options.radius, options.plane_points),
    }
    explored = {"before": _explore(probe, job, arrays)}
    model = job.network()
    trained = train_network(job, model)
    if not trained.numbers["diverged"]:
        probe.load_state_dict(model.state_dict())
        explored["after"] = _explore(probe, job, arrays)
    numbers = dict(trained.numbers)
    for stage, (found, measured) in explored.items():
        numbers |= {f"{name}_{stage}": value for name, value in found.items()}
        arrays |= {f"{name}_{stage}": values.astype(np.float32) for name, values in measured.items()}
    return replace(trained, numbers=numbers, arrays=arrays)


def _explore(model: nn.Module, job: Job, axes: dict[str, np.ndarray]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Numbers, and lines (D, P, 4) and plane (Q, Q) of a network; the directions come from the seed of the job."""
    train_data, _, test_data = job.images()
    train, test = (
        draw_batches(data, count, job.device)
        for data, count in ((train_data, job.options.images), (test_data, job.options.test_images))
    )
    task = get_task(job.features.task)  # its own loss, whatever the training had
    generator = torch.Generator().manual_seed(job.params.seed)
    lines = np.stack([
        measure_points(model, [filter_normalised(model, generator)], axes["distances"][:, None], task, train, test)
        for _ in range(job.options.directions)
    ])  # fmt: skip
    pair = [filter_normalised(model, generator) for _ in range(2)]
    grid = np.stack(np.meshgrid(axes["sides"], axes["sides"]), axis=-1)  # (Q, Q, 2)
    plane = measure_points(model, pair, grid.reshape(-1, 2), task, train)[:, LOSS].reshape(grid.shape[:2])
    numbers = {
        "loss": float(lines[0, lines.shape[1] // 2, LOSS]),
        "rise": float(half_rise(lines)),
        "curvature": largest_curvature(model, task.loss, train),
    }
    return numbers, {"lines": lines, "plane": plane}


def draw(results: Results) -> dict[str, Callable[[Theme], Figure]]:
    """The figures landscape_1d, landscape_2d, surface and sharpness; none where no training came to its end."""
    landscapes = _landscapes(results)
    if not landscapes:
        return {}
    return {
        "landscape_1d": partial(plot_lines, landscapes, _line_finding(landscapes)),
        "landscape_2d": partial(plot_planes, landscapes, _plane_finding(landscapes)),
        "surface": partial(plot_surfaces, landscapes, _surface_finding(landscapes)),
        "sharpness": partial(plot_sharpness, landscapes, _sharpness_finding(landscapes)),
    }


def conclude(results: Results) -> list[str]:
    """What training does to the surroundings of the weights, and which setting ends in sharper ones, if any does."""
    landscapes = _landscapes(results)
    failed = sum(outcome.diverged for outcome in results.outcomes if outcome.measured)
    lost = [f"Left out because they diverged: {counted(failed, 'training')}."] if failed else []
    if not landscapes:
        return lost or ["No training came to its end, so there is no landscape to tell of."]
    sentences = [_effect_of_training(landscapes), _effect_on_curvature(landscapes)]
    if len({landscape.half for landscape in landscapes}) == 1 < len(landscapes):
        sentences += [_effect_of_setting(landscapes), *_relation(landscapes)]
    return sentences + lost


def _landscapes(results: Results) -> list[Landscape]:
    """The settings with a training that came to its end, each with those of its trainings that did."""
    found = []
    for outcome in results.outcomes:
        done = [measurement for measurement in outcome.measured.values() if "lines_after" in measurement.arrays]
        if done:
            found.append(_landscape(_name(outcome), done))
    return found


def _landscape(name: str, measured: list[Measurement]) -> Landscape:
    first = measured[0].arrays
    return Landscape(
        name,
        first["distances"],
        first["sides"],
        {stage: np.stack([each.arrays[f"lines_{stage}"] for each in measured]) for stage in STAGES},
        {stage: first[f"plane_{stage}"] for stage in STAGES},
        {stage: np.array([each.numbers[f"curvature_{stage}"] for each in measured]) for stage in STAGES},
        *(np.array([each.numbers[name] for each in measured]) for name in ("train_accuracy", "test_accuracy")),
    )


def _name(outcome: Outcome) -> str:
    """The setting's, with the parameter before a value that stands alone: batch size 32."""
    values, name = outcome.setting.values, outcome.setting.name
    alone = [label(key) for key, value in values.items() if name == show(value)]
    return f"{alone[0]} {name}" if alone else name


def _effect_of_training(landscapes: list[Landscape]) -> str:
    changes = [(each.sharpness("before"), each.sharpness("after")) for each in landscapes]
    return f"{_step(landscapes)} raises the training loss by {_change(changes)}"


def _effect_on_curvature(landscapes: list[Landscape]) -> str:
    changes = [(each.curvatures["before"], each.curvatures["after"]) for each in landscapes]
    return f"The largest eigenvalue of the Hessian is {_change(changes)}"


def _step(landscapes: list[Landscape]) -> str:
    """How far from the weights sharpness is told."""
    halves = {landscape.half for landscape in landscapes}
    return f"A random step of {halves.pop():g} filter norms" if len(halves) == 1 else "A random step by half the radius"


def _change(changes: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """A number before and after training, over all trainings, and how many settings' changes exceed the noise."""
    before, after = (np.concatenate(samples) for samples in zip(*changes, strict=True))
    # The same seed begins at the same weights in every setting that trains the same network: it counts once.
    text = f"{_mean(after)} after training and {_mean(np.unique(before))} before it"
    differences = [compare(after, before) for before, after in changes]
    if len(changes) == 1:
        return f"{text}: {_told(differences[0])}."
    if all(difference.interval is None for difference in differences):
        return f"{text}; with one training of each setting the noise between seeds is unknown."
    clear = sum(difference.is_clear for difference in differences)
    return f"{text}; in {clear} of {len(changes)} settings the change is more than seeds give."


def _effect_of_setting(landscapes: list[Landscape]) -> str:
    """The sharpest against the flattest setting, and whether these were trained equally far."""
    sharpest, flattest, difference = _extremes(landscapes)
    sentence = (
        f"After training that rise is highest with {sharpest.name}, {_mean(sharpest.sharpness('after'))}, and lowest "
        f"with {flattest.name}, {_mean(flattest.sharpness('after'))}: {_told(difference)}."
    )
    learnt = compare(sharpest.train_accuracies, flattest.train_accuracies)
    if not learnt.is_clear:
        return sentence
    return (
        f"{sentence} They were not trained equally far: training accuracy {percent(sharpest.train_accuracies.mean())} "
        f"and {percent(flattest.train_accuracies.mean())}."
    )


def _relation(landscapes: list[Landscape]) -> list[str]:
    """Whether sharper goes with better or worse on the test images, over the means of the settings."""
    sharpness = np.array([landscape.sharpness("after").mean() for landscape in landscapes])
    accuracy = np.array([landscape.test_accuracies.mean() for landscape in landscapes])
    if len(sharpness) < FEWEST or not sharpness.std() or not accuracy.std():
        return []
    found = stats.pearsonr(sharpness, accuracy)
    low, high = found.confidence_interval(1 - ERROR)
    told = f"correlation {found.statistic:.2f}, 95% interval {low:.2f} to {high:.2f}, {len(sharpness)} settings"
    if low <= 0 <= high:
        return [f"Whether sharper surroundings go with a better or a worse test accuracy is not shown ({told})."]
    return [f"Sharper surroundings go with a {'better' if low > 0 else 'worse'} test accuracy here ({told})."]


def _line_finding(landscapes: list[Landscape]) -> str:
    """The mean loss at the weights and at the end of the lines."""
    told = []
    for stage in STAGES:
        ends = [landscape.lines[stage][..., (landscape.distances.size // 2, 0, -1), LOSS] for landscape in landscapes]
        centre, *far = np.mean([values.mean(axis=(0, 1)) for values in ends], axis=0)
        told.append(f"{centre:.2f} to {np.mean(far):.2f}")
    return (
        f"From the weights to the radius the training loss goes from {told[0]} before training, from {told[1]} after it"
    )


def _plane_finding(landscapes: list[Landscape]) -> str:
    before, after = ("{:.2f} to {:.2f}".format(*loss_range(landscapes, stage)) for stage in STAGES)
    return f"In a random plane the training loss runs from {before} before training and from {after} after it"


def _surface_finding(landscapes: list[Landscape]) -> str:
    before, after = (high / low for low, high in (loss_range(landscapes, stage) for stage in STAGES))
    return f"The highest loss in the plane is {before:.2f} times the lowest before training, {after:.2f} times after it"


def _sharpness_finding(landscapes: list[Landscape]) -> str:
    if len(landscapes) == 1:
        before, after = (f"{landscapes[0].sharpness(stage).mean():.3g}" for stage in STAGES)
        return f"{_step(landscapes)} raises the training loss by {after} after training, by {before} before it"
    sharpest, flattest, difference = _extremes(landscapes)
    told = " and ".join(f"by {each.sharpness('after').mean():.3g} with {each.name}" for each in (sharpest, flattest))
    if difference.is_clear:
        return f"Sharper surroundings with {sharpest.name} than with {flattest.name}: the loss rises {told}"
    reason = "one seed tells nothing of noise" if difference.interval is None else "seeds could do that"
    return f"No setting is clearly sharper: the loss rises {told}; {reason}"


def _extremes(landscapes: list[Landscape]) -> tuple[Landscape, Landscape, Difference]:
    """The setting with the sharpest surroundings, that with the flattest, and how far they are apart."""
    ordered = sorted(landscapes, key=lambda landscape: landscape.sharpness("after").mean())
    pairs = len(ordered) * (len(ordered) - 1) // 2  # the extremes are picked from all of them
    difference = compare(ordered[-1].sharpness("after"), ordered[0].sharpness("after"), pairs)
    return ordered[-1], ordered[0], difference


def _told(difference: Difference) -> str:
    """A difference beside the noise."""
    if difference.interval is None:
        return f"a difference of {difference.mean:.3g}; with one training the noise between seeds is unknown"
    low, high = difference.interval
    verdict = "more than seeds give" if difference.is_clear else "which seeds alone could give"
    return f"a difference of {difference.mean:.3g} (95% interval {low:.3g} to {high:.3g}), {verdict}"


def _mean(samples: np.ndarray) -> str:
    """The mean of several trainings with their standard deviation."""
    deviation = spread(samples)
    return f"{samples.mean():.3g}" + ("" if deviation is None else f" (standard deviation {deviation:.2g})")

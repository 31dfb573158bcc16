"""What a network sees: measures against their formulas and torchvision's extractor, and a training from end to end."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from small_features import make_features
from small_studies import make_measurement, make_outcome, make_results, make_study
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from Resnet23.arrays import Features, read_features
from Resnet23.config import Params, load_params
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError
from Resnet23.figures.theme import draw_picture
from Resnet23.modeling.zoo import create_model
from Resnet23.studies import filters
from Resnet23.studies.activity import (
    Activity,
    class_selectivity,
    feature_maps,
    measure_activity,
    settle_statistics,
    watch_layers,
)
from Resnet23.studies.filters import kernel_changes, sample_rows
from Resnet23.studies.measuring import Job
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.pictures import kept_images, strongest_maps
from Resnet23.studies.settings import Setting

CPU = torch.device("cpu")
SIDE = 16
SET = ["data.dataset=digits", f"data.image_size={SIDE}", "data.max_per_class={train: 20, test: 6}"]
SET += ["model.name=resnet10", "model.width=4", "train.epochs=2", "train.batch_size=32", "train.learning_rate=0.05"]
SET += ["train.device=cpu", "train.precision=fp32"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Params, Features]:
    """Small digits and the parameters of a training that takes a second."""
    folder = tmp_path_factory.mktemp("filters")
    make_features(folder, SET)
    params = load_params(folder / "params.yaml", assignments=SET)
    return params, read_features(folder / "data/features", folder / "data/processed")


@pytest.fixture(scope="module")
def measurement(made) -> Measurement:
    params, features = made
    return filters.measure(Job(params, filters.Options(), features))


def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("resnet10", num_classes=3, width=4).eval()


def some_images(count: int = 12) -> FeatureDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return FeatureDataset(pixels, np.arange(count) % 3, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))


def test_the_selectivity_is_that_of_the_formula():
    members = np.repeat(np.eye(3), 2, axis=0)  # two images of each of three classes
    strength = np.array(
        [[2, 1, 0, 5], [4, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 2], [0, 1, 0, 2]], dtype=float
    )
    found = class_selectivity(strength, members)
    assert found[:2].tolist() == [1, 0]
    assert np.isnan(found[2])
    assert found[3] == pytest.approx((3 - 1.5) / (3 + 1.5))
    with_an_empty_class = np.hstack([members, np.zeros((6, 1))])
    assert class_selectivity(strength, with_an_empty_class)[3] == pytest.approx(found[3])


def test_dead_and_rarely_active_channels_are_counted():
    frequency = np.zeros((400, 4))
    frequency[0, 1], frequency[:, 2], frequency[:, 3] = 1, 0.02, 0.5
    activity = Activity(frequency, frequency)
    assert (activity.dead, activity.rare) == (0.25, 0.5)
    assert activity.active == pytest.approx((1 / 400 + 0.02 + 0.5) / 4)
    nothing = Activity(np.zeros((6, 4)), np.zeros((6, 4)))
    assert (nothing.dead, nothing.selectivity(np.repeat(np.eye(3), 2, axis=0))) == (1, 0)


def test_a_channel_that_is_always_negative_is_dead():
    model = network()
    nn.init.constant_(model.bn1.bias[1:2], -1000)
    found = measure_activity(model, some_images(), ["bn1", "stages.0"], 5, CPU)
    assert found["bn1"].dead == 0.25
    assert found["bn1"].strength.shape == (12, 4)
    assert found["stages.0"].dead == 0  # the block adds something to it


def test_the_maps_are_those_of_torchvisions_extractor():
    model, data, layers = network(), some_images(), ["conv1", "bn1", "stages.0", "stages.3"]
    found = feature_maps(model, data, layers, CPU)
    inputs = torch.stack([data[position][0] for position in range(len(data))])
    with torch.no_grad():
        expected = create_feature_extractor(model, layers)(inputs)
    assert list(found) == layers
    for name in layers:
        assert torch.allclose(found[name], expected[name].relu(), atol=1e-5), name
    activity = measure_activity(model, data, layers, 5, CPU)
    for name in layers:
        assert np.allclose(activity[name].strength, expected[name].relu().mean(dim=(2, 3)), atol=1e-5), name
        assert np.allclose(activity[name].frequency, (expected[name] > 0).float().mean(dim=(2, 3)), atol=1e-2), name


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("stage.0", r"options.layers: found 'stage.0', .* it has conv1, bn1, stages, .*stages.3"),
        ("", "options.layers: found ''"),
        ("classifier", "options.layers: found 'classifier', whose output is no grid"),
    ],
)
def test_a_layer_that_cannot_be_looked_at_is_refused_and_no_hook_is_left(layer, message):
    model = network()
    with pytest.raises(InputError, match=message), watch_layers(model, [layer], lambda name, maps: None):
        model(torch.zeros(1, 3, SIDE, SIDE))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_statistics_become_those_of_the_images():
    model, data = network(), some_images()
    settle_statistics(model, data, len(data), CPU, seed=0)
    inputs = torch.stack([data[position][0] for position in range(len(data))])
    with torch.no_grad():
        outputs = model.conv1(inputs)
    assert torch.allclose(model.bn1.running_mean, outputs.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(model.bn1.running_var, outputs.var(dim=(0, 2, 3)), rtol=1e-4)
    assert not model.training


def test_how_far_kernels_moved():
    kernels = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
    assert kernel_changes(kernels, kernels) == pytest.approx({"kernel_change": 0, "kernel_angle": 0}, abs=1e-3)
    assert kernel_changes(kernels, 3 * kernels) == pytest.approx({"kernel_change": 2, "kernel_angle": 0}, abs=1e-3)
    assert kernel_changes(kernels, -kernels) == pytest.approx({"kernel_change": 2, "kernel_angle": 180}, abs=1e-3)
    red, green = np.zeros((2, 2, 3, 1, 1))
    red[:, 0], green[:, 1] = 1, 1
    assert kernel_changes(red, green) == pytest.approx({"kernel_change": np.sqrt(2), "kernel_angle": 90})


def test_the_sample_images_are_of_different_classes():
    members = np.repeat(np.eye(10), 3, axis=0)
    assert sample_rows(members, 4).tolist() == [0, 9, 18, 27]
    members[:, 0] = 0  # none of the first class
    assert sample_rows(members, 2).tolist() == [3, 27]
    assert len(sample_rows(members, 20)) == 9


def test_the_strongest_maps_come_first_and_use_the_whole_range():
    maps = torch.zeros(2, 3, 64, 64)
    maps[0, 2], maps[1, 2] = 8.0, 4.0
    maps[0, 1], maps[1, 1] = -9.0, 1.0
    found = strongest_maps(maps, 2)
    assert (found.shape, found.dtype) == ((2, 2, 32, 32), np.uint8)
    assert found[:, :, 0, 0].tolist() == [[255, 0], [128, 255]]


def test_large_images_are_kept_small():
    pixels = np.full((2, 100, 100, 3), 77, dtype=np.uint8)
    kept = kept_images(FeatureDataset(pixels, np.zeros(2, dtype=np.int64), (0.5,) * 3, (0.3,) * 3))
    assert (kept.shape, kept.dtype, np.unique(kept).tolist()) == ((2, 64, 64, 3), np.uint8, [77])


def test_a_training_is_measured(made, measurement):
    numbers, arrays = measurement.numbers, measurement.arrays
    _, features = made
    assert 0 < numbers["kernel_change"] < 10
    assert 0 < numbers["kernel_angle"] < 90
    for layer in filters.Options().layers:
        assert 0 < numbers[f"active_{layer}"] < 1
        assert 0 < numbers[f"selectivity_{layer}"] < 1
        assert 0 < numbers[f"untrained_selectivity_{layer}"] < 1
        assert numbers[f"dead_{layer}"] <= numbers[f"rare_{layer}"]
        assert arrays[f"maps_{layer}"].max(axis=(0, 2, 3)).tolist() == [255] * arrays[f"maps_{layer}"].shape[1]
    assert arrays["kernels_before"].shape == arrays["kernels_after"].shape == (4, 3, 3, 3)
    assert len(set(arrays["labels"].tolist())) == 4
    rows = [list(features.test.targets).index(label) for label in arrays["labels"]]
    assert np.array_equal(arrays["images"], features.test.images[rows])
    plain = json.dumps(measurement.to_plain())
    assert len(plain) < 300_000
    assert Measurement.from_plain(json.loads(plain)).numbers == numbers


def test_the_measured_network_is_the_trained_one(made, measurement):
    """The kernels after training are those of a training outside of the study."""
    params, features = made
    job = Job(params, filters.Options(layers=["bn1"]), features)
    model = job.network()
    before = model.conv1.weight.detach().clone()
    filters.train_network(job, model)
    assert np.allclose(measurement.arrays["kernels_before"], before)
    assert np.allclose(measurement.arrays["kernels_after"], model.conv1.weight.detach(), atol=1e-6)


def test_a_network_that_averages_over_flips_is_asked_about_every_image_once(made, measurement):
    params, features = made
    averaging = params.model_copy(update={"model": params.model.model_copy(update={"average_flips": True})})
    found = filters.measure(Job(averaging, filters.Options(), features))
    key = "untrained_selectivity_stages.0"
    assert found.numbers[key] == pytest.approx(measurement.numbers[key])
    assert np.array_equal(found.arrays["kernels_before"], measurement.arrays["kernels_before"])


def test_an_unknown_layer_is_told_before_the_training(made, monkeypatch):
    monkeypatch.setattr(filters, "train_network", partial(pytest.fail, "trained"))
    params, features = made
    with pytest.raises(InputError, match=r"found 'stages\.9'"):
        filters.measure(Job(params, filters.Options(layers=["stages.9"]), features))


def results(*outcomes: Outcome, **study) -> Results:
    return make_results(make_study(analysis="filters", **study), outcomes)


def moved(measurement: Measurement, seed: int, by: float = 0.0) -> Measurement:
    """The measurement of another seed, whose last layer is more selective than before training by about `by`."""
    changed = {"kernel_angle": 40.0 + seed, "selectivity_stages.3": 0.2 + by + 0.01 * seed}
    changed |= {"untrained_selectivity_stages.3": 0.2 + 0.01 * (seed == 1)}
    return replace(measurement, numbers=measurement.numbers | changed)


def seeds_of(measurement: Measurement, by: float = 0.0, count: int = 3) -> dict[int, Measurement]:
    return {seed: moved(measurement, seed, by) for seed in range(count)}


def test_the_conclusion_follows_from_the_numbers(measurement):
    setting = Setting("as it is", {})
    text = " ".join(filters.conclude(results(Outcome(setting, "complete", seeds_of(measurement, by=0.3)))))
    assert "by 41 ± 1 degrees" in text
    assert "0.51 ± 0.01 on average, 0.20 ± 0.01 before training: clearly a change" in text
    text = " ".join(filters.conclude(results(Outcome(setting, "complete", seeds_of(measurement)))))
    assert "no clear change" in text
    text = " ".join(filters.conclude(results(Outcome(setting, "complete", seeds_of(measurement, count=1)))))
    assert "no telling how much of this is chance" in text
    assert "clear" not in text


def test_dead_channels_are_named(measurement):
    dead = replace(measurement, numbers=measurement.numbers | {"dead_stages.1": 0.25})
    text = " ".join(filters.conclude(results(Outcome(Setting("as it is", {}), "complete", {0: dead, 1: measurement}))))
    assert "12.5% in stages.1" in text


def test_what_is_varied_is_set_against_the_noise(measurement):
    study = {"vary": {"train.weight_decay": [0.0, 0.01]}}
    outcomes = [
        Outcome(Setting(name, {"train.weight_decay": value}), "complete", seeds_of(measurement))
        for name, value in (("0", 0.0), ("0.01", 0.01))
    ]
    text = " ".join(filters.conclude(results(*outcomes, **study)))
    assert "Between settings the angle of the kernels (0 41, 0.01 41) scatters: 0.0 times the noise" in text


def test_trainings_that_failed_are_left_out(measurement):
    failed = make_outcome("1", {"train.learning_rate": 1.0}, [0.1, 0.1], diverged=True)
    pruned = Outcome(Setting("2", {}), "pruned", {})
    nothing = results(failed, pruned)
    assert filters.draw(nothing) == {}
    assert "nothing to see" in filters.conclude(nothing)[0]
    mixed = Outcome(Setting("0.1", {}), "complete", {0: make_measurement(0.1, diverged=True), 1: measurement})
    found = results(failed, mixed)
    assert len(filters.draw(found)) == 3
    assert "1 seed)" in filters.conclude(found)[0]


@pytest.mark.parametrize("count", [1, 3])
def test_every_figure_is_drawn_in_both_themes(measurement, recwarn, count):
    found = results(Outcome(Setting("as it is", {}), "complete", seeds_of(measurement, count=count)))
    pictures = [draw_picture(name, draw, 50) for name, draw in filters.draw(found).items()]
    assert [picture.name for picture in pictures] == ["kernels", "feature_maps", "activity"]
    assert all(picture.title and picture.light != picture.dark for picture in pictures)
    assert not [str(warning.message) for warning in recwarn]

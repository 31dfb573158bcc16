"""Stride and padding: the formulas against PyTorch, receptive fields against gradients, and a training end to end."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_features import make_features
from small_studies import make_measurement, make_results, make_study
from torch import nn

from Resnet23.arrays import Features, read_features
from Resnet23.config import Params, load_params
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.figures.theme import draw_picture
from Resnet23.studies import geometry
from Resnet23.studies.geometry import Options, geometry_numbers, option_effect
from Resnet23.studies.measuring import Job
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.plain_network import PlainNetwork, output_sizes, receptive_fields
from Resnet23.studies.settings import named
from Resnet23.studies.statistics import compare
from Resnet23.studies.wording import points

VARY = {"options.stride": [1, 2, 3], "options.padding": [0, 1, 2]}
GRID = [(stride, padding) for stride in VARY["options.stride"] for padding in VARY["options.padding"]]
SET = ["data.dataset=digits", "data.image_size=32", "data.max_per_class={train: 20, test: 6}"]
SET += ["train.epochs=1", "train.batch_size=64", "train.device=cpu", "train.precision=fp32"]
TINY = {"width": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Params, Features]:
    """Small digits and the parameters of a training that takes a second."""
    folder = tmp_path_factory.mktemp("geometry")
    make_features(folder, SET)
    params = load_params(folder / "params.yaml", assignments=SET)
    return params, read_features(folder / "data/features", folder / "data/processed")


@pytest.fixture(scope="module")
def measurements(made) -> dict[tuple[int, int], Measurement]:
    """One training of each geometry."""
    params, features = made
    return {
        (stride, padding): geometry.measure(Job(params, Options(stride=stride, padding=padding, **TINY), features))
        for stride, padding in GRID
    }


def network(image_size: int = 32, **options: int) -> PlainNetwork:
    torch.manual_seed(0)
    return PlainNetwork(10, image_size, **Options(**TINY, **options).model_dump())


@pytest.mark.parametrize(("stride", "padding"), GRID)
@pytest.mark.parametrize("image_size", [32, 29])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_the_formula_gives_the_sizes_of_pytorch(image_size, stride, padding, kernel_size):
    layer = nn.Conv2d(3, 3, kernel_size, stride, padding)
    sizes = output_sizes(image_size, stride, padding, kernel_size, layers=2)
    outputs = [first := layer(torch.zeros(1, 3, image_size, image_size)), layer(first)]
    assert sizes == [output.shape[-1] for output in outputs]


def test_too_small_an_image_is_refused_with_its_layer():
    with pytest.raises(InputError, match=r"images of 8 pixels .* stride 3 and padding 0: the input of layer 2 has 2"):
        network(image_size=8, stride=3, padding=0)


def test_a_padding_as_wide_as_the_kernel_is_refused():
    with pytest.raises(ValidationError, match="padding: found 3, expected less than the kernel size 3"):
        Options(padding=3)


def test_receptive_fields_by_hand():
    sizes = {stride: [field.size for field in receptive_fields(stride, 1, 3, 3)] for stride in (1, 2, 3)}
    assert sizes == {1: [3, 5, 7], 2: [3, 7, 15], 3: [3, 9, 27]}
    last = receptive_fields(2, 1, 3, 3)[-1]
    assert (last.jump, last.start) == (8, -7)
    assert list(last.pixels(0, 32)) == list(range(8))
    assert last.pixels(2, 32) == range(9, 24)


@pytest.mark.parametrize(("stride", "padding"), GRID)
def test_the_recursion_holds_where_pixels_are_changed_one_by_one(stride, padding):
    """Not through gradients: which pixels of a row change the middle unit of the last layer of a random network?"""
    model = network(stride=stride, padding=padding).eval()
    image = torch.rand(1, 3, 32, 32)
    unit = model.outputs(image)[-1].shape[-1] // 2
    field = receptive_fields(stride, padding, 3, 3)[-1].pixels(unit, 32)
    rows = torch.stack([image[0]] * 32)
    for row in range(32):
        rows[row, :, row] = 1 - 3 * rows[row, :, row]
    with torch.no_grad():
        before = network_before_activation(model, image)[0, :, unit, unit]
        after = network_before_activation(model, rows)[:, :, unit, unit]
    changed = ((after - before).abs() > 1e-7).any(dim=1).nonzero().flatten().tolist()
    assert changed == list(field)


def network_before_activation(model: PlainNetwork, images: torch.Tensor) -> torch.Tensor:
    """Without ReLU nothing is cut off."""
    for convolution, norm, _ in model.layers:
        images = norm(convolution(images))
    return images


@pytest.mark.parametrize(("stride", "padding"), GRID)
def test_the_numbers_of_a_geometry(stride, padding):
    numbers = geometry_numbers(
        network(stride=stride, padding=padding), 32, Options(stride=stride, padding=padding, **TINY)
    )
    sides = output_sizes(32, stride, padding, 3, 3)
    assert [numbers[f"side_{layer}"] for layer in range(4)] == [32, *sides]
    by_hand = 9 * (3 * 4 * sides[0] ** 2 + 4 * 4 * sides[1] ** 2 + 4 * 4 * sides[2] ** 2) + 4 * 10
    assert numbers["multiply_accumulates"] == by_hand
    assert numbers["seen_3"] <= numbers["receptive_field_3"]
    expected = {(2, 0): 31 / 32, (3, 0): 27 / 32}.get((stride, padding), 1)
    assert numbers["coverage"] == pytest.approx(expected**2)


def test_an_output_of_another_size_than_the_formula_says_is_an_error():
    with pytest.raises(Resnet23Error, match=r"layer 1: output side: measured \[30, 30\], the formula says \[32, 32\]"):
        geometry_numbers(network(padding=0), 32, Options(padding=1, **TINY))


def test_a_field_of_another_size_than_the_recursion_says_is_an_error():
    model = network()
    model.layers[1][0].dilation = (2, 2)
    model.layers[1][0].padding = (2, 2)  # the size stays
    with pytest.raises(Resnet23Error, match="layer 2: pixels seen by the middle unit"):
        geometry_numbers(model, 32, Options(**TINY))


def test_the_geometry_changes_no_number_of_weights_and_measuring_no_weight():
    counts = {sum(each.numel() for each in network(stride=s, padding=p).parameters()) for s, p in GRID}
    assert len(counts) == 1
    model = network()
    before = [parameter.clone() for parameter in model.parameters()]
    geometry_numbers(model, 32, Options(**TINY))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_a_training_is_measured(made, measurements):
    _, features = made
    for (stride, padding), measurement in measurements.items():
        sides = output_sizes(32, stride, padding, 3, 3)
        shown = [min(side, 32) for side in sides]  # larger maps are kept at 32
        assert [measurement.arrays[f"map_{layer}"].shape[0] for layer in (1, 2, 3)] == shown
        assert np.array_equal(measurement.arrays["image"], features.test.images[0])
        assert 0 <= measurement.numbers["test_accuracy"] <= 1
        plain = json.loads(json.dumps(measurement.to_plain()))
        assert Measurement.from_plain(plain).numbers == measurement.numbers


def test_too_small_an_image_is_told_before_the_training(made):
    params, features = made
    with pytest.raises(InputError, match="too small"):
        geometry.measure(Job(params, Options(stride=3, padding=0, layers=5), features))


def outcome(stride: int, padding: int, measured: dict[int, Measurement], **more: float) -> Outcome:
    values = {"options.stride": stride, "options.padding": padding, **more}
    return Outcome(named(values), "complete", measured)


def with_accuracies(measurement: Measurement, accuracies: list[float]) -> dict[int, Measurement]:
    return {
        seed: replace(measurement, numbers=measurement.numbers | {"test_accuracy": accuracy})
        for seed, accuracy in enumerate(accuracies)
    }


def results(outcomes: list[Outcome], **study) -> Results:
    return make_results(make_study(analysis="geometry", **study), outcomes)


def grid_results(measurements: dict[tuple[int, int], Measurement], seeds: int = 3) -> Results:
    """Each stride costs ten points, the padding makes no difference beyond the seeds."""
    outcomes = [
        outcome(*place, with_accuracies(measurements[place], [0.7 - 0.1 * place[0] + 0.01 * n for n in range(seeds)]))
        for place in GRID
    ]
    return results(outcomes, vary=VARY)


def test_the_effect_of_an_option_is_over_what_both_values_have_in_common(measurements):
    outcomes = [
        outcome(1, 0, with_accuracies(measurements[1, 0], [0.5, 0.7])),
        outcome(1, 1, with_accuracies(measurements[1, 1], [0.6, 0.8])),
        outcome(2, 0, with_accuracies(measurements[2, 0], [0.4, 0.5])),
    ]
    effect = option_effect(outcomes, "options.stride", (1, 2))
    assert effect.mean == pytest.approx(0.45 - 0.6)  # without the padding that only stride 1 was tried with
    assert option_effect(outcomes[1:], "options.stride", (1, 2)) is None


def test_the_conclusion_tells_effects_from_noise(measurements):
    text = " ".join(geometry.conclude(grid_results(measurements)))
    assert "All 27 measured output sizes" in text
    seeds = np.array([0.49, 0.5, 0.51])
    stride, padding = (points(compare(seeds - change, seeds, comparisons=4)) for change in (0.1, 0.0))
    assert f"by stride, all else equal: from 1 to 2 {stride}, clear" in text
    assert f"by padding, all else equal: from 0 to 1 {padding}, not clear" in text
    assert "scatters by 1.0 points" in text
    assert "71% with stride 3 and padding 0" in text


def test_a_single_seed_tells_nothing_of_the_noise(measurements):
    text = " ".join(geometry.conclude(grid_results(measurements, seeds=1)))
    assert "single seed" in text
    assert "clear" not in text


def test_failed_trainings_are_counted_and_drawn_without_maps(measurements):
    lost = replace(measurements[3, 0], numbers=measurements[3, 0].numbers | {"diverged": 1}, arrays={})
    pruned = Outcome(named({"options.stride": 4}), "pruned", {0: make_measurement(0.1)})
    found = results([outcome(3, 0, {0: lost, 1: lost}), pruned], vary=VARY)
    assert "2 trainings diverged" in " ".join(geometry.conclude(found))
    assert list(geometry.draw(found)) == ["sizes", "accuracy"]
    nothing = results([pruned], vary=VARY)
    assert geometry.draw(nothing) == {}
    assert "nothing to compare" in geometry.conclude(nothing)[0]


def test_other_parameters_can_be_varied_too(measurements):
    outcomes = [
        outcome(1, 1, with_accuracies(measurements[1, 1], [0.5, rate]), **{"train.learning_rate": rate})
        for rate in (0.1, 0.2)
    ]
    found = results(outcomes, vary={"train.learning_rate": [0.1, 0.2]})
    assert all(draw_picture(name, draw, 50) for name, draw in geometry.draw(found).items())
    assert "stride, all else equal" not in " ".join(geometry.conclude(found))


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_figure_is_drawn_in_both_themes(measurements, recwarn, seeds):
    pictures = [draw_picture(name, draw, 50) for name, draw in geometry.draw(grid_results(measurements, seeds)).items()]
    assert [picture.name for picture in pictures] == ["sizes", "accuracy", "feature_maps"]
    assert all(picture.title and picture.light != picture.dark for picture in pictures)
    assert not [str(warning.message) for warning in recwarn]

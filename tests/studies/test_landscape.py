"""The analysis `landscape`: two trainings explored end to end, and conclusions from landscapes that are made up."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from small_features import make_features
from small_studies import make_measurement, make_results, make_study

from Resnet23.arrays import Features, read_features
from Resnet23.config import Params, load_params
from Resnet23.errors import Diverged
from Resnet23.figures.landscapes import Landscape, half_rise, loss_range, rises
from Resnet23.figures.theme import draw_picture
from Resnet23.studies import landscape, measuring
from Resnet23.studies.landscape import Options
from Resnet23.studies.measuring import Job, train_network
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.settings import named

SET = ["data.dataset=digits", "data.image_size=16", "data.max_per_class={train: 20, test: 6}", "model.name=resnet10"]
SET += ["model.width=4", "train.epochs=1", "train.batch_size=32", "train.device=cpu", "train.precision=fp32"]
SET += ["train.optimizer=sgd", "train.learning_rate=0.1"]  # which learns something in so few steps
TINY = Options(directions=2, line_points=5, plane_points=3, images=24, test_images=12)
FIGURES = ["landscape_1d", "landscape_2d", "surface", "sharpness"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Params, Features]:
    """Small digits and the parameters of a training that takes a second."""
    folder = tmp_path_factory.mktemp("landscape")
    make_features(folder, SET)
    params = load_params(folder / "params.yaml", assignments=SET)
    return params, read_features(folder / "data/features", folder / "data/processed")


@pytest.fixture(scope="module")
def measured(made) -> Measurement:
    """One training and the landscapes before and after it."""
    return landscape.measure(Job(made[0], TINY, made[1]))


def made_up(steepness: float, accuracy: float, curvature: float = 5.0) -> Measurement:
    """A flat landscape before training, and afterwards a bowl that is `steepness` high at the radius."""
    basic = make_measurement(accuracy)
    distances, sides = np.linspace(-1, 1, 5), np.linspace(-1, 1, 3)
    bowl = 0.5 + steepness * distances**2
    after = np.stack([bowl, 0.9 - 0.5 * distances**2, bowl + 0.1, 0.8 - 0.5 * distances**2], axis=-1)
    before = np.tile([2.3, 0.1, 2.3, 0.1], (5, 1))
    arrays = {"distances": distances, "sides": sides}
    arrays |= {f"lines_{stage}": np.stack([line] * 2) for stage, line in (("before", before), ("after", after))}
    arrays |= {"plane_before": np.full((3, 3), 2.3), "plane_after": 0.5 + steepness * np.add.outer(sides**2, sides**2)}
    numbers = {"rise_after": steepness / 4, "curvature_before": 1.0, "curvature_after": curvature}
    return replace(basic, numbers=basic.numbers | numbers, arrays=arrays)


def study_of(*settings: tuple[int, list[Measurement]]) -> Results:
    """The results of a study that varied the size of the batches."""
    study = make_study(analysis="landscape", vary={"train.batch_size": [size for size, _ in settings]})
    outcomes = [
        Outcome(named({"train.batch_size": size}), "complete", dict(enumerate(measured))) for size, measured in settings
    ]
    return make_results(study, outcomes)


SIZES = (32, 64, 128, 256)
SHARPER_IS_WORSE = study_of(
    (32, [made_up(1.0, 0.60), made_up(1.1, 0.59), made_up(0.9, 0.61)]),
    (256, [made_up(3.0, 0.50), made_up(3.1, 0.49), made_up(2.9, 0.51)]),
)


def test_a_training_is_explored_before_and_after(measured):
    arrays = measured.arrays
    assert arrays["lines_before"].shape == arrays["lines_after"].shape == (2, 5, 4)
    assert arrays["plane_before"].shape == arrays["plane_after"].shape == (3, 3)
    np.testing.assert_allclose(arrays["distances"], [-1, -0.5, 0, 0.5, 1])
    for stage in ("before", "after"):
        lines, plane = arrays[f"lines_{stage}"], arrays[f"plane_{stage}"]
        assert np.isfinite(lines).all()
        centres = [*lines[:, 2, 0], plane[1, 1], measured.numbers[f"loss_{stage}"]]
        np.testing.assert_allclose(centres, centres[0], rtol=1e-5)  # one point of all lines and the plane
        assert measured.numbers[f"rise_{stage}"] == pytest.approx(half_rise(lines), rel=1e-4, abs=1e-6)
        assert measured.numbers[f"curvature_{stage}"] > 0
    assert measured.numbers["loss_after"] < measured.numbers["loss_before"]
    assert not np.allclose(arrays["lines_before"][0], arrays["lines_before"][1])
    assert len(measured.to_plain()["arrays"]) < 300_000


def test_exploring_changes_nothing_about_the_training(made, measured):
    job = Job(made[0], TINY, made[1])
    alone = train_network(job, job.network())
    assert alone.curves == measured.curves
    assert {key: measured.numbers[key] for key in ("test_accuracy", "test_loss")} == {
        key: alone.numbers[key] for key in ("test_accuracy", "test_loss")
    }


def test_the_directions_come_from_the_seed(made, measured):
    params, features = made
    small = TINY.model_copy(update={"directions": 1, "line_points": 5})
    again = landscape.measure(Job(params, small, features))
    np.testing.assert_array_equal(again.arrays["lines_before"][0], measured.arrays["lines_before"][0])
    other = landscape.measure(Job(params.model_copy(update={"seed": 5}), small, features))
    assert not np.allclose(other.arrays["lines_before"][0], measured.arrays["lines_before"][0])


def test_a_training_that_diverges_has_a_landscape_before_it_only(made, monkeypatch):
    def diverge(*_):
        raise Diverged("no finite number")

    monkeypatch.setattr(measuring, "fit", diverge)
    found = landscape.measure(Job(made[0], TINY, made[1]))
    assert found.numbers["diverged"] == 1
    assert "lines_before" in found.arrays
    assert "lines_after" not in found.arrays
    results = study_of((32, [found]), (256, [made_up(1.0, 0.6)]))
    assert list(landscape.draw(results)) == FIGURES
    assert "1 training" in landscape.conclude(results)[-1]
    nothing = study_of((32, [found]), (256, []))
    assert landscape.draw(nothing) == {}
    assert landscape.conclude(nothing) == ["Left out because they diverged: 1 training."]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"line_points": 11}, "line_points: expected 5, 9, 13"),
        ({"plane_points": 10}, "plane_points: expected an odd number, found 10"),
        ({"radius": 0.0}, "radius"),
        ({"images": 1}, "images"),
        ({"points": 3}, "points"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(wrong)


def test_the_rise_is_the_mean_of_both_sides_above_the_centre():
    lines = np.zeros((1, 5, 4))
    lines[0, :, 0] = [5, 2, 1, 4, 3]
    np.testing.assert_allclose(rises(lines), [[0, 2, 3]])
    assert half_rise(lines) == 2


def test_a_clear_difference_between_settings_is_told_with_its_noise():
    told = landscape.conclude(SHARPER_IS_WORSE)
    assert len(told) == 3  # and none on the relation to accuracy, of which two settings are two points
    assert "raises the training loss by 0.5" in told[0]  # a quarter of the mean steepness, 2
    assert "in 2 of 2 settings" in told[0]
    assert "highest with batch size 256, 0.75 (standard deviation 0.025)" in told[2]
    assert "lowest with batch size 32, 0.25" in told[2]
    assert "more than seeds give" in told[2]
    assert "They were not trained equally far: training accuracy 60.0% and 70.0%." in told[2]


def test_sharpness_and_accuracy_are_related_over_settings_and_not_over_seeds():
    falling = [(size, [made_up(size / 100, 0.7 - size / 1000 + seed / 100) for seed in range(3)]) for size in SIZES]
    assert "worse test accuracy here (correlation -1.00" in landscape.conclude(study_of(*falling))[3]
    random = [(size, [made_up(steep, 0.5 + size / 1000)] * 2) for size, steep in zip(SIZES, (2, 1, 4, 3), strict=True)]
    assert "is not shown" in landscape.conclude(study_of(*random))[3]


def test_no_setting_wins_by_what_seeds_could_give():
    alike = [made_up(steepness, accuracy) for steepness, accuracy in ((1.0, 0.6), (2.0, 0.5), (3.0, 0.6))]
    results = study_of((32, alike), (256, alike[::-1]))
    told = landscape.conclude(results)
    assert "which seeds alone could give" in told[2]
    sharpness = landscape.draw(results)["sharpness"]
    assert draw_picture("sharpness", sharpness, 50).title.startswith("No setting is clearly sharper")


def test_one_seed_tells_nothing_of_noise():
    results = study_of((32, [made_up(1.0, 0.6)]), (256, [made_up(2.0, 0.6)]))
    told = landscape.conclude(results)
    assert len(told) == 3  # and none about the relation of two points
    assert all("noise between seeds is unknown" in sentence for sentence in told)


def test_settings_explored_to_different_radii_are_not_compared():
    near, far = made_up(1.0, 0.6), made_up(2.0, 0.5)
    far.arrays["distances"] *= 2
    assert len(landscape.conclude(study_of((32, [near] * 2), (256, [far] * 2)))) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_the_figures_say_what_was_measured_in_both_themes(count):
    results = replace(SHARPER_IS_WORSE, outcomes=SHARPER_IS_WORSE.outcomes[:count])
    pictures = {name: draw_picture(name, draw, 50) for name, draw in landscape.draw(results).items()}
    assert list(pictures) == FIGURES
    for picture in pictures.values():
        assert picture.light[1:4] == picture.dark[1:4] == b"PNG"
        assert picture.light != picture.dark
    highest = 2.5 if count == 1 else 6.5  # 0.5 and twice the steepness in the corners of the first seed's plane
    assert f"from 0.50 to {highest:.2f} after it" in pictures["landscape_2d"].title
    if count == 2:
        assert pictures["sharpness"].title.startswith(
            "Sharper surroundings with batch size 256 than with batch size 32"
        )


def test_losses_that_are_no_number_stay_out_of_the_picture():
    steep = copy.deepcopy(made_up(1.0, 0.6))
    steep.arrays["plane_after"][0, 0] = np.nan
    steep.arrays["lines_after"][0, 0] = np.nan
    results = study_of((32, [steep, made_up(1.0, 0.6)]))
    for name, draw in landscape.draw(results).items():
        draw_picture(name, draw, 50)
    shape = Landscape("", *[np.zeros(1)] * 2, {}, {"after": steep.arrays["plane_after"]}, {}, *[np.zeros(1)] * 2)
    assert loss_range([shape], "after") == pytest.approx((0.5, 2.5), rel=1e-5)

"""Studies in files: what is refused, and what the settings are."""

from pathlib import Path

import pytest
from small_studies import make_study

from Resnet23.config import Params
from Resnet23.errors import InputError
from Resnet23.studies.analyses import ANALYSES, find_analysis
from Resnet23.studies.definition import SCALES, Part, read_study, study_names
from Resnet23.studies.runner import check_study
from Resnet23.studies.settings import apply, settings_of
from Resnet23.studies.workplace import read_scale, scale_params

NAMES = [path.stem for path in sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))]


@pytest.fixture(autouse=True)
def _in_the_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_study_fits_its_presets(name, scale):
    study = read_scale(name, scale)
    check_study(study, scale, scale_params(study, scale))
    assert study.question.endswith("?")


def test_the_eight_studies_are_there():
    eight = "learning-rate sensitivity augmentation-ablation loss-landscape filters stride-padding optimizers schedules"
    assert set(eight.split()) <= set(study_names())
    assert {read_study(name).analysis for name in NAMES} == set(ANALYSES)


def test_the_small_scale_has_seeds_enough_for_a_spread():
    assert all(len(read_study(name).scales["small"].seeds) >= 3 for name in NAMES)


@pytest.mark.fault(12)
def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError, match="did you mean learning-rate"):
        read_study("learning-rat")
    with pytest.raises(InputError, match="did you mean sweep"):
        find_analysis("sweeep")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"vary": {"train.epochs": [1]}, "variants": {"a": {}}}, "both vary and variants"),
        ({"search": "tpe", "vary": {"train.epochs": [1, 2]}}, "expected the number of trials"),
        ({"trials": 5, "vary": {"train.epochs": [1, 2]}}, "expected the number of trials"),
        ({"search": "random", "trials": 3}, "without vary"),
        ({"vary": {"train.learning_rate": {"low": 0.1, "high": 1.0}}}, "range with search grid"),
        ({"tune": {"train.epochs": [1], "train.momentum": [0.9]}}, "expected one"),
        ({"qestion": "?"}, "qestion"),
    ],
)
@pytest.mark.fault(12)
def test_contradictions_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        make_study(**content)


@pytest.mark.fault(12)
def test_every_mistake_in_a_file_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("studies").mkdir()
    Path("studies/mine.yaml").write_text("analysis: 3\nscales: {}\ncolour: red\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_study("mine")
    line = str(caught.value)
    assert line.startswith("studies/mine.yaml: ")
    assert all(word in line for word in ("question", "analysis", "scales", "colour", "expected"))


def test_a_grid_is_every_combination_and_variants_keep_their_names():
    study = make_study(vary={"train.batch_size": [32, 64], "train.weight_decay": [0.0, 5e-4]})
    settings = settings_of(study, "smoke")
    assert [setting.name for setting in settings][:2] == [
        "batch size 32, weight decay 0",
        "batch size 32, weight decay 0.0005",
    ]
    assert len({tuple(setting.values.values()) for setting in settings}) == 4
    named = settings_of(make_study(variants={"plain": {}, "long": {"train.epochs": 9}}), "smoke")
    assert [(each.name, each.values) for each in named] == [("plain", {}), ("long", {"train.epochs": 9})]
    assert [each.values for each in settings_of(make_study(), "smoke")] == [{}]


class Options(Part):
    """Options of an analysis."""

    stride: int = 1


def test_values_reach_parameters_and_options():
    params, options = apply(Params(), Options(), {"train.augment.flip": "random", "options.stride": 3})
    assert params.train.augment.flip == "random"
    assert options.stride == 3
    assert Params().train.augment.flip == "none"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epoch", 3, "train.epoch"),
        ("train.epochs", "three", "train.epochs: found 'three'"),
        ("data.image_size", 16, "data.image_size: cannot be varied"),
        ("options.strides", 1, "strides"),
        ("train.epochs.x", 1, "epochs is not a section"),
    ],
)
@pytest.mark.fault(12)
def test_values_that_do_not_fit_are_refused(key, value, message):
    with pytest.raises(InputError, match=message):
        apply(Params(), Options(), {key: value})


@pytest.mark.fault(12)
def test_a_setting_that_cannot_be_trained_is_found_before_any_is(repository):
    study = make_study(vary={"train.optimizer": ["sgd", "sdg"]})
    with pytest.raises(InputError, match="did you mean sgd"):
        check_study(study, "smoke", Params())

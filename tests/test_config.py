"""params.yaml: what is accepted, and how a wrong one is refused."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from package_imports import ROOT

from Resnet23 import config
from Resnet23.config import Params, flatten, load_params, read_yaml
from Resnet23.errors import InputError


def keys_of(section: type[config.Section], prefix: str = "") -> set[str]:
    """All dotted keys that a section of the parameters has."""
    keys = set()
    for name, field in section.model_fields.items():
        inner = field.annotation
        is_section = isinstance(inner, type) and issubclass(inner, config.Section)
        keys |= keys_of(inner, f"{prefix}{name}.") if is_section else {f"{prefix}{name}"}
    return keys


@pytest.fixture
def params_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


def refusal(text: str, file: Path, assignments: list[str] | None = None) -> str:
    """The message with which the parameters are refused."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_params(file, assignments=assignments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_shipped_parameters_name_and_explain_every_key(repository):
    shipped = read_yaml(repository / "params.yaml")
    assert set(flatten(shipped)) == keys_of(Params)
    load_params(repository / "params.yaml")


def test_the_constants_people_import_agree_with_the_shipped_parameters(repository):
    params = load_params(repository / "params.yaml")
    assert (params.data.image_size, params.data.image_size) == config.IMAGE_SIZE
    assert params.train.batch_size == config.BATCH_SIZE
    assert len(config.CLASS_NAMES) == config.NUM_CLASSES == 10
    assert params.data.dataset == "cifar10"
    assert Path("data") == config.DATA_DIR


@pytest.mark.parametrize("file", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_preset_is_valid_and_says_its_command_cost_and_result(file, repository, monkeypatch):
    monkeypatch.chdir(repository)
    load_params(preset=file.stem)
    header = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for word in ("Command:", "Cost:", "Expected:"):
        assert any(word in line for line in header), f"{file.name}: its header has no line {word}"
    assert not re.search(r"\b(COST|EXPECTED)\b", "\n".join(header)), f"{file.name}: its header has a placeholder"


@pytest.mark.fault(12)
def test_all_errors_are_reported_at_once_with_the_nearest_key(params_file):
    message = refusal("train: {lerning_rate: 0.1, epochs: two}\nmodle: {}\n", params_file)
    assert "did you mean learning_rate?" in message
    assert "did you mean model?" in message
    assert "train.epochs: found 'two'" in message
    assert message.startswith(str(params_file))


@pytest.mark.parametrize(
    "text",
    [
        "train: {epochs: true}",
        "train: {epochs: 0}",
        "train: {epochs: 2.5}",
        "train: {learning_rate: .nan}",
        "train: {learning_rate: .inf}",
        "train: {learning_rate: '0.1'}",
        "seed: -1",
        "data: {dataset: cifar11}",
        "data: {max_per_class: 0}",
        "data: {max_per_class: true}",
        "data: {resize: [crop]}",
        "features: {val_fraction: 1}",
        "model: null",
        "- a list",
        "train: {epochs: 1",
        "train: 1\ntrain: 2",
    ],
)
@pytest.mark.fault(12)
def test_wrong_types_ranges_and_syntax_are_refused(text, params_file):
    assert str(params_file) in refusal(text, params_file)


@pytest.mark.parametrize(
    ("written", "expected"), [("7", (7, 7)), ("null", (None, None)), ("{train: 3, test: 2}", (3, 2))]
)
def test_max_per_class_takes_one_number_for_both_splits(written, expected, params_file):
    params_file.write_text(f"data: {{max_per_class: {written}}}\n")
    kept = load_params(params_file).data.max_per_class
    assert (kept.train, kept.test) == expected


@settings(deadline=None, max_examples=30)
@given(st.floats(min_value=1e-12, max_value=1e3))
def test_numbers_are_read_however_they_are_written(number):
    for text in (repr(number), f"{number:e}"):
        params = load_params(ROOT / "params.yaml", assignments=[f"train.learning_rate={text}"])
        assert params.train.learning_rate == pytest.approx(number, rel=1e-6)


def test_a_preset_replaces_whole_sections_and_keeps_the_others(params_file):
    params_file.write_text("seed: 5\nmodel: {width: 8, dropout: 0.5}\ntrain: {epochs: 9}\n")
    Path("presets").mkdir()
    Path("presets/small.yaml").write_text("model: {width: 2}\n")
    params = load_params(params_file, preset="small")
    assert params.model == config.ModelParams(width=2)  # dropout is the neutral default, not 0.5
    assert (params.seed, params.train.epochs) == (5, 9)
    with pytest.raises(InputError, match="did you mean small"):
        load_params(params_file, preset="smal")


def test_a_preset_has_a_part_for_the_keras_pipeline(params_file):
    params_file.write_text("seed: 5\n")
    Path("presets").mkdir()
    Path("presets/both.yaml").write_text("model: {width: 2}\nkeras: {model: {width: 3}}\n")
    assert config.merge_params(params_file, "both")[0] == {"seed": 5, "model": {"width": 2}}
    assert config.merge_params(params_file, "both", part="keras")[0] == {"seed": 5, "model": {"width": 3}}
    assert config.merge_params(params_file, "both", part="other")[0] == {"seed": 5}
    Path("presets/both.yaml").write_text("keras: 0\n")
    with pytest.raises(InputError, match=r"both\.yaml: keras: found int, expected a mapping of sections"):
        config.merge_params(params_file, "both", part="keras")


def test_the_neutral_defaults_are_pinned():
    """A recipe in presets/ relies on them for the keys that it does not name."""
    assert config.TrainParams().model_dump(exclude={"augment"}) == {
        "task": None,
        "loss": None,
        "thresholds": {"goal": "f1", "level": 0.9},
        "epochs": 20,
        "batch_size": 64,
        "accumulation": 1,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "step_epochs": 10.0,
        "step_factor": 0.1,
        "restart_epochs": 5.0,
        "phases": [
            {
                "epochs": None,
                "learning_rate": None,
                "trainable": "all",
                "freeze_statistics": False,
                "rate_decay_by_depth": 1.0,
                "resolution": None,
            }
        ],
        "label_smoothing": 0.0,
        "ema_decay": 0.0,
        "clip_norm": 0.0,
        "clip_value": 0.0,
        "patience": 0,
        "device": "auto",
        "precision": "auto",
        "channels_last": True,
        "compile": "auto",
        "deterministic": False,
        "num_workers": 0,
        "pin_memory": True,
        "checkpoint_minutes": 5.0,
        "checkpoint_steps": None,
    }
    model = {"name": "resnet23", "width": 64, "dropout": 0.1, "final_dropout": 0.2}
    weights = {"pretrained": False, "stem": "published", "reuse_classifier": True}
    extras = {"zero_init_residual": False, "average_flips": False}
    assert config.ModelParams().model_dump() == model | weights | extras
    augment = config.AugmentParams()
    assert augment.flip == augment.policy == "none"
    assert augment.crop_padding == augment.cutout == augment.mixup == augment.cutmix == 0
    assert {part.probability for part in (augment.color_jitter, augment.affine, augment.resized_crop)} == {0}


@pytest.mark.fault(12)
def test_later_assignments_win_and_wrong_ones_are_refused(params_file):
    params_file.write_text("seed: 0\ntrain: {epochs: 1}\n")
    assert load_params(params_file, assignments=["train.epochs=3", "train.epochs=4"]).train.epochs == 4
    wrong_ones = {"train.epochs": "KEY=VALUE", "seed.x=1": "not a section", "train.epoch=1": "did you mean epochs"}
    for wrong, phrase in wrong_ones.items():
        with pytest.raises(InputError, match=phrase):
            load_params(params_file, assignments=[wrong])


@pytest.mark.fault(12)
def test_a_missing_or_unreadable_file_is_named(params_file):
    with pytest.raises(InputError, match=r"params\.yaml: no such file"):
        load_params(params_file)
    params_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load_params(params_file)

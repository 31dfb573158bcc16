"""The model card: what it says of made-up runs whose figures are known, and that Hugging Face's library reads it."""

import json
import re
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_multilabel_results import write_multilabel_results
from fake_results import write_results
from loguru import logger
from small_checkpoint import small_checkpoint
from typer.testing import CliRunner

from Resnet23 import model_card
from Resnet23.arrays import read_features
from Resnet23.command import explain
from Resnet23.config import (
    CHECKPOINT_FILE,
    EXPLAIN_RESULTS,
    EXPORT_RESULTS,
    METRICS_FILE,
    MODEL_CARD_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
)
from Resnet23.errors import InputError
from Resnet23.files import sha256_file
from Resnet23.model_cards.carbon import (
    CORE_WATTS,
    INTENSITY,
    PRICE,
    PUE,
    Range,
    assume_watts,
    estimate,
    parse_range,
)
from Resnet23.model_cards.card import between, plain
from Resnet23.model_cards.findings import label_confusions, limits
from Resnet23.model_cards.intervals import draw_counts, drawn, share
from Resnet23.model_cards.licenses import weights_license
from Resnet23.model_cards.measured import measure_classes
from Resnet23.modeling.checkpoint import Decision, load_checkpoint, save_checkpoint
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.multilabel_metrics import multilabel_metrics
from Resnet23.modeling.superclass_metrics import superclass_metrics
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.page.calibration import describe_calibration
from Resnet23.places import last_part
from Resnet23.predictions import write_predictions
from Resnet23.results import READ_PREDICTIONS, read_results

CLASSES = ["cat", "a_dog*", "<b>bee|", "蜜蜂"]
LABELS = ["cat", "a_dog*", "<b>bee", "蜜蜂"]  # no label holds a |
FAMILIES = {"cat": "mammals", "a_dog*": "mammals", "<b>bee|": "insects", "蜜蜂": "insects"}
PARAMS = {
    "seed": 7,
    "data": {"source": "https://user:word@example.org/folder/flowers.zip?token=hidden", "max_per_class": {"train": 9}},
    "train": {"epochs": 3, "device": "cpu"},
}


def write_run(folder: Path, is_multilabel: bool = False, **options) -> None:
    """A finished, untracked run with a real checkpoint in `folder`."""
    folder.mkdir(exist_ok=True)
    write = write_multilabel_results if is_multilabel else write_results
    classes = LABELS if is_multilabel else CLASSES
    write(folder, classes, **options)
    task = "multilabel" if is_multilabel else "multiclass"
    thresholds = [0.4] * len(CLASSES) if is_multilabel else None
    changed = {"classes": classes, "task": task, "decision": Decision(thresholds, 2.0), "params": PARAMS}
    save_checkpoint(folder / CHECKPOINT_FILE, replace(small_checkpoint(), **changed))
    (folder / RUN_FILE).unlink()
    predict(folder)


def predict(folder: Path) -> None:
    """Replace the made-up answers to the test images, and their metrics, by those of the run's checkpoint."""
    with chdir(folder):
        features, classifier = read_features(), Classifier(load_checkpoint(CHECKPOINT_FILE), torch.device("cpu"), 16)
        answers = READ_PREDICTIONS[features.task](PREDICTIONS_FILE)
        found = classifier.probabilities(classifier.dataset(features.test.images, features.test.targets))
        found, classes = found.astype(np.float64), answers.classes
        metrics = json.loads(METRICS_FILE.read_text())
        if features.task == "multilabel":
            answers = replace(answers, probabilities=found, predicted=found >= np.array(classifier.thresholds))
            metrics |= multilabel_metrics(answers.labels, found, classes, classifier.thresholds)
        else:
            answers = replace(answers, probabilities=found)
            metrics |= classification_metrics(answers.labels, found, classes)
            if features.superclasses:
                metrics |= superclass_metrics(answers.labels, answers.predicted, classes, features.superclasses)
        write_predictions(PREDICTIONS_FILE, answers)
        METRICS_FILE.write_text(json.dumps(metrics))


def write_card(folder: Path, *arguments: str) -> str:
    """Run the command in `folder` and give the card."""
    with chdir(folder):
        app = model_card.typer.Typer()
        app.command()(model_card.main)
        outcome = CliRunner().invoke(app, arguments)
        if outcome.exception:
            raise outcome.exception
        return MODEL_CARD_FILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def classes_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one class for each image."""
    folder = tmp_path_factory.mktemp("classes") / "run"
    write_run(folder, superclasses=FAMILIES)
    return folder


@pytest.fixture(scope="module")
def labels_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of several labels for each image."""
    folder = tmp_path_factory.mktemp("labels") / "run"
    write_run(folder, is_multilabel=True)
    return folder


@pytest.fixture(scope="module")
def card(classes_run: Path) -> str:
    """The card of the first, without options."""
    return write_card(classes_run)


@pytest.fixture(scope="module")
def labels_card(labels_run: Path) -> str:
    """The card of the second, without options."""
    return write_card(labels_run)


def tables_of(card: str) -> list[list[str]]:
    """The tables of a card, each a list of lines."""
    return [text.splitlines() for text in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)]


# ----------------------------------------------------------------------------------------------------------------------
# Hugging Face's format


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_hugging_face_reads_the_front_matter(request, is_multilabel):
    hub = pytest.importorskip("huggingface_hub")
    folder = request.getfixturevalue("labels_run" if is_multilabel else "classes_run")
    write_card(folder, "--license", "MIT")
    about = hub.metadata_load(folder / MODEL_CARD_FILE)
    assert about["license"] == "mit"
    assert about["library_name"] == "pytorch"
    assert about["pipeline_tag"] == "image-classification"
    assert {"image-classification", "resnet10", "folder"} <= set(about["tags"])
    loaded = hub.ModelCard.load(folder / MODEL_CARD_FILE)
    metrics = json.loads((folder / "reports/metrics.json").read_text())
    values = {result.metric_name: result.metric_value for result in loaded.data.eval_results}
    expected = {"Mean average precision": "mAP"} if is_multilabel else {"Accuracy": "accuracy"}
    for name, key in expected.items():
        assert values[name] == round(metrics[key], 4)
    assert about["metrics"] == list(dict.fromkeys(result.metric_type for result in loaded.data.eval_results))
    assert {result.dataset_name for result in loaded.data.eval_results} == {"flowers.zip"}


def test_published_data_is_named_as_on_the_hub(tmp_path):
    write_run(tmp_path / "run")
    path = tmp_path / "run/data/features/features.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "cifar10"}))
    card = write_card(tmp_path / "run")
    assert "datasets:\n- uoft-cs/cifar10\n" in card
    assert "80 Million Tiny Images" in card


# ----------------------------------------------------------------------------------------------------------------------
# What it says


def test_the_same_run_gives_the_same_card(classes_run, card):
    assert write_card(classes_run) == card


def test_every_table_is_whole(card, labels_card):
    for text in (card, labels_card):
        tables = tables_of(text)
        assert len(tables) > 6
        for lines in tables:
            columns = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(columns) == 1, lines
            assert set(lines[1]) == {"|", "-"}


def test_names_are_shown_as_they_are(card):
    assert r"| a_dog\* |" in card
    assert r"| \<b\>bee\| |" in card
    assert "<b>" not in card
    assert plain("a_b _c_ 1\n2 [x](y)") == r"a_b \_c\_ 1 2 \[x\](y)"


def test_nothing_secret_of_the_source_is_told(card):
    assert "| data.source | flowers.zip |" in card
    assert not [secret for secret in ("token", "hidden", "word", "user", "example.org") if secret in card]
    assert [last_part(place) for place in ("C:\\photos\\mine", "/a/b/", "x")] == ["mine", "b", "x"]


def test_what_is_not_known_is_said_to_be(card):
    assert "| licence of the data set | not known, fill in (--data-license) |" in card
    assert "| the trained weights | as you decide |" in card
    assert "license: unknown\n" in card
    assert "It was not tracked." in card
    assert "a machine that was not recorded" in card
    assert "Robustness was not measured" in card
    assert "Not estimated: the training took 3 seconds" in card


def test_what_the_user_says_is_in_it(classes_run):
    said = ("--license", "cc-by-4.0", "--data-license", "own photos|all rights", "--watts", "100:200")
    card = write_card(classes_run, *said, "--carbon-intensity", "400", "--price", "0.3", "--currency", "EUR")
    assert "license: cc-by-4.0\n" in card
    assert r"| licence of the data set | own photos\|all rights |" in card
    assert "| watts | 100 to 200 W | as given with --watts |" in card
    assert "| carbon intensity | 400 g/kWh | as given with --carbon-intensity |" in card
    # 3 seconds: 3 / 3600 h * 100 W = 0.0833 Wh, and 3 / 3600 * 200 * 1.56 = 0.26 Wh
    assert "| electricity | 0.083 to 0.26 Wh |" in card
    assert "| carbon dioxide equivalents | 0.033 to 0.10 g |" in card
    assert "| cost of the electricity | 0.000025 to 0.000078 EUR |" in card


def test_the_figures_are_those_of_the_run(classes_run, card):
    with chdir(classes_run):
        results = read_results()
        row = measure_classes(results)[0]
    right = int(results.predictions.right.sum())
    low, high = share(right, 16).low, share(right, 16).high
    assert f"{right / 16:.1%} ({100 * low:.1f} to {100 * high:.1f}%)" in card
    assert (row.training_images, row.images) == (3, 4)
    assert row.found == int((results.predictions.right & (results.predictions.labels == 0)).sum())
    assert f"`{results.checkpoint_sha256}`" in card
    assert "| right superclass |" in card


def test_the_weakest_labels_and_the_thresholds_are_named(labels_card):
    assert (
        "| label | training images | test images | precision | recall | F1 | average precision | threshold |"
        in labels_card
    )
    assert "any number of them, or none" in labels_card


def test_a_label_missed_for_another_is_a_confusion():
    true, given = np.array([[1, 0], [1, 0], [1, 1]], dtype=bool), np.array([[0, 1], [1, 0], [0, 1]], dtype=bool)
    predictions = MultilabelPredictions(["a", "b", "c"], ["cat", "dog"], true, given, given.astype(float))
    assert label_confusions(predictions) == [
        "cat is missed and dog given in its stead in 1 image, of 2 in which cat is missed."
    ]


def test_exports_and_explanations_count_only_when_they_are_of_this_model(classes_run, card, tmp_path):
    digest = sha256_file(classes_run / CHECKPOINT_FILE)
    row = {"format": "onnx", "error": None, "bytes": 1 << 20, "max_difference": 1e-6, "agreement": 1.0}
    row |= {"accuracy": 0.5, "images_per_second": {"1": 10.0}, "startup_seconds": 0.1}
    exports = {"checkpoint": "x", "task": "multiclass", "images": 4, "machine": {"cpu": "a CPU"}, "threads": 2}
    exports["formats"] = [row, {"format": "pt2", "error": "it | failed"}]
    about = {"checkpoint": "x", "title": "What it looked at", "method": "Grad-CAM"}
    folder = tmp_path / "run"
    write_run(folder, superclasses=FAMILIES)
    (folder / EXPORT_RESULTS).parent.mkdir(parents=True)
    for name in ("explanations.png", "explanations.dark.png"):
        (folder / EXPORT_RESULTS).with_name(name).write_bytes(b"picture")
    for sha256, is_told in ((digest, True), ("0" * 64, False)):
        (folder / EXPORT_RESULTS).write_text(json.dumps(exports | {"sha256": sha256}))
        (folder / EXPLAIN_RESULTS).write_text(json.dumps(about | {"sha256": sha256}))
        card = write_card(folder)
        assert ("| onnx | 1.0 | 1e-06 | 100.0% | 50.0% | 10 |" in card) is is_told
        assert (r"not written: it \| failed" in card) is is_told
        assert ("Method: Grad-CAM" in card) is is_told


def test_a_run_without_validation_has_no_temperature(tmp_path):
    write_run(tmp_path / "run", validation=False)
    path = tmp_path / "run" / CHECKPOINT_FILE
    save_checkpoint(path, replace(load_checkpoint(path), decision=Decision()))
    predict(tmp_path / "run")
    card = write_card(tmp_path / "run")
    assert "No temperature was fitted" in card
    assert "validation (" not in card
    assert "There were no validation images" in card


def test_the_calibration_is_that_of_the_report_page(classes_run, labels_run, card, labels_card):
    for folder, text in ((classes_run, card), (labels_run, labels_card)):
        with chdir(folder):
            splits = describe_calibration(read_results())["splits"]
        assert [split["name"] for split in splits] == ["validation", "test"]
        for split in splits:
            figures = [split[when][key] for key in ("ece", "loss") for when in ("before", "after")]
            assert f"| {split['name']} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |" in text


def test_nothing_is_asserted_of_the_images_of_others(card):
    assert "- Whether it treats groups of people alike was not measured.\n" in card


def test_leaks_and_few_images_are_limits(classes_run):
    with chdir(classes_run):
        results = read_results()
        sentences = " ".join(limits(results, measure_classes(results), PARAMS))
    assert "In 2 pairs of a training and a test image both are identical" in sentences
    assert "rest on fewer than 50 test images" in sentences
    assert "seed (7)" in sentences


# ----------------------------------------------------------------------------------------------------------------------
# The parts


def test_the_bootstrap_agrees_with_the_normal_approximation():
    true = np.random.default_rng(0).random((2000, 1)) < 0.5
    given = true ^ (np.random.default_rng(1).random((2000, 1)) < 0.2)
    found, there = int((true & given).sum()), int(true.sum())
    interval = drawn(found / there, draw_counts(true, given).recall[:, 0])
    half = 1.96 * np.sqrt(found / there * (1 - found / there) / there)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    assert interval.low < found / there < interval.high


def test_a_figure_without_mistakes_gets_no_interval_from_the_bootstrap():
    everything = np.ones((10, 1), dtype=bool)
    assert drawn(1.0, draw_counts(everything, everything).f1[:, 0]).low is None
    assert share(10, 10).low < 0.8
    assert share(0, 0) is None


def test_the_estimate_is_the_formula():
    footprint = estimate(7200, Range(50, 100, ""), INTENSITY, PRICE)
    assert footprint.kilowatt_hours.low == pytest.approx(2 * 0.05 * PUE.low)
    assert footprint.kilowatt_hours.high == pytest.approx(2 * 0.1 * PUE.high)
    assert footprint.grams.high == pytest.approx(2 * 0.1 * PUE.high * INTENSITY.high)
    assert footprint.cost.low == pytest.approx(2 * 0.05 * PUE.low * PRICE.low)
    assert estimate(7200, None, INTENSITY, PRICE) is None


def test_the_power_follows_the_recorded_machine():
    assert assume_watts({"cores": "4"}, {}).low == 4 * CORE_WATTS.low
    assert assume_watts({"cores": "4", "gpu": "NVIDIA H100 80GB HBM3"}, {"device": "cpu"}).high == 4 * CORE_WATTS.high
    assert assume_watts({}, {}) is None


@pytest.mark.parametrize(
    ("gpu", "watts"),
    [
        ("NVIDIA H100 80GB HBM3", 700), ("NVIDIA H100 PCIe", 350), ("NVIDIA H100 NVL", 400),
        ("NVIDIA A100-SXM4-80GB", 400), ("NVIDIA A100 80GB PCIe", 300), ("Tesla V100-SXM2-16GB", 300),
        ("Tesla V100-PCIE-32GB", 250), ("NVIDIA L4", 72), ("NVIDIA L40", 300), ("Tesla T4", 70),
        ("NVIDIA GeForce RTX 4090", 450),
    ],
)  # fmt: skip
def test_the_power_of_a_gpu_is_that_of_its_whole_name(gpu, watts):
    found = assume_watts({"cores": "4", "gpu": gpu}, {})
    assert (found.low, found.high) == (watts / 2, watts)


@pytest.mark.parametrize(
    "gpu",
    [
        "NVIDIA L40S", "NVIDIA T400", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090 D",
        "Quadro RTX 5000 with Max-Q Design", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "Some other GPU",
    ],
)  # fmt: skip
def test_a_gpu_of_a_similar_name_is_not_known(gpu):
    found = assume_watts({"gpu": gpu}, {})
    assert (found.low, found.high) == (70, 700)
    assert f"the power of one {gpu} is not in the list" in found.source


def test_the_assumptions_tell_their_sources():
    assert CORE_WATTS.low == 360 / 96 / 2  # two threads for each core
    assert "with two threads for each core" in CORE_WATTS.source
    assert "about 480 g/kWh, Ember, Global Electricity Review 2024" in INTENSITY.source
    assert PRICE.source.endswith("EIA, Electric Power Annual 2023")


def test_ranges_are_written_with_two_digits():
    units = {"Wh": 0.001, "kWh": 1}
    assert between(Range(0.00014, 0.00063, ""), units) == "0.14 to 0.63 Wh"
    assert between(Range(1234, 1234, ""), units) == "1,200 kWh"
    assert between(Range(0, 0, ""), units) == "0 Wh"


@pytest.mark.parametrize("text", ["", "watts", "-1", "90:65", "1:2:3", "nan", "inf", "65-90"])
def test_a_wrong_range_is_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"--watts: found .* expected a number such as 65, or a range such as 65:90"):
        parse_range("--watts", text)


@pytest.mark.parametrize(
    ("name", "identifier"), [("Apache-2.0", "apache-2.0"), ("Our own licence 1.0", "other"), (None, "unknown")]
)
def test_licences_that_the_hub_does_not_know_are_the_users_own(name, identifier):
    assert weights_license(name).identifier == identifier


def test_the_warning_about_a_licence_tells_only_what_is_known_here():
    lines = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    weights_license("cc-by-nc-sa-2.5")
    logger.remove(handler)
    assert lines[0].startswith("--license: cc-by-nc-sa-2.5 is not among the identifiers known here, so ")


@pytest.mark.parametrize("arguments", [["--license", " "], ["--data-license", ""], ["--price", "x"]])
def test_bad_options_are_one_line_and_exit_code_2(classes_run, arguments):
    with pytest.raises(InputError) as caught:
        write_card(classes_run, *arguments)
    assert explain(caught.value)[1] == 2
    assert arguments[0] in str(caught.value)


def test_a_model_of_other_classes_is_refused(tmp_path):
    write_run(tmp_path / "run")
    path = tmp_path / "run" / CHECKPOINT_FILE
    save_checkpoint(path, replace(load_checkpoint(path), classes=CLASSES[::-1]))
    with pytest.raises(InputError, match="of another task or other classes than data/features"):
        write_card(tmp_path / "run")


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_predictions_of_another_model_are_refused(tmp_path, is_multilabel):
    write_run(tmp_path / "run", is_multilabel)
    path = tmp_path / "run" / CHECKPOINT_FILE
    checkpoint = load_checkpoint(path)
    turned = {name: -values for name, values in checkpoint.state_dict.items() if name.startswith("classifier.")}
    save_checkpoint(path, replace(checkpoint, state_dict=checkpoint.state_dict | turned))
    with pytest.raises(InputError, match=r"^reports/predictions\.csv: found other .*; run `make predict`$"):
        write_card(tmp_path / "run")
    predict(tmp_path / "run")
    assert write_card(tmp_path / "run")

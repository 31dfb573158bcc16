"""Every study at its smallest scale, on real images; what it leaves; how it goes on after an interruption."""

import csv
import json
import re
import shutil
import signal
from contextlib import chdir
from pathlib import Path

import pytest
from small_features import make_features
from small_project import REPOSITORY
from small_studies import make_measurement

from Resnet23.arrays import Features, read_features
from Resnet23.config import load_params
from Resnet23.errors import InputError, Terminated
from Resnet23.history import EpochRecord
from Resnet23.studies import runner
from Resnet23.studies.definition import Study, read_study, study_names
from Resnet23.studies.publish import PAGES, RESULTS_DIR, publish, published, write_page
from Resnet23.studies.runner import Run, gather, work_on
from Resnet23.studies.workplace import scale_params

pytest.importorskip("optuna", reason="the extra studies is not installed")

with chdir(REPOSITORY):
    NAMES = study_names()
LONG = {"optimizers", "augmentation-ablation", "schedules", "sensitivity", "loss-landscape"}
DIGITS = [
    "data.dataset=digits",
    "data.image_size=32",
    "data.max_per_class={train: 30, test: 10}",
    "features.val_fraction=0.2",
]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    """The images of the scale smoke."""
    folder = tmp_path_factory.mktemp("smoke")
    make_features(folder, DIGITS)
    return read_features(folder / "data/features", folder / "data/processed")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the repository's studies, presets and parameters as the current directory."""
    for name in ("studies", "presets"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(study: Study, features: Features, scale: str = "smoke") -> Run:
    """A study whose trials lie in the current directory."""
    params = scale_params(study, scale)
    return Run(study, scale, params, features, f"sqlite:///{Path('trials.db').resolve()}", "abc")


def test_the_images_are_those_of_the_preset():
    with chdir(REPOSITORY):
        ours, preset = load_params(assignments=DIGITS), load_params(preset="study-smoke")
    assert ours.data == preset.data
    assert ours.features == preset.features


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in NAMES]
)
def test_every_study_runs_and_leaves_tables_figures_and_a_conclusion(name, features, workplace):
    study = read_study(name)
    assert study.scales["smoke"].preset == "study-smoke"
    run = make_run(study, features)
    work_on(run)
    results = gather(run)
    seeds = study.scales["smoke"].seeds
    assert all(sorted(outcome.measured) == seeds for outcome in results.outcomes)
    folder = publish(results, "make study", ["abc"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["conclusion"] and all(sentence.endswith(".") for sentence in summary["conclusion"])
    assert summary["figures"]
    for figure in summary["figures"]:
        assert figure["title"]
        assert (folder / f"{figure['name']}.png").stat().st_size > 2000
        assert (folder / f"{figure['name']}.dark.png").stat().st_size > 2000
    rows = list(csv.DictReader((folder / "results.csv").open(encoding="utf-8")))
    compared = [row for row in rows if row["part"] == "compared"]
    assert len(compared) == len(results.outcomes) * len(seeds)
    assert all(0 <= float(row["test_accuracy"]) <= 1 for row in compared)
    page = write_page("smoke").read_text(encoding="utf-8")
    assert study.question in page.replace("&#39;", "'")
    assert all((RESULTS_DIR / source).exists() for source in re.findall(r'(?:src|srcset|href)="([^"#]+)"', page))


MINE = """\
question: Does momentum matter?
analysis: sweep
vary:
  train.momentum: [0.0, 0.9]
expected: Yes.
scales:
  smoke:
    preset: study-smoke
    seeds: [0, 1]
    cost: seconds
"""


def test_a_new_study_needs_only_a_file(features, workplace):
    Path("studies/momentum.yaml").write_text(MINE, encoding="utf-8")
    assert "momentum" in study_names()
    run = make_run(read_study("momentum"), features)
    work_on(run)
    publish(gather(run), "make study", ["abc"])
    assert [study["study"] for study in published(PAGES["smoke"])] == ["momentum"]


def test_an_interrupted_study_goes_on_where_it_was_and_ends_with_the_same_numbers(features, workplace, monkeypatch):
    Path("studies/momentum.yaml").write_text(MINE, encoding="utf-8")
    study = read_study("momentum")
    whole = make_run(study, features)
    work_on(whole)
    expected = gather(whole)
    Path("trials.db").unlink()

    measured = []
    measure = runner._measure

    def interrupted(run, setting, seed, on_epoch):
        if len(measured) == 3:  # in the second setting, after its first seed
            measured.append("stop")
            raise Terminated(signal.SIGTERM)
        measured.append((setting.name, seed))
        return measure(run, setting, seed, on_epoch)

    monkeypatch.setattr(runner, "_measure", interrupted)
    with pytest.raises(Terminated):
        work_on(make_run(study, features))
    with pytest.raises(InputError, match="1 of 2 trials are not done yet"):
        gather(make_run(study, features))
    work_on(make_run(study, features))
    measured.remove("stop")
    assert sorted(measured) == [("0", 0), ("0", 1), ("0.9", 0), ("0.9", 1)]
    found = gather(make_run(study, features))
    for ours, theirs in zip(found.outcomes, expected.outcomes, strict=True):
        assert (ours.samples("test_accuracy") == theirs.samples("test_accuracy")).all()
        assert (ours.curves("val_loss") == theirs.curves("val_loss")).all()


def test_another_definition_or_other_images_share_no_trials(features, workplace):
    Path("studies/momentum.yaml").write_text(MINE, encoding="utf-8")
    key = make_run(read_study("momentum"), features).key
    for old, new in (("0.9]", "0.8]"), ("[0, 1]", "[0, 2]"), ("vary:", "set: {train.epochs: 1}\nvary:")):
        Path("studies/momentum.yaml").write_text(MINE.replace(old, new), encoding="utf-8")
        assert make_run(read_study("momentum"), features).key != key
    Path("studies/momentum.yaml").write_text(MINE.replace("Does momentum matter?", "Well?"), encoding="utf-8")
    assert make_run(read_study("momentum"), features).key == key


@pytest.mark.parametrize("search", [pytest.param("random", marks=pytest.mark.slow), "tpe"])
def test_a_search_ends_with_as_many_settings_as_trials(features, workplace, search):
    content = MINE.replace("[0.0, 0.9]", "{low: 0.0, high: 0.95}") + f"search: {search}\ntrials: 3\n"
    Path("studies/momentum.yaml").write_text(content, encoding="utf-8")
    run = make_run(read_study("momentum"), features)
    work_on(run)
    results = gather(run)
    assert len({outcome.setting.values["train.momentum"] for outcome in results.outcomes}) == 3
    assert all(0 <= outcome.setting.values["train.momentum"] <= 0.95 for outcome in results.outcomes)
    publish(results, "make study", ["abc"])


def test_settings_that_are_worse_than_the_others_were_are_pruned(features, workplace, monkeypatch):
    rates = [0.9 - 0.05 * number for number in range(10)]
    content = MINE.replace("train.momentum: [0.0, 0.9]", f"train.momentum: {rates}") + "prune: median\n"
    Path("studies/momentum.yaml").write_text(content, encoding="utf-8")

    def train(run, setting, seed, on_epoch):
        accuracy = setting.values["train.momentum"]  # falls from setting to setting
        for epoch in range(1, 4):
            on_epoch(EpochRecord(epoch, 1.0, 0.5, 1.0, accuracy * epoch / 3, 0.1, 1.0, 1.0, 0.0))
        return make_measurement(accuracy)

    monkeypatch.setattr(runner, "_measure", train)
    run = make_run(read_study("momentum"), features)
    work_on(run)
    results = gather(run)
    states = [outcome.state for outcome in results.outcomes]
    assert states == ["complete"] * 5 + ["pruned"] * 5  # the first five are what the others are measured by
    publish(results, "make study", ["abc"])


def test_tuned_values_are_those_best_on_validation_with_another_seed(features, workplace):
    content = MINE.replace("vary:\n  train.momentum: [0.0, 0.9]", "tune:\n  train.learning_rate: [1.0e-6, 0.05]")
    content = content.replace("tune:", "variants:\n  plain: {train.momentum: 0.0}\ntune:")
    Path("studies/momentum.yaml").write_text(content, encoding="utf-8")
    run = make_run(read_study("momentum"), features)
    work_on(run)
    results = gather(run)
    assert [sorted(outcome.measured) for outcome in results.tuning] == [[2], [2]]
    best = max(results.tuning, key=lambda outcome: outcome.samples("val_accuracy").mean())
    assert results.outcomes[0].setting.values["train.learning_rate"] == best.setting.values["train.learning_rate"]

"""`make promote`: the candidate and the champion on the same test images."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from recorded_runs import keep_record, record_run, restore_record
from small_project import REPOSITORY, SHRUNK

from Resnet23 import features as features_stage
from Resnet23 import promote
from Resnet23.arrays import read_features
from Resnet23.config import CHECKPOINT_FILE, RUN_FILE, load_params
from Resnet23.datadownload import main as datadownload
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.modeling import train
from Resnet23.modeling.checkpoint import Checkpoint, load_checkpoint
from Resnet23.modeling.inference import Classifier
from Resnet23.project import write_params
from Resnet23.promote import Comparison, compare, score, verdict
from Resnet23.tracking.registry import local_model_folder, open_registry
from Resnet23.tracking.store import open_store

SMALL = [*SHRUNK, "data.max_per_class={train: 40, test: 20}", "model.name=resnet10", "train.epochs=6"]
RECORDS = Path("records")


class Runs(NamedTuple):
    """The ids of the recorded trainings: one that is good, one that is not, one for larger images."""

    good: str
    poor: str
    larger: str


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Runs]:
    """A project with features and recorded trainings, to be copied."""
    folder = tmp_path_factory.mktemp("origin")
    with chdir(REPOSITORY):
        write_params(folder / "params.yaml", load_params(assignments=SMALL).model_dump(), "tests/test_promote.py")
    with chdir(folder):
        datadownload()
        features_stage.main()
        good = train.train(read_features(), load_params()).checkpoint
        larger = replace(good, preprocessing=replace(good.preprocessing, image_size=16))
        ids = []
        for name, checkpoint in (("good", good), ("poor", spoilt(good)), ("larger", larger)):
            ids.append(record_run(checkpoint))
            keep_record(RECORDS / name)
    return folder, Runs(*ids)


def spoilt(checkpoint: Checkpoint) -> Checkpoint:
    """A network that never answers half of the classes."""
    weights = {name: value.clone() for name, value in checkpoint.state_dict.items()}
    weights["classifier.bias"][: len(checkpoint.classes) // 2] = -1000.0
    return replace(checkpoint, state_dict=weights)


@pytest.fixture
def runs(origin: tuple[Path, Runs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """The recorded trainings of a copy of that project, which is the current directory."""
    shutil.copytree(origin[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "DAGSHUB_REPO_OWNER", "DAGSHUB_REPO_NAME"):
        monkeypatch.delenv(variable, raising=False)
    yield origin[1]
    logging.disable(logging.NOTSET)


def promoted(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that `make promote` prints when the recorded training of that name was the last."""
    restore_record(RECORDS / name)
    promote.main()
    return capsys.readouterr().out.splitlines()


def make_champion(run_id: str) -> Path:
    """Promote a run without asking; the folder of its model."""
    with open_store() as store:
        open_registry("resnet23", store, None).promote(run_id, {})
        return local_model_folder(store, store.get_run(run_id))


def test_a_better_candidate_becomes_the_champion_and_a_worse_one_does_not(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    place, poor, decision = promoted("poor", capsys)
    assert place == "registry: mlruns/mlflow.db (no remote is named)"
    assert poor.startswith(f"candidate: run {runs.poor}, accuracy ")
    assert decision == "promoted: there is no champion yet; it is version 1 of resnet23"

    _, good, champion, difference, decision = promoted("good", capsys)
    assert champion == poor.replace("candidate: run", "champion: version 1, run")
    assert difference.startswith("only the candidate gets ") and "exact McNemar test: p = " in difference
    assert decision == "promoted: the candidate is more accurate than the champion; it is version 2 of resnet23"
    expected = score(Classifier(load_checkpoint(CHECKPOINT_FILE), torch.device("cpu"), 64), read_features(), "model")
    assert good == f"candidate: run {runs.good}, {expected}"

    assert promoted("poor", capsys)[-1] == "not promoted: the candidate is less accurate than the champion"
    assert promoted("good", capsys)[1:] == ["nothing to do: this is the champion already, version 2 of resnet23"]


def test_a_version_says_what_it_reached_on_which_images(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    promoted("good", capsys)
    with open_store() as store:
        tags = store.get_model_version_by_alias("resnet23", "champion").tags
    expected = score(Classifier(load_checkpoint(CHECKPOINT_FILE), torch.device("cpu"), 64), read_features(), "model")
    assert float(tags["test_accuracy"]) == pytest.approx(expected.accuracy)
    assert len(tags["test_digest"]) == 64


def test_a_champion_of_another_image_size_is_refused(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    make_champion(runs.larger)
    with pytest.raises(InputError, match=r"version 1 of resnet23, takes images of 16 x 16 .* name another"):
        promoted("good", capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda classes: classes[::-1], "the same in another order"),
        (lambda classes: ["frog", *classes[1:]], "frog instead of 0"),
        (lambda classes: [*classes, "frog"], "frog instead of none"),
    ],
)
def test_a_champion_of_other_classes_is_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str], change: object, message: str
) -> None:
    description = make_champion(runs.poor) / "classifier.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps(content | {"classes": change(content["classes"])}))
    with pytest.raises(InputError, match=f"knows other classes than the candidate, {message}; name another"):
        promoted("good", capsys)


def forget_run() -> None:
    with open_store() as store:
        store.delete_run(json.loads(RUN_FILE.read_text())["run_id"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (CHECKPOINT_FILE.unlink, "resnet23_cifar.pth: no such file"),
        (RUN_FILE.unlink, r"reports/run\.json: no such file; train"),
        (lambda: RUN_FILE.write_text("{"), r"reports/run\.json: not a run file"),
        (lambda: RUN_FILE.write_text('{"run_id": null}'), "the training was not tracked"),
        (forget_run, r"mlruns/mlflow\.db: has no run"),
        (lambda: shutil.rmtree("mlruns/artifacts/models"), "has no model in MLflow's format"),
        (lambda: shutil.copy(RECORDS / "poor" / CHECKPOINT_FILE, CHECKPOINT_FILE), "is not the checkpoint of run"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_what_is_missing_or_does_not_belong_together_is_one_clear_line(damage: object, message: str) -> None:
    restore_record(RECORDS / "good")
    damage()
    with pytest.raises(InputError, match=message):
        promote.main()


@pytest.mark.usefixtures("runs")
def test_without_tracking_there_is_no_champion() -> None:
    with pytest.raises(InputError, match=r"tracking\.enabled: found false"):
        promote.main(assignments=["tracking.enabled=false"])


def test_a_remote_that_is_down_is_not_replaced_by_the_local_registry(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{key}", "")
    for key in ("TIMEOUT", "MAX_RETRIES"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{key}", "1")  # so that it is as before afterwards
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(Resnet23Error, match=r"http://127\.0\.0\.1:9: it cannot be reached; run this again later"):
        promoted("good", capsys)
    with open_store() as store:
        assert open_registry("resnet23", store, None).champion() is None


def test_only_images_on_which_the_two_differ_are_counted() -> None:
    candidate = np.array([True, True, True, False, False])
    champion = np.array([True, False, False, True, False])
    assert compare(candidate, champion) == Comparison(only_candidate=2, only_champion=1)


@pytest.mark.parametrize(
    ("counts", "p_value"),
    [((0, 0), 1.0), ((3, 3), 1.0), ((10, 2), 158 / 4096), ((2, 10), 158 / 4096), ((6, 0), 2 / 64)],
)
def test_the_p_value_is_that_of_the_exact_mcnemar_test(counts: tuple[int, int], p_value: float) -> None:
    assert Comparison(*counts).p_value == pytest.approx(p_value)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((5, 5), (False, "the candidate is as accurate as the champion")),
        ((2, 10), (False, "the candidate is less accurate than the champion")),
        ((10, 2), (True, "the candidate is more accurate than the champion")),
        ((5, 3), (True, "the candidate is more accurate than the champion, but within chance (p > 0.05)")),
    ],
)
def test_only_a_more_accurate_candidate_is_promoted(counts: tuple[int, int], expected: tuple[bool, str]) -> None:
    assert verdict(Comparison(*counts)) == expected

"""The benchmarks of accuracy and of arithmetic to an accuracy, on digits and networks that take seconds."""

import json
from pathlib import Path

import pytest

from Resnet23.errors import InputError

RECORD = Path("reports/benchmarks/accuracy-cpu.json")
STEPS_RECORD = Path("reports/benchmarks/steps-to-58-cpu.json")
TINY = [
    "data.dataset=digits",
    "data.image_size=8",
    "model={name: resnet10, width: 4, dropout: 0.0, final_dropout: 0.0}",
    "train.epochs=2",
    "train.device=cpu",
    "train.precision=fp32",
]


@pytest.fixture
def accuracy(benchmark, bench):
    """The module under test, in a small repository."""
    return benchmark("accuracy")


def test_a_recipe_is_run_by_the_stages_and_summed_up_over_seeds(accuracy, bench):
    accuracy.main(["default"], [0, 1], images=[200], assignments=TINY)
    runs = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    for run in runs:
        assert run["training_images"] + run["validation_images"] == 200
        assert run["images_seen"] == 2 * run["training_images"]
        assert (run["network"], run["precision"]) == ("resnet10", "fp32")
        assert run["test_images"] == 359, "all of them, whatever params.yaml says"
        assert run["pflop"] == pytest.approx(run["flop_per_image"][0] * run["images_seen"] / 1e15)
        assert 0 < run["seconds"]["training"] < run["seconds"]["command"]
    metrics = json.loads((bench / "runs/bench-default/reports/metrics.json").read_text(encoding="utf-8"))
    assert runs[1]["test_accuracy"] == metrics["accuracy"]
    assert runs[1]["training_accuracy"] == metrics["train_accuracy"]
    mean = sum(run["test_accuracy"] for run in runs) / 2
    (row,) = [line for line in Path("docs/benchmarks.md").read_text().splitlines() if "first 200 images" in line]
    assert f"| {mean:.2%} |" in row
    assert not (bench / "mlruns").exists()


def test_what_is_done_is_not_done_again_and_nothing_is_lost(accuracy, monkeypatch):
    few = {"images": [200], "assignments": [*TINY, "train.epochs=1"]}
    accuracy.main(["default"], [0], **few)
    (first,) = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]
    accuracy.main(["default"], [0], **few)
    assert json.loads(RECORD.read_text(encoding="utf-8"))["runs"] == [first]

    def broken() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(accuracy, "train_and_test", broken)
        with pytest.raises(KeyboardInterrupt):
            accuracy.main(["default"], [0], fresh=True, **few)
    assert json.loads(RECORD.read_text(encoding="utf-8"))["runs"] == [first]
    accuracy.main(["default"], [0], take="last", **few)
    (kept, last) = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]
    assert kept == first
    assert (last["take"], last["recipe"] != first["recipe"]) == ("last", True)


def test_another_task_than_was_asked_for_is_refused(accuracy):
    with pytest.raises(InputError, match=r"found 1,438 training images, expected 5,000"):
        accuracy.main(["default"], [0], assignments=[*TINY, "train.epochs=1"])
    assert not RECORD.exists()
    with pytest.raises(InputError, match=r"--images: found 505, expected a multiple of 10"):
        accuracy.main(["default"], [0], images=[505])
    with pytest.raises(InputError, match="several labels"):
        accuracy.main(["multilabel-digits"], [0])
    with pytest.raises(InputError, match="preset 'none' does not exist"):
        accuracy.main(["default", "none"], [0], images=[200], assignments=TINY)
    assert not RECORD.exists(), "a mistake in the last recipe is found before the first is trained"


def test_both_arms_of_the_arithmetic_to_an_accuracy(benchmark, bench):
    steps = benchmark("steps_to_58")
    tiny = [*TINY, "data.max_per_class={train: 20, test: null}"]  # comes after the number that is the default
    steps.main("digits", 3, [0, 1], "reference", level=0.99, assignments=tiny)
    *ours, theirs = json.loads(STEPS_RECORD.read_text(encoding="utf-8"))["runs"]
    assert [run["epochs"] for run in ours] == [3, 3], "--epochs comes after --set"
    assert theirs["test_images"] == 359
    assert len(theirs["test_accuracies"]) == len(theirs["pflop_after_epochs"]) == 2
    assert theirs["pflop_after_epochs"][1] == pytest.approx(2 * theirs["pflop_after_epochs"][0])
    rows = [line for line in Path("docs/benchmarks.md").read_text().splitlines() if "against preset reference" in line]
    assert len(rows) == 1, "the level was not reached"
    before = STEPS_RECORD.read_text(encoding="utf-8")
    steps.main("digits", 3, [0, 1], "reference", level=0.99, assignments=tiny)
    assert STEPS_RECORD.read_text(encoding="utf-8") == before
    steps.main("digits", 3, [0, 1], "reference", level=0.05, assignments=tiny)
    ended = json.loads(STEPS_RECORD.read_text(encoding="utf-8"))["runs"][-1]
    assert len(ended["test_accuracies"]) == 1, "the first epoch that reaches the level is the last"
    assert ended["pflop"] == theirs["pflop"] == 2 * ended["pflop_after_epochs"][0]
    rows = [line for line in Path("docs/benchmarks.md").read_text().splitlines() if "against preset reference" in line]
    assert len(rows) == 2


def test_every_seed_has_to_reach_the_level_and_the_epoch_is_the_first_that_does(benchmark):
    steps = benchmark("steps_to_58")
    ours = [{"test_accuracy": accuracy, "pflop": 0.5} for accuracy in (0.60, 0.57)]
    theirs = {"test_accuracies": [0.5, 0.59, 0.55, 0.62], "pflop_after_epochs": [5.0, 10.0, 15.0, 20.0]}
    theirs |= {"epochs": 4, "pflop": 20.0}
    found = steps.compare(ours, theirs, 0.58)
    assert not found["reached"] and "NOT reached" in steps.summary_line(found, 0.58)
    assert (found["reference_first_epoch"], found["first_epoch_divided_by_ours"]) == (2, 20)
    assert found["reference_divided_by_ours"] == 40
    assert steps.compare(ours, theirs, 0.57)["reached"]
    assert steps.compare(ours, theirs, 0.7)["reference_first_epoch"] is None


def test_the_reference_is_trained_as_the_stage_trains_it(benchmark, bench):
    steps, projects = benchmark("steps_to_58"), benchmark("projects")
    tiny = [*TINY, "data.max_per_class={train: 20, test: null}"]
    with projects.project_with_data("both", "reference", tiny):
        tested = steps.train_until(1.01)
        trained = benchmark("trainings").train_and_test()
    assert tested["test_accuracies"][-1] == pytest.approx(trained["test_accuracy"])
    assert tested["pflop_after_epochs"][-1] == trained["pflop"]

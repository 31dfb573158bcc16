"""Trials in a database: none twice, none lost, whatever becomes of the workers."""

import multiprocessing
import os
import signal
import time
import warnings
from pathlib import Path

import pytest

from Resnet23.errors import InputError, Terminated
from Resnet23.studies.definition import Range
from Resnet23.studies.trials import SLOT, Heartbeat, draw_values, finished, open_trials, suggest_value, work

pytest.importorskip("optuna", reason="the extra studies is not installed")

QUICK = Heartbeat(interval=1, patience=3)
SLOTS = {str(number): {"x": number} for number in range(12)}
NUMBERS = list(range(12))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database of trials that nobody has used."""
    return f"sqlite:///{tmp_path / 'trials.db'}"


def look_up(trial) -> float:
    """The planned value."""
    return float(suggest_value(trial, "x", NUMBERS))


def log_and_look_up(log: Path, trial) -> float:
    """Write down which slot was done, then take a moment."""
    with log.open("a") as file:
        file.write(trial.user_attrs[SLOT] + "\n")
    time.sleep(0.02)
    return look_up(trial)


def run_worker(url: str, log: Path) -> None:
    """A worker in a process of its own."""
    work(open_trials(url, "shared"), SLOTS, lambda trial: log_and_look_up(log, trial))


def hang(url: str) -> None:
    """A worker that never ends its first trial."""
    work(open_trials(url, "hung", heartbeat=QUICK), {"0": {"x": 3}}, lambda trial: time.sleep(600))


def test_every_slot_is_done_once_with_its_values(url):
    trials = open_trials(url, "one")
    work(trials, SLOTS, look_up)
    done = finished(trials)
    assert {slot: trial.value for slot, trial in done.items()} == {str(number): number for number in NUMBERS}
    work(trials, SLOTS, lambda trial: pytest.fail("done again"))


def test_workers_share_the_trials_and_do_none_twice(url, tmp_path):
    open_trials(url, "shared")
    log = tmp_path / "log.txt"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=run_worker, args=(url, log)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
        assert worker.exitcode == 0
    assert sorted(log.read_text().split()) == sorted(SLOTS)
    assert len(finished(open_trials(url, "shared"))) == len(SLOTS)


@pytest.mark.fault(14)
def test_a_stopped_worker_leaves_its_trial_and_its_measurements_to_the_next(url):
    trials = open_trials(url, "stopped")

    def stop(trial) -> float:
        trial.set_user_attr("measured", {"0": 1.5})
        raise Terminated(signal.SIGTERM)

    with pytest.raises(Terminated):
        work(trials, {"a": {"x": 3}}, stop)
    assert not finished(trials)
    seen = []
    work(trials, {"a": {"x": 3}}, lambda trial: seen.append(trial.user_attrs["measured"]) or look_up(trial))
    assert seen == [{"0": 1.5}]
    assert finished(trials)["a"].value == 3


def test_a_trial_that_fails_raises_and_is_tried_again_the_next_time(url):
    trials = open_trials(url, "failed")
    with pytest.raises(InputError, match="broken"):
        work(trials, {"a": {"x": 3}}, lambda trial: (_ for _ in ()).throw(InputError("broken")))
    work(trials, {"a": {"x": 3}}, look_up)
    assert finished(trials)["a"].value == 3


@pytest.mark.slow
@pytest.mark.fault(13)
def test_the_trial_of_a_worker_that_dies_is_taken_over(url):
    open_trials(url, "hung")
    worker = multiprocessing.get_context("spawn").Process(target=hang, args=(url,))
    worker.start()
    trials = open_trials(url, "hung", heartbeat=QUICK)
    deadline = time.monotonic() + 60
    while not any(trial.state.name == "RUNNING" for trial in trials.get_trials(deepcopy=False)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    work(trials, {"0": {"x": 3}}, look_up)
    assert finished(trials)["0"].value == 3


def test_a_slot_that_was_planned_twice_is_done_once(url):
    trials = open_trials(url, "twice")
    for _ in range(2):  # as two workers do that start at the same moment
        trials.enqueue_trial({"x": 3}, user_attrs={SLOT: "a"})
    done = []
    work(trials, {"a": {"x": 3}}, lambda trial: done.append(trial.number) or look_up(trial))
    assert done == [0]
    assert finished(trials)["a"].number == 0


def test_points_drawn_at_random_lie_in_the_range_and_are_the_same_for_every_worker():
    varied = {"rate": Range(low=1e-3, high=1.0, log=True), "name": ["a", "b", "c"]}
    points = draw_values(varied, 20, seed=5)
    assert points == draw_values(varied, 20, seed=5) != draw_values(varied, 20, seed=6)
    assert all(1e-3 <= point["rate"] <= 1 for point in points)
    assert {point["name"] for point in points} == {"a", "b", "c"}
    assert sum(point["rate"] < 0.03 for point in points) > 4  # evenly by factors


def test_an_interrupted_search_goes_on_with_the_values_that_were_measured(url):
    trials = open_trials(url, "search")
    chosen = []

    def search(trial) -> float:
        chosen.append(suggest_value(trial, "rate", Range(low=0.0, high=1.0)))
        if len(chosen) == 1:
            trial.set_user_attr("measured", {"0": chosen[0]})
            raise Terminated(signal.SIGTERM)
        return trial.user_attrs["measured"]["0"]

    with pytest.raises(Terminated):
        work(trials, {"a": {}}, search)
    work(trials, {"a": {}}, search)
    assert chosen[0] == chosen[1] == finished(trials)["a"].value


def test_a_trial_that_was_taken_away_is_let_go(url):
    trials = open_trials(url, "slow")
    calls = []

    def slow(trial) -> float:
        calls.append(trial.number)
        if len(calls) == 1:  # as another worker does when heartbeats are missing
            trials.tell(trial.number, state=trial.study.trials[0].state.FAIL)
        return look_up(trial)

    work(trials, {"a": {"x": 3}}, slow)
    assert calls == [0, 1]
    assert finished(trials)["a"].value == 3


def test_a_trial_whose_worker_died_before_its_first_heartbeat_is_taken_over(url, monkeypatch):
    trials = open_trials(url, "silent")
    trials.enqueue_trial({"x": 3}, user_attrs={SLOT: "a"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, of an ask without optimize: that is what is to be tested
        trials.ask()
    monkeypatch.setattr(Heartbeat, "patience", 0)
    work(trials, {"a": {"x": 3}}, look_up)
    assert finished(trials)["a"].number == 1


@pytest.mark.parametrize("wrong", ["nonsense", "postgresql://127.0.0.1:1/none", "sqlite:////no/such/folder/x.db"])
def test_a_database_that_cannot_be_opened_is_one_line(wrong):
    with pytest.raises(InputError, match="database of trials cannot be opened") as caught:
        open_trials(wrong, "x")
    assert "\n" not in str(caught.value)

"""The trials of a study in a database, which any number of workers share: none is done twice, none is lost.

A trial is a setting with all of its seeds. All are planned first, as Optuna trials that wait, each with a slot; to take
one is a single change in the database. The trial of a worker that is stopped, or whose heartbeat has been missing for a
while, counts as failed and its slot is planned again, with what has been measured of it.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from loguru import logger

from Resnet23.errors import InputError, Terminated, missing_package
from Resnet23.studies.definition import Choices, Range, Value

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

SLOT, BEGUN, SURPLUS = "slot", "begun", "surplus"
POLL_SECONDS = 1.0
FIRST_DRAWN = 10  # trials of TPE that are drawn at random, before it has anything to go by
LOCK_SECONDS = 60  # that a process waits for another one that writes to a SQLite file

Objective = Callable[["optuna.Trial"], float]
Slots = Mapping[str, Mapping[str, Value]]  # what each trial has to try; nothing where a search is to choose


@dataclass(frozen=True)
class Heartbeat:
    """How often a worker says that it lives, and after how long it is taken for dead; seconds."""

    interval: int = 10
    patience: int = 180  # well above LOCK_SECONDS: who waits for the database is alive


def open_trials(
    url: str,
    name: str,
    prune: str | None = None,
    seed: int = 0,
    heartbeat: Heartbeat = Heartbeat(),
) -> "optuna.Study":
    """The trials called `name` in the database at `url`, new or as they stand.

    Raises InputError when optuna is not installed or the database cannot be opened.
    """
    try:
        import optuna
    except ImportError:
        raise missing_package("optuna", "studies") from None
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # failures are told in our words
    pruners = {"median": optuna.pruners.MedianPruner, "hyperband": optuna.pruners.HyperbandPruner}
    return optuna.create_study(
        storage=_open_storage(url, heartbeat),
        study_name=name,
        # Only TPE chooses anything, and what other workers have in hand it takes for bad, so as not to try it, too.
        sampler=optuna.samplers.TPESampler(n_startup_trials=FIRST_DRAWN, seed=seed, constant_liar=True),
        pruner=pruners.get(prune, optuna.pruners.NopPruner)(),
        direction="maximize",
        load_if_exists=True,
    )


def draw_values(varied: Mapping[str, Choices], count: int, seed: int) -> list[dict[str, Value]]:
    """So many points drawn at random, the same for the same seed, whoever asks."""
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    points = []
    for _ in range(count):
        trial = study.ask()
        points.append({key: suggest_value(trial, key, choices) for key, choices in varied.items()})
    return points


def work(trials: "optuna.Study", slots: Slots, objective: Objective) -> None:
    """Do what is planned until all of it is done, by this worker and any others.

    Trials in the hands of others are waited for, and taken over if those die.
    """
    from optuna.trial import TrialState

    told = False
    while True:
        _fail_stale_trials(trials)
        _plan(trials, slots)
        if trials.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            _do_next(trials, objective)
        elif running := trials.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not told:
                logger.info(f"waiting for {len(running)} trials that other workers have in hand or left behind")
            told = True
            time.sleep(POLL_SECONDS)
        else:
            return


def finished(trials: "optuna.Study") -> dict[str, "FrozenTrial"]:
    """The trials that ended, by slot; pruned ones among them."""
    from optuna.trial import TrialState

    ended = trials.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return {trial.user_attrs[SLOT]: trial for trial in ended if not trial.user_attrs.get(SURPLUS)}


def suggest_value(trial: "optuna.Trial", key: str, choices: Choices) -> Value:
    """The value of a parameter in this trial: the planned one, else one that the search chooses."""
    if isinstance(choices, Range):
        return trial.suggest_float(key, choices.low, choices.high, log=choices.log)
    return trial.suggest_categorical(key, choices)


def _plan(trials: "optuna.Study", slots: Slots) -> None:
    """Let a trial wait for each slot that has none, or only failed ones, whose measurements it takes over.

    Two workers may plan at once: of the trials of a slot only the first counts.
    """
    from optuna.trial import TrialState

    known, failed = set(), {}
    for trial in trials.get_trials(deepcopy=False):
        if trial.state == TrialState.FAIL:
            failed[trial.user_attrs.get(SLOT)] = trial
        elif not trial.user_attrs.get(SURPLUS):
            known.add(trial.user_attrs.get(SLOT))
    for slot, values in slots.items():
        if slot in known:
            continue
        if slot in failed:  # what was measured belongs to the values that a search had chosen
            trials.enqueue_trial({**values, **failed[slot].params}, user_attrs=failed[slot].user_attrs)
        else:
            trials.enqueue_trial(dict(values), user_attrs={SLOT: slot})


def _do_next(trials: "optuna.Study", objective: Objective) -> None:
    """The next trial that waits. One that was taken away meanwhile, as from a computer that slept, is let go."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    taken = []

    def do(trial: "optuna.Trial") -> float:
        taken.append(trial.number)
        return _do(trials, trial, objective)

    try:
        trials.optimize(do, n_trials=1)
    except (ValueError, UpdateFinishedTrialError):
        if not taken or trials.get_trials(deepcopy=False)[taken[0]].state != TrialState.FAIL:
            raise
        logger.warning("another worker has taken over a trial that this one was slow with")


def _do(trials: "optuna.Study", trial: "optuna.Trial", objective: Objective) -> float:
    """One trial, unless another has its slot; interrupted, it counts as failed."""
    import optuna
    from optuna.trial import TrialState

    trial.set_user_attr(BEGUN, True)
    if _is_surplus(trials, trial):
        trial.set_user_attr(SURPLUS, True)
        raise optuna.TrialPruned("another trial has its slot")
    try:
        return objective(trial)
    except Terminated:
        trials.tell(trial, state=TrialState.FAIL)
        raise


def _is_surplus(trials: "optuna.Study", trial: "optuna.Trial") -> bool:
    """Whether a trial has no slot, or an earlier one that has not failed has the same."""
    from optuna.trial import TrialState

    slot = trial.user_attrs.get(SLOT)
    earlier = [
        other
        for other in trials.get_trials(deepcopy=False)
        if other.number < trial.number and other.state != TrialState.FAIL and not other.user_attrs.get(SURPLUS)
    ]
    return slot is None or any(other.user_attrs.get(SLOT) == slot for other in earlier)


def _open_storage(url: str, heartbeat: Heartbeat) -> "RDBStorage":
    from optuna.storages import RDBStorage

    is_sqlite = url.startswith("sqlite")
    with _without_experimental_warnings():
        try:
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}} if is_sqlite else {"pool_pre_ping": True},
                heartbeat_interval=heartbeat.interval,
                grace_period=heartbeat.patience,
            )
        except Exception as error:  # whatever SQLAlchemy, a driver or the server has to say
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            raise InputError(
                f"the database of trials cannot be opened ({reason}); expected a URL of SQLAlchemy, such as "
                "sqlite:///trials.db or postgresql://host/name"
            ) from None
    if is_sqlite:
        _lock_whole_transactions(storage)
    return storage


def _lock_whole_transactions(storage: "RDBStorage") -> None:
    """Make SQLite lock the database from the beginning of each transaction.

    Python's driver would begin it at the first change, after what the change depends on has been read: two workers
    could take the same trial. (SQLAlchemy's documentation, SQLite, "Serializable isolation".)
    """
    from sqlalchemy import event

    def leave_transactions_to_us(connection: object, record: object) -> None:
        connection.isolation_level = None

    event.listen(storage.engine, "connect", leave_transactions_to_us)
    event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    storage.engine.dispose()  # connections from before know nothing of it


def _fail_stale_trials(trials: "optuna.Study") -> None:
    """Let the trials of workers that have died count as failed, those of workers without a first heartbeat too."""
    import optuna
    from optuna.trial import TrialState

    with _without_experimental_warnings():
        optuna.storages.fail_stale_trials(trials)
    for trial in trials.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        seconds = (datetime.now() - trial.datetime_start).total_seconds()
        if not trial.user_attrs.get(BEGUN) and seconds > Heartbeat.patience:
            with suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another worker was faster
                trials.tell(trial.number, state=TrialState.FAIL)


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    """Optuna warns of what may change in later versions; the tested one is pinned."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield

"""A study at a scale: its trials planned, worked on, and gathered."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loguru import logger

from Resnet23.arrays import Features
from Resnet23.config import Params, validate_params
from Resnet23.errors import InputError
from Resnet23.history import EpochRecord
from Resnet23.modeling.losses import check_loss
from Resnet23.modeling.optim import check_names
from Resnet23.modeling.zoo import check_model
from Resnet23.studies.analyses import Analysis, find_analysis
from Resnet23.studies.definition import Choices, Part, Study, Value
from Resnet23.studies.measuring import Job
from Resnet23.studies.outcomes import Measurement, Outcome, Results
from Resnet23.studies.settings import Setting, apply, named, settings_of
from Resnet23.studies.trials import (
    FIRST_DRAWN,
    Heartbeat,
    Slots,
    draw_values,
    finished,
    open_trials,
    suggest_value,
    work,
)
from Resnet23.studies.wording import accuracy as shown
from Resnet23.tracking import NullTracker, Tracker

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

VARIANT = "variant"  # the parameter of a trial that names one of `variants`
MEASURED, REVISION = "measured", "git_revision"  # what a trial keeps: {seed: measurement}, the commit of the code


@dataclass(frozen=True)
class Run:
    """A study on its images, with what all workers share."""

    study: Study
    scale: str
    params: Params
    features: Features
    storage: str  # the URL of the database of trials
    revision: str | None  # of the code
    heartbeat: Heartbeat = field(default_factory=Heartbeat)

    @cached_property
    def analysis(self) -> Analysis:
        """The row of the table that the study names."""
        return find_analysis(self.study.analysis)

    @cached_property
    def options(self) -> Part:
        """The options of the analysis at this scale, before any setting is applied."""
        return read_options(self.study, self.scale)

    @property
    def seeds(self) -> list[int]:
        """The seeds of every setting."""
        return self.study.scales[self.scale].seeds

    @property
    def tuning_seed(self) -> int:
        """The seed by which values are tuned; no setting is judged by it."""
        return max(self.seeds) + 1

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits that stand for everything but the code that the trials depend on."""
        decisive = {
            "study": self.study.model_dump(exclude={"name", "question", "scales", "expected"}),
            "vary": {key: _described(choices) for key, choices in self.study.varied(self.scale).items()},
            "seeds": self.seeds,
            "options": self.options.model_dump(),
            "params": self.params.model_dump(include={"model", "train"}),
            "features": self.features.digest,
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    def open(self, part: str = "") -> "optuna.Study":
        """The trials in the database; `part` tells those of tuning from the others."""
        name = f"{self.study.name}-{self.scale}{part}-{self.key}"
        study = self.study
        return open_trials(self.storage, name, study.prune, min(self.seeds), self.heartbeat)


def read_options(study: Study, scale: str) -> Part:
    """The options of the study's analysis at this scale. Raises InputError naming a wrong one."""
    wanted = {**study.options, **study.scales[scale].options}
    return validate_params(find_analysis(study.analysis).options, wanted, f"studies/{study.name}.yaml: options")


def check_study(study: Study, scale: str, params: Params) -> None:
    """Raise InputError when a setting does not fit the parameters, before any of them is trained."""
    options = read_options(study, scale)
    if not params.features.val_fraction:
        raise InputError("features.val_fraction: found 0, but a study chooses by validation images; expected 0.1 or so")
    points = [setting.values for setting in settings_of(study, scale)] if study.search == "grid" else []
    if study.search != "grid":  # each value by itself, as any may come with any
        points = [{key: value} for key, choices in study.varied(scale).items() for value in _plain(choices)]
    tuned = [{key: value} for key, values in study.tune.items() for value in values] or [{}]
    analysis = find_analysis(study.analysis)
    analysis.check(study, scale, options)
    for values in [{**point, **extra} for point in points for extra in tuned]:
        changed, changed_options = apply(params, options, values)
        check_model(changed.model.name, changed.model.pretrained, changed.model.stem)
        check_names(changed.train)
        check_loss(changed.train.loss)
        analysis.check_setting(changed, changed_options)


def work_on(run: Run, tracker: Tracker | None = None) -> None:
    """Do trials until the study is done, as one of any number of workers."""
    tracker = tracker or NullTracker()
    if run.study.tune:
        work(run.open("-tuning"), _tuning_slots(run), lambda trial: _try(run, trial, tracker, [run.tuning_seed]))
    work(run.open(), _slots(run, planned_settings(run)), lambda trial: _try(run, trial, tracker, run.seeds))


def gather(run: Run) -> Results:
    """What all workers have found. Raises InputError when not all trials are done."""
    done = finished(run.open())
    wanted = list(_slots(run, planned_settings(run)))
    if missing := [slot for slot in wanted if slot not in done]:
        raise InputError(f"{run.study.name}: {len(missing)} of {len(wanted)} trials are not done yet")
    tuned = finished(run.open("-tuning")).values() if run.study.tune else []
    return Results(
        run.study,
        run.scale,
        run.params,
        run.options,
        run.features.classes,
        [_outcome(done[slot]) for slot in wanted],
        [_outcome(trial) for trial in tuned],
    )


def revisions(run: Run) -> list[str]:
    """The commits that the trials were done with, usually one."""
    parts = ["", "-tuning"] if run.study.tune else [""]
    found = {trial.user_attrs.get(REVISION) for part in parts for trial in finished(run.open(part)).values()}
    return sorted(str(revision) for revision in found)


def planned_settings(run: Run) -> list[Setting]:
    """The settings of a grid or of variants, each with the tuned value that was best on validation.

    Empty for a search, whose settings arise as it goes.
    """
    if run.study.search != "grid":
        return []
    settings = settings_of(run.study, run.scale)
    if not run.study.tune:
        return settings
    (key, _), *_ = run.study.tune.items()
    tuned = [_outcome(trial) for trial in finished(run.open("-tuning")).values()]
    chosen = []
    for setting in settings:
        tried = [outcome for outcome in tuned if outcome.setting.name == setting.name and outcome.state == "complete"]
        best = max(tried, key=lambda outcome: outcome.samples("val_accuracy").mean())
        chosen.append(Setting(setting.name, {**setting.values, key: best.setting.values[key]}))
    return chosen


def _slots(run: Run, settings: list[Setting]) -> Slots:
    """What each trial has to try, by slot."""
    study, varied = run.study, run.study.varied(run.scale)
    if study.search != "grid":
        drawn = study.trials if study.search == "random" else min(study.trials, FIRST_DRAWN)
        points = [*draw_values(varied, drawn, min(run.seeds)), *({} for _ in range(study.trials - drawn))]
        return {str(number): point for number, point in enumerate(points)}
    return {str(number): _trial_params(run, setting) for number, setting in enumerate(settings)}


def _tuning_slots(run: Run) -> Slots:
    """Every setting with every value of the tuned parameter."""
    (key, values), *_ = run.study.tune.items()
    return {
        f"{number}, {value}": {**_trial_params(run, setting), key: value}
        for number, setting in enumerate(settings_of(run.study, run.scale))
        for value in values
    }


def _trial_params(run: Run, setting: Setting) -> dict[str, Any]:
    """A setting as the parameters of a trial in the database."""
    if run.study.variants:
        tuned = {key: value for key, value in setting.values.items() if key in run.study.tune}
        return {VARIANT: setting.name, **tuned}
    return dict(setting.values)


def _setting(run: Run, trial: "optuna.Trial") -> Setting:
    """The setting of a trial, chosen now where a search is to choose it."""
    tuned = {key: trial.suggest_categorical(key, values) for key, values in run.study.tune.items()}
    if run.study.variants:
        name = trial.suggest_categorical(VARIANT, list(run.study.variants))
        return Setting(name, {**run.study.variants[name], **tuned})
    values = {key: suggest_value(trial, key, choices) for key, choices in run.study.varied(run.scale).items()}
    return Setting(named(values).name, {**values, **tuned})


def _try(run: Run, trial: "optuna.Trial", tracker: Tracker, seeds: list[int]) -> float:
    """Measure a setting with every seed that it has not been measured with, for the mean validation accuracy."""
    import optuna

    setting, pruned = _setting(run, trial), None
    trial.set_user_attr("setting", {"name": setting.name, "values": setting.values})
    trial.set_user_attr(REVISION, run.revision)
    measured = dict(trial.user_attrs.get(MEASURED, {}))
    part = "" if seeds == run.seeds else ", tuning"
    with tracker.start_child(f"{run.study.name}{part}: {setting.name}", setting.values) as child:
        try:
            for seed in seeds:
                if str(seed) not in measured:
                    watch = _pruner(trial) if run.study.prune and seed == run.seeds[0] else lambda record: None
                    measured[str(seed)] = _measure(run, setting, seed, watch).to_plain()
                    trial.set_user_attr(MEASURED, measured)
            outcome = _outcome_of(setting, "complete", measured)
            child.log_metrics(_means(outcome))
        except optuna.TrialPruned as error:  # no failure of the child run
            child.log_tags({"pruned": str(error)})
            pruned = error
    if pruned:
        raise pruned
    accuracy = outcome.samples("val_accuracy")
    logger.info(f"{run.study.name}{part}: {setting.name}: validation accuracy {shown(accuracy)}")
    return float(accuracy.mean())


def _measure(run: Run, setting: Setting, seed: int, on_epoch: Any) -> Measurement:
    params, options = apply(run.params, run.options, setting.values)
    job = Job(params.model_copy(update={"seed": seed}), options, run.features, on_epoch)
    return run.analysis.measure(job)


def _pruner(trial: "optuna.Trial") -> Any:
    """Ends a training that is worse than the others were at the same epoch."""
    import optuna

    def watch(record: EpochRecord) -> None:
        trial.report(record.val_accuracy, record.epoch)
        if trial.should_prune():
            raise optuna.TrialPruned(f"epoch {record.epoch}")

    return watch


def _outcome(trial: "FrozenTrial") -> Outcome:
    setting = Setting(**trial.user_attrs["setting"])
    state = "complete" if trial.state.name == "COMPLETE" else "pruned"
    return _outcome_of(setting, state, trial.user_attrs.get(MEASURED, {}))


def _outcome_of(setting: Setting, state: str, measured: Mapping[str, Any]) -> Outcome:
    return Outcome(setting, state, {int(seed): Measurement.from_plain(each) for seed, each in measured.items()})


def _means(outcome: Outcome) -> dict[str, float]:
    """Mean and spread over seeds of every number that all of them have, under the names that the tracker shows."""
    names = set.intersection(*(set(measurement.numbers) for measurement in outcome.measured.values()))
    means = {name: outcome.samples(name).mean() for name in names}
    deviations = {f"{name}_spread": outcome.samples(name).std(ddof=1) for name in names if len(outcome.measured) > 1}
    return means | deviations


def _described(choices: Choices) -> list[Any]:
    """All there is to say of them, as JSON."""
    return list(choices) if isinstance(choices, list) else [choices.low, choices.high, choices.log]


def _plain(choices: Choices) -> list[Value]:
    """The values, of a range its ends."""
    return list(choices) if isinstance(choices, list) else [choices.low, choices.high]

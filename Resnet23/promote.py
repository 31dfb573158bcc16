"""Make the trained model the champion, if it does better on the test images than the champion that there is."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import CHECKPOINT_FILE, PARAMS_FILE, RUN_FILE, PredictParams, load_params
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.modeling.checkpoint import Checkpoint, load_checkpoint
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.metrics import classification_metrics
from Resnet23.modeling.multilabel_metrics import mean_average_precision
from Resnet23.modeling.pyfunc import DESCRIPTION_FILE, ExportedModel, read_exported_model
from Resnet23.tracking.destination import find_remote
from Resnet23.tracking.registry import Champion, Registry, check_training, open_registry
from Resnet23.tracking.store import store_client

CHANCE = 0.05  # two-sided; above it a difference may well be luck


@dataclass(frozen=True)
class Score:
    """How a classifier does on the test images.

    `correct` says of each image whether it is right, with all of its labels where it has several, (N,) bool.
    """

    accuracy: float
    detail: str  # another number
    correct: np.ndarray

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.2%}, {self.detail} on {len(self.correct):,} test images"


@dataclass(frozen=True)
class Comparison:
    """On which of the same images only one of two classifiers is right."""

    only_candidate: int
    only_champion: int

    @property
    def p_value(self) -> float:
        """Of the exact McNemar test: how likely so large a difference is between two that are equally good."""
        images = self.only_candidate + self.only_champion
        return float(binomtest(self.only_candidate, images).pvalue) if images else 1.0

    def __str__(self) -> str:
        return (
            f"only the candidate gets {self.only_candidate:,} images right, only the champion {self.only_champion:,}; "
            f"exact McNemar test: p = {self.p_value:.3g}"
        )


def compare(candidate: np.ndarray, champion: np.ndarray) -> Comparison:
    """Count the images that only one gets right; both arrays are (N,) bool and say so of each image."""
    return Comparison(int((candidate & ~champion).sum()), int((champion & ~candidate).sum()))


def verdict(comparison: Comparison) -> tuple[bool, str]:
    """Whether to promote the candidate, and why or why not."""
    if comparison.only_candidate == comparison.only_champion:
        return False, "the candidate is as accurate as the champion"
    if comparison.only_candidate < comparison.only_champion:
        return False, "the candidate is less accurate than the champion"
    chance = f", but within chance (p > {CHANCE})" if comparison.p_value > CHANCE else ""
    return True, f"the candidate is more accurate than the champion{chance}"


def score(classifier: Classifier, features: Features, name: str) -> Score:
    """Evaluate a classifier on the test images; a progress bar shows `name`.

    Raises InputError when it was trained for another task, other classes or another image size.
    """
    if classifier.classes != features.classes:
        difference = _difference(classifier.classes, features.classes)
        raise InputError(f"the {name} knows other classes than data/features, {difference}; train again: `make train`")
    if classifier.checkpoint.task != features.task:
        raise InputError(f"the {name} was trained for {classifier.checkpoint.task}, data/features is {features.task}")
    test = features.test
    probabilities = classifier.probabilities(classifier.dataset(test.images, test.targets), name)
    if features.task == "multilabel":
        correct = ((probabilities >= np.array(classifier.thresholds)) == test.targets).all(axis=1)
        mAP = mean_average_precision(test.targets, probabilities)
        return Score(float(correct.mean()), f"every label counted, mAP {mAP:.3f}", correct)
    metrics = classification_metrics(test.targets, probabilities, features.classes)
    correct = probabilities.argmax(axis=1) == test.targets
    return Score(metrics["accuracy"], f"balanced accuracy {metrics['balanced_accuracy']:.2%}", correct)


def main(
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Compare the trained model with the champion on the test images, and promote it if it is more accurate."""
    params = load_params(params_file, preset, assignments)
    if not params.tracking.enabled:
        raise InputError("tracking.enabled: found false, but only recorded trainings have a champion; set it to true")
    logging.disable()  # what the libraries log; what matters arrives as exceptions
    checkpoint = load_checkpoint(CHECKPOINT_FILE)
    run_id = trained_run(RUN_FILE)
    local = store_client()
    check_training(local, run_id, CHECKPOINT_FILE)
    registry = open_registry(params.tracking.experiment, local, find_remote())
    print(f"registry: {registry.place}")
    champion = registry.champion()
    if champion and champion.run_id == run_id:
        print(f"nothing to do: this is the champion already, version {champion.version} of {registry.name}")
    else:
        print(challenge(registry, champion, run_id, checkpoint, params.predict))


def challenge(
    registry: Registry, champion: Champion | None, run_id: str, checkpoint: Checkpoint, params: PredictParams
) -> str:
    """Evaluate a run's checkpoint and the champion, promote the former if it is better; what became of it, in a line.

    Raises InputError when the two, or the candidate and the test images, are not for the same task.
    """
    rival = _champions_model(registry, champion, checkpoint) if champion else None
    device, features = choose_device(params.device), read_features()
    reached = score(Classifier(checkpoint, device, params.batch_size), features, "candidate")
    print(f"candidate: run {run_id}, {reached}")
    promote, why = True, "there is no champion yet"
    if rival:
        standing = score(Classifier(rival, device, params.batch_size), features, "champion")
        comparison = compare(reached.correct, standing.correct)
        print(f"champion: version {champion.version}, run {champion.run_id}, {standing}\n{comparison}")
        promote, why = verdict(comparison)
    if not promote:
        return f"not promoted: {why}"
    version = registry.promote(run_id, _tags(reached, checkpoint.git_revision, features))
    return f"promoted: {why}; it is version {version} of {registry.name}"


def trained_run(file: Path) -> str:
    """The id of the run that the training left. Raises InputError when it left none."""
    try:
        run_id = json.loads(file.read_text(encoding="utf-8"))["run_id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a run file as training writes it"
        raise InputError(f"{printable(file)}: {reason}; train with `make train`") from None
    if not run_id:
        raise InputError(f"{printable(file)}: the training was not tracked; train again with tracking.enabled: true")
    return run_id


def _champions_model(registry: Registry, champion: Champion, candidate: Checkpoint) -> ExportedModel:
    """The champion's network. Raises InputError when it cannot be compared with the candidate."""
    folder = registry.model_folder(champion)
    model = read_exported_model(folder / "data" / "model.pt2", folder / DESCRIPTION_FILE)
    size, expected = model.preprocessing.image_size, candidate.preprocessing.image_size
    if model.task != candidate.task:
        found = f"was trained for {model.task}, the candidate for {candidate.task}"
    elif model.classes != candidate.classes:
        found = f"knows other classes than the candidate, {_difference(model.classes, candidate.classes)}"
    elif size != expected:
        found = f"takes images of {size} x {size} pixels, the candidate of {expected} x {expected}"
    else:
        return model
    raise InputError(
        f"the champion, version {champion.version} of {registry.name}, {found}; "
        "name another tracking.experiment for models of another kind"
    )


def _difference(found: list[str], expected: list[str]) -> str:
    """How one list of classes differs from another, in a few words."""
    extra, missing = (sorted(set(a) - set(b)) for a, b in ((found, expected), (expected, found)))
    if not extra and not missing:
        return "the same in another order"
    return f"{', '.join(extra[:3]) or 'none'} instead of {', '.join(missing[:3]) or 'none'}"


def _tags(reached: Score, git_revision: str | None, features: Features) -> dict[str, str]:
    """What a version of the registered model says of itself."""
    images = json.dumps(features.info["digests"]["test"], sort_keys=True)
    tags = {
        "test_accuracy": f"{reached.accuracy:.6f}",
        "test_digest": hashlib.sha256(images.encode()).hexdigest(),
        "git_revision": git_revision,
    }
    return {key: value for key, value in tags.items() if value is not None}


if __name__ == "__main__":
    run_command(main)

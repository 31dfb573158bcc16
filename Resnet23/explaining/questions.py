"""What to ask a network about its answers: which images, and evidence for and against which classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Resnet23.figures.findings import percent
from Resnet23.figures.galleries import most_confident_mistakes
from Resnet23.figures.multilabel_galleries import surest_mistakes
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions


@dataclass(frozen=True)
class Side:
    """A class, and whether the evidence for it (1) or against it (-1) is wanted."""

    label: int
    sign: int
    caption: str


@dataclass(frozen=True)
class Question:
    """A row of the images, what the network made of it, and the two sides to compare."""

    row: int
    verdict: str
    sides: tuple[Side, Side]


def ask(predictions: Predictions | MultilabelPredictions, count: int) -> list[Question]:
    """About the most confident mistakes, at most `count`; without any, about the least confident answers."""
    if isinstance(predictions, Predictions):
        return _ask_of_classes(predictions, count)
    return _ask_of_labels(predictions, count)


def ask_of_image(row: int, classes: Sequence[str], probabilities: np.ndarray, has_labels: bool) -> Question:
    """About an image whose classes are not known: its most probable class and the next, or its most probable label."""
    first = int(probabilities.argmax())
    verdict = f"{classes[first]}: {percent(probabilities[first])}"
    if has_labels:
        return Question(row, verdict, _for_and_against(classes, probabilities, first))
    return Question(row, verdict, _either(classes, probabilities, first, _runner_up(probabilities)))


def _ask_of_classes(predictions: Predictions, count: int) -> list[Question]:
    classes, questions = predictions.classes, []
    rows = most_confident_mistakes(predictions, count)
    for row in rows if len(rows) else np.argsort(predictions.confidence, kind="stable")[:count]:
        probabilities, predicted = predictions.probabilities[row], predictions.predicted[row]
        true = predictions.labels[row]
        is_wrong = predicted != true
        verdict = f"{classes[true]} taken for {classes[predicted]}" if is_wrong else f"{classes[true]}, rightly"
        other = true if is_wrong else _runner_up(probabilities)
        questions.append(Question(int(row), verdict, _either(classes, probabilities, predicted, other)))
    return questions


def _ask_of_labels(predictions: MultilabelPredictions, count: int) -> list[Question]:
    questions = []
    for row, label in surest_mistakes(predictions, count) or _least_sure(predictions, count):
        name, given = predictions.classes[label], predictions.predicted[row, label]
        if given == predictions.labels[row, label]:
            verdict = f"{name}, rightly" if given else f"no {name}, rightly"
        else:
            verdict = f"{name} given, but not there" if given else f"{name} missed"
        sides = _for_and_against(predictions.classes, predictions.probabilities[row], label)
        questions.append(Question(row, verdict, sides))
    return questions


def _least_sure(predictions: MultilabelPredictions, count: int) -> list[tuple[int, int]]:
    """The row and the label of the least probable answer of each image, the least probable first."""
    probabilities = np.where(predictions.predicted, predictions.probabilities, 1 - predictions.probabilities)  # (N, C)
    rows = np.argsort(probabilities.min(axis=1), kind="stable")[:count]
    return [(int(row), int(probabilities[row].argmin())) for row in rows]


def _either(classes: Sequence[str], probabilities: np.ndarray, first: int, second: int) -> tuple[Side, Side]:
    """Evidence for one class beside evidence for another."""
    one, other = (
        Side(int(label), 1, f"for {classes[label]}: {percent(probabilities[label])}") for label in (first, second)
    )
    return one, other


def _for_and_against(classes: Sequence[str], probabilities: np.ndarray, label: int) -> tuple[Side, Side]:
    """Evidence for a label beside evidence against it."""
    name, probability = classes[label], probabilities[label]
    return (
        Side(label, 1, f"for {name}: {percent(probability)}"),
        Side(label, -1, f"against {name}: {percent(1 - probability)}"),
    )


def _runner_up(probabilities: np.ndarray) -> int:
    return int(np.argsort(-probabilities, kind="stable")[1])

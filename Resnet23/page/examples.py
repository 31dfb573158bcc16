"""Single test images beside what the network made of them."""

from dataclasses import dataclass

import numpy as np

from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.page.embedding import embed_thumbnail
from Resnet23.page.sampling import spread_rows
from Resnet23.predictions import Predictions
from Resnet23.results import Results

EXAMPLES = 6  # right and wrong predictions shown, of each
TOP = 3  # classes listed under an example


@dataclass(frozen=True)
class Example:
    """One test image and what the network made of it."""

    source: str  # data: URL
    file: str
    label: str
    predicted: str
    right: bool
    guesses: list[tuple[str, float]]  # the TOP classes, and all labels that were given, with their probabilities


def choose_examples(results: Results) -> list[Example]:
    """Right, then wrong predictions, each picked at equal distances over the test split."""
    predictions, images = results.predictions, results.features.test.images
    return [
        _example(predictions, images, int(row))
        for group in (predictions.right, ~predictions.right)
        for row in spread_rows(np.flatnonzero(group), EXAMPLES)
    ]


def _example(predictions: Predictions | MultilabelPredictions, images: np.ndarray, row: int) -> Example:
    order = np.argsort(-predictions.probabilities[row], kind="stable")[:TOP]
    label, predicted = predictions.labels[row], predictions.predicted[row]
    if isinstance(predictions, MultilabelPredictions):
        order = [*order, *(number for number in np.flatnonzero(predicted) if number not in order)]
        label, predicted = (", ".join(predictions.names(given)) or "no label" for given in (label, predicted))
    else:
        label, predicted = predictions.classes[label], predictions.classes[predicted]
    return Example(
        source=embed_thumbnail(images[row]),
        file=predictions.files[row],
        label=label,
        predicted=predicted,
        right=bool(predictions.right[row]),
        guesses=[(predictions.classes[number], float(predictions.probabilities[row, number])) for number in order],
    )

"""What a run is bad at and what limits it, in sentences that are computed from its figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from Resnet23.figures.findings import counted, gap_finding, superclass_finding
from Resnet23.figures.multilabel_findings import multilabel_gap_finding
from Resnet23.model_cards.intervals import Estimate, share
from Resnet23.model_cards.measured import ClassRow, answers
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.results import Results

WEAKEST = 3
CONFUSIONS = 5
FEW_IMAGES = 50  # in the test split: the interval of a recall of 80% is then wider than 20 points
UNEVEN = 2.0  # the largest class has so many times the images of the smallest
OVERUSED = 1.25  # a class is given so many times as often as it is there
SURE = 0.9  # a confidence that looks like certainty


def interval(estimate: Estimate | None, is_share: bool = True) -> str:
    """A figure with its interval as text: "81.9% (79.4 to 84.2%)", "0.812 (0.790 to 0.834)"; "-" for None."""
    if estimate is None:
        return "-"
    scale, unit, digits = (100, "%", 1) if is_share else (1, "", 3)
    text = f"{scale * estimate.value:.{digits}f}{unit}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} ({scale * estimate.low:.{digits}f} to {scale * estimate.high:.{digits}f}{unit})"


def weakest_classes(rows: Sequence[ClassRow], is_multilabel: bool) -> list[str]:
    """A sentence for each of the classes of lowest recall, or labels of lowest F1, that are not perfect."""
    there = [row for row in rows if row.images]
    ranked = sorted(there, key=lambda row: row.f1.value if is_multilabel else row.found / row.images)
    imperfect = [row for row in ranked if row.found < row.images or row.given > row.found]
    return [_weakness(row) for row in imperfect[:WEAKEST]]


def _weakness(row: ClassRow) -> str:
    wrong = row.given - row.found
    wrongly = (
        f"{wrong:,} of the {counted(row.given, 'image')} called so {verb(wrong)} called so wrongly"
        if wrong
        else "none is called so wrongly"
    )
    return (
        f"{row.name}: {row.found:,} of {counted(row.images, 'test image')} {verb(row.found)} found, a recall of "
        f"{interval(row.recall)}, and {wrongly} (F1 {interval(row.f1, is_share=False)})."
    )


def verb(number: int) -> str:
    """What follows a number of things."""
    return "is" if number == 1 else "are"


def confusions(results: Results) -> list[str]:
    """A sentence for each of the most frequent mistakes of one kind."""
    if isinstance(results.predictions, MultilabelPredictions):
        return label_confusions(results.predictions)
    counts = np.array(results.metrics["confusion_matrix"])  # (C, C) true classes in rows
    classes = results.predictions.classes
    mistakes = counts - np.diag(np.diag(counts))
    return [
        f"{classes[true]} is taken for {classes[taken]} in {mistakes[true, taken]:,} of "
        f"{counted(int(counts[true].sum()), 'image')}."
        for true, taken in _largest(mistakes)
    ]


def label_confusions(predictions: MultilabelPredictions) -> list[str]:
    """The pairs of labels of which one was missed and the other wrongly given, in the same image."""
    true, given = answers(predictions)
    missed, false = (true & ~given).astype(int), (~true & given).astype(int)
    together = missed.T @ false  # (C, C) images
    return [
        f"{predictions.classes[row]} is missed and {predictions.classes[column]} given in its stead in "
        f"{counted(int(together[row, column]), 'image')}, of {missed[:, row].sum():,} in which "
        f"{predictions.classes[row]} is missed."
        for row, column in _largest(together)
    ]


def _largest(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """The places of the largest numbers, the first of equals first; zeros are left out."""
    for place in np.argsort(-counts, axis=None, kind="stable")[:CONFUSIONS]:
        row, column = np.unravel_index(place, counts.shape)
        if counts[row, column]:
            yield int(row), int(column)


def limits(results: Results, rows: Sequence[ClassRow], params: Mapping[str, Any]) -> list[str]:
    """Everything in the figures that speaks against trusting the model blindly, a sentence each."""
    is_multilabel = isinstance(results.predictions, MultilabelPredictions)
    gap = multilabel_gap_finding if is_multilabel else gap_finding
    sentences = [
        gap(results.metrics),
        _sureness(results),
        _spread_of_recall(rows),
        *_overused(rows),
        *_imbalance(rows),
        *_few_test_images(rows, "label" if is_multilabel else "class"),
        *_leaks(results.features.info),
        *_selection(results),
        f"One training with one seed ({params.get('seed', 'not recorded')}) was measured. How much another seed would "
        "change is not known from this run, and the intervals say nothing of it.",
    ]
    if "per_superclass" in results.metrics:
        sentences.insert(1, superclass_finding(results.metrics["per_superclass"]) + ".")
    return [sentence for sentence in sentences if sentence]


def _sureness(results: Results) -> str:
    """How often a confident answer is wrong."""
    predictions = results.predictions
    sure = predictions.confidence >= SURE
    if not sure.any():
        return f"No answer on the test images has a confidence of {SURE:.0%} or more."
    right = share(int((predictions.right & sure).sum()), int(sure.sum()))
    wrong = int((~predictions.right).sum())
    among = int((~predictions.right & sure).sum())
    start = (
        f"Of {counted(int(sure.sum()), 'answer')} with a confidence of {SURE:.0%} or more, {interval(right)} are right"
    )
    return f"{start}; {among:,} of {counted(wrong, 'mistake')} {verb(among)} among them." if wrong else f"{start}."


def _spread_of_recall(rows: Sequence[ClassRow]) -> str:
    """Whether the classes fare differently, beyond what the number of test images explains."""
    there = [row for row in rows if row.recall]
    best = max(there, key=lambda row: row.recall.value)
    worst = min(there, key=lambda row: row.recall.value)
    if best.recall.value == worst.recall.value:
        return ""
    start = (
        f"It does not treat all alike: {worst.name} is found in {interval(worst.recall)} of its images, {best.name} in "
        f"{interval(best.recall)}"
    )
    if worst.recall.high < best.recall.low:
        return f"{start}, a difference that the number of test images does not explain."
    return f"{start}; the intervals overlap, so that the difference may be chance."


def _overused(rows: Sequence[ClassRow]) -> Iterator[str]:
    """The class that is given most beyond its share."""
    there = [row for row in rows if row.images]
    most = max(there, key=lambda row: row.given / row.images)
    if most.given > OVERUSED * most.images:
        yield (
            f"It leans towards {most.name}, which it gives to {counted(most.given, 'test image')} although "
            f"{most.images:,} have it: in doubt it says {most.name} too often."
        )


def _imbalance(rows: Sequence[ClassRow]) -> Iterator[str]:
    """Whether some classes had many more training images than others."""
    largest, smallest = (choose(rows, key=lambda row: row.training_images) for choose in (max, min))
    if largest.training_images > UNEVEN * smallest.training_images:
        yield (
            f"Training images are unevenly spread: {largest.training_images:,} of {largest.name}, "
            f"{smallest.training_images:,} of {smallest.name}."
        )


def _few_test_images(rows: Sequence[ClassRow], noun: str) -> Iterator[str]:
    """The classes, or labels, whose figures rest on few images, or none."""
    few = sorted((row for row in rows if row.images < FEW_IMAGES), key=lambda row: row.images)
    if few:
        least = few[0]
        what = f"a recall of {interval(least.recall)}" if least.images else "nothing is known of it"
        yield (
            f"The figures of {len(few)} of {counted(len(rows), noun)} rest on fewer than {FEW_IMAGES} test images "
            f"each. The fewest, {least.images}, are of {least.name}: {what}."
        )


def _leaks(info: Mapping[str, Any]) -> Iterator[str]:
    """Test images that were in the training images."""
    same, near = (info["duplicates"][kind]["train-test"]["count"] for kind in ("identical", "near_identical"))
    for count, what in ((same, "identical"), (near, "nearly identical")):
        if count:
            yield (
                f"In {counted(count, 'pair')} of a training and a test image both are {what}: there the test measures "
                "memory."
            )


def _selection(results: Results) -> Iterator[str]:
    """What the validation images were used for."""
    is_multilabel = isinstance(results.predictions, MultilabelPredictions)
    chosen = "the epoch, the temperature and the thresholds" if is_multilabel else "the epoch and the temperature"
    if results.validation.files:
        yield (
            f"The validation images chose {chosen}, so that the figures on them are a little too good; the test images "
            "chose nothing in this run. Whether the recipe was chosen by them earlier, this run cannot say."
        )
    else:
        yield "There were no validation images: the last epoch was kept, and its probabilities are not calibrated."

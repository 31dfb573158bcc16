"""The epoch that is kept, and that it survives being saved."""

import io
import math

import pytest
import torch
from small_fit import assert_equal
from torch import nn

from Resnet23.history import EpochRecord, best_epoch
from Resnet23.modeling.evaluate import Evaluation
from Resnet23.modeling.selection import FitResult


def result_of(*validations: tuple[float, float] | None) -> FitResult:
    """The result of epochs with these validation accuracies and losses; the weight of epoch n is n."""
    result, model = FitResult(), nn.Linear(1, 1)
    for epoch, pair in enumerate(validations, start=1):
        nn.init.constant_(model.weight, epoch)
        accuracy, loss = pair or (None, None)
        evaluation = Evaluation(loss, accuracy, *[torch.full((2, 3), float(epoch))] * 3) if pair else None
        result.add(EpochRecord(epoch, 1.0, 0.5, loss, accuracy, 0.1, 1.0, 90.0, 0.1), model, evaluation)
    return result


@pytest.mark.parametrize(
    ("validations", "best"),
    [
        ([(0.5, 1.0), (0.7, 3.0), (0.6, 0.1)], 2),  # accuracy counts
        ([(0.7, 1.0), (0.7, 0.8), (0.7, 0.9)], 2),  # of equals the loss
        ([(0.7, 0.8), (0.7, 0.8), (0.1, 0.1)], 1),  # of those the first
        ([(0.1, 1.0), (0.2, 1.0), (0.3, 1.0)], 3),
        ([(0.0, math.inf), (0.0, 5.0)], 2),
        ([None, None, None], 3),
    ],
)
def test_the_best_epoch_is_kept_with_its_weights_and_what_it_said(validations, best):
    result = result_of(*validations)
    assert result.best_epoch == best
    assert result.state_dict["weight"].item() == best
    assert (result.validation is None) == (validations[0] is None)
    assert result.validation is None or (result.validation.accuracy, result.validation.loss) == validations[best - 1]
    assert result.epochs_without_progress() == len(validations) - best


def test_with_labels_their_mean_average_precision_counts():
    """Every label right is rare at first, and says little."""
    result, model = FitResult(), nn.Linear(1, 1)
    for epoch, (accuracy, loss, precision) in enumerate([(0.3, 0.1, 0.5), (0.1, 2.0, 0.7), (0.2, 1.0, 0.7)], start=1):
        evaluation = Evaluation(loss, accuracy, *[torch.zeros(2, 3)] * 3, mAP=precision)
        result.add(EpochRecord(epoch, 1.0, 0.5, loss, accuracy, 0.1, 1.0, 90.0, 0.1, precision), model, evaluation)
    assert result.best_epoch == 3
    columns = {name: [getattr(row, name) for row in result.history] for name in vars(result.history[0])}
    assert best_epoch(columns) == 2
    again = FitResult.from_plain(result.to_plain())
    assert (again.validation.mAP, again.history) == (0.7, result.history)


@pytest.mark.parametrize("seed", range(20))
def test_the_history_names_the_same_epoch(seed):
    """history.best_epoch tells the figures from history.csv what was decided here."""
    numbers = torch.randint(3, (8, 2), generator=torch.Generator().manual_seed(seed)).tolist()
    result = result_of(*[(accuracy / 2, loss / 2) for accuracy, loss in numbers])
    columns = {name: [getattr(row, name) for row in result.history] for name in vars(result.history[0])}
    assert best_epoch(columns) == result.best_epoch - 1


def test_training_on_does_not_change_the_kept_weights():
    model, result = nn.Linear(1, 1), FitResult()
    result.add(EpochRecord(1, 1.0, 0.5, None, None, 0.1, 1.0, 90.0, 0.1), model, None)
    kept = result.state_dict["weight"].clone()
    nn.init.constant_(model.weight, 7.0)
    assert torch.equal(result.state_dict["weight"], kept)


@pytest.mark.parametrize("validations", [[], [(0.5, 1.0), (0.25, 1 / 3)], [None, None]])
def test_it_is_saved_as_plain_values_and_comes_back_as_it_was(validations):
    result, file = result_of(*validations), io.BytesIO()
    torch.save(result.to_plain(), file)
    file.seek(0)
    again = FitResult.from_plain(torch.load(file, weights_only=True))
    assert (again.history, again.best_epoch) == (result.history, result.best_epoch)
    assert_equal(again.state_dict, result.state_dict)
    assert (again.validation is None) == (result.validation is None)
    if result.validation:
        for name, value in vars(result.validation).items():
            found = getattr(again.validation, name)
            assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value

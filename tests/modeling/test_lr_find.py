"""The learning-rate finder: the rates it tries, when it stops, what it suggests, and what it leaves alone."""

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from Resnet23 import features as features_stage
from Resnet23.config import PhaseParams, TrainParams
from Resnet23.datadownload import main as datadownload
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.figures.range_test import plot_range_test, range_test_finding
from Resnet23.modeling import lr_find
from Resnet23.modeling.batches import Batch
from Resnet23.modeling.fit import Training
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.lr_find import RangeTest, range_test, range_test_params, smooth
from Resnet23.modeling.zoo import create_model

RATES = np.geomspace(1e-5, 10, 200)


def valley(steepest: float, noise: float = 0.0) -> RangeTest:
    """A loss that falls fastest at the rate `steepest`, from 2 to 1, and rises steeply a decade later."""
    position = np.log10(RATES / steepest)
    losses = 2 - 1 / (1 + np.exp(-6 * position)) + 10 ** (4 * (position - 1.2))
    return RangeTest(RATES, losses + noise * np.random.default_rng(0).standard_normal(len(RATES)))


def training(squares, **changes) -> Training:
    params = TrainParams(**{"device": "cpu", "precision": "fp32", "batch_size": 32, **changes})
    model = create_model("resnet10", num_classes=3, width=4)
    return Training(model, squares, None, get_task("multiclass"), 3, range_test_params(params, 1e-4, epochs=7), seed=0)


@pytest.mark.parametrize("steepest", [1e-3, 0.03, 0.2])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_rate_of_the_steepest_fall_is_suggested(steepest, noise):
    assert valley(steepest, noise).suggestion == pytest.approx(steepest, rel=0.3)


def test_a_second_fall_after_a_rise_is_not_suggested():
    first = valley(0.01)
    losses = np.where(RATES < 1, first.losses, np.linspace(4, 0.1, 200))
    assert RangeTest(RATES, losses).suggestion == first.suggestion


def test_smoothing_neither_shifts_a_curve_nor_moves_a_constant():
    losses = valley(0.03).losses[:140]
    assert np.allclose(smooth(RATES[:140], losses), losses, atol=0.05)
    assert np.allclose(smooth(RATES, np.full(200, 2.0)), 2.0)


def test_of_a_loss_that_does_not_fall_nothing_is_suggested():
    assert RangeTest(RATES, np.linspace(2, 3, 200)).suggestion is None
    assert RangeTest(RATES, 2 + 0.1 * np.random.default_rng(0).standard_normal(200)).suggestion is None


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_the_rate_rises_geometrically_whatever_the_schedule(squares, schedule):
    result = range_test(training(squares, schedule=schedule, warmup_epochs=2.0), factor=1e3, steps=20)
    assert np.allclose(result.rates, np.geomspace(1e-4, 0.1, 20))
    assert np.isfinite(result.losses).all()


def test_stages_with_rates_of_their_own_keep_their_proportions(squares):
    run = training(squares, phases=[PhaseParams(learning_rate=0.5, rate_decay_by_depth=0.5)])
    range_test(run, factor=1e3, steps=20)
    rates = sorted({group["lr"] for group in run.optimizer.param_groups}, reverse=True)
    assert len(rates) > 2
    assert np.allclose(np.divide(rates[1:], rates[:-1]), 0.5)


@pytest.mark.parametrize(("loss", "steps"), [(1e6, 16), (math.nan, 15), (2.1, 20)])
def test_it_ends_when_the_loss_diverges(squares, monkeypatch, loss, steps):
    run = training(squares)
    losses = iter([2.0] * 15 + [loss] * 5)

    def train_batch(batch: Batch) -> torch.Tensor:
        run.optimizer.step()
        run.schedule.step()
        return torch.tensor(next(losses) * batch.total)

    monkeypatch.setattr(run, "train_batch", train_batch)
    assert len(range_test(run, factor=1e3, steps=20).losses) == steps


def test_a_loss_that_is_never_a_number_is_reported(squares, monkeypatch):
    run = training(squares)
    monkeypatch.setattr(run, "train_batch", lambda batch: torch.tensor(math.nan))
    with pytest.raises(Resnet23Error, match="--lowest"):
        range_test(run, factor=1e3, steps=20)


def test_the_command_writes_a_table_and_a_figure_and_touches_nothing_else(project: Path, capsys):
    datadownload()
    features_stage.main()
    before = all_files(project)
    lr_find.main(steps=20)
    assert all_files(project) - before == {"reports/extras/lr_finder.csv", "reports/extras/lr_finder.png"}
    with open(lr_find.TABLE_FILE, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["learning_rate", "loss", "smoothed_loss"]
    assert float(rows[1][0]) == pytest.approx(1e-5)
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert lr_find.FIGURE_FILE.read_bytes().startswith(b"\x89PNG")


def all_files(folder: Path) -> set[str]:
    """The files below a folder."""
    return {os.path.relpath(os.path.join(path, name), folder) for path, _, names in os.walk(folder) for name in names}


@pytest.mark.usefixtures("project")
def test_rates_that_do_not_rise_are_refused():
    with pytest.raises(InputError, match=r"--lowest 1, --highest 0\.1"):
        lr_find.main(lowest=1.0, highest=0.1)


def draw(result: RangeTest) -> Figure:
    return plot_range_test(result.rates, result.losses, result.smoothed, result.suggestion, 0.1)


def test_the_figure_marks_the_suggestion_and_keeps_it_in_the_picture():
    result = valley(0.03)
    axes = draw(result).axes[0]
    assert f"suggested: {result.suggestion:g}" in {text.get_text() for text in axes.texts}
    left, right = axes.get_xlim()
    assert left < result.suggestion < right < RATES[-1]
    assert axes.get_ylim()[1] < 3  # and the diverged losses out of it


def test_without_a_suggestion_the_figure_says_so():
    result = RangeTest(RATES, np.linspace(2, 3, 200))
    assert not draw(result).axes[0].texts
    assert "At no learning rate" in range_test_finding(result.rates, result.smoothed, None)

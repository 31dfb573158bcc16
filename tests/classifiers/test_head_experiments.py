"""Heads on the images of a project: the right images, the right figures."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from small_features import make_features
from small_project import SHRUNK
from torch import nn

from Resnet23.arrays import read_features
from Resnet23.classifiers.encoders import Encoder
from Resnet23.classifiers.experiments import (
    EncodedProject,
    HeadOptions,
    mean_figures,
    train_all_binary,
    train_binary,
    train_multiclass,
)
from Resnet23.classifiers.objectives import binary_objective
from Resnet23.errors import InputError
from Resnet23.modeling.checkpoint import Preprocessing

QUIET = {"on_epoch": lambda epoch: None}


@pytest.fixture
def digits(no_project):
    """A few digits, seen through an encoder that gives their 64 pixels."""
    make_features(no_project, SHRUNK)
    encoder = Encoder(nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten()), Preprocessing(8, "crop", [0.0] * 3, [0.5] * 3))
    return EncodedProject(encoder, read_features(), torch.device("cpu"), batch_size=16, seed=0)


def test_images_are_normalised_as_the_encoder_says(digits):
    images, labels = next(iter(digits.loader("test")))
    raw = torch.from_numpy(np.array(digits.features.test.images[:16])).permute(0, 3, 1, 2)
    assert torch.allclose(images, raw / 255 / 0.5)
    assert labels.tolist() == digits.features.test.targets[:16].tolist()
    assert digits.input_features == 64
    assert digits.preprocessing == Preprocessing(8, "crop", [0.0] * 3, [0.5] * 3)


def test_no_image_is_in_two_parts_and_few_are_spread_over_all(digits):
    train, val = (set(digits.dataset(part).rows.tolist()) for part in ("train", "val"))
    assert train.isdisjoint(val)
    assert len(train | val) == len(digits.features.train)
    few = digits.dataset("train", 20)
    assert len(few) == 20 == len(set(few.rows.tolist()))
    assert set(few.targets.tolist()) == set(range(10))


def test_a_head_for_all_classes_learns_and_is_the_same_again(digits):
    results = [train_multiclass(digits, HeadOptions(epochs=10), **QUIET) for _ in range(2)]
    assert results[0].test.accuracy > 50
    assert torch.equal(results[0].test.logits, results[1].test.logits)


def test_the_figures_are_those_of_the_test_images_at_the_threshold_of_the_validation_images(digits):
    result = train_binary(digits, HeadOptions(epochs=10), 3, **QUIET)
    test = digits.evaluate(result.head, binary_objective(), "test", 3)
    probabilities, targets = test.logits[:, 0].sigmoid().numpy(), digits.features.test.targets == 3
    answers = probabilities >= result.threshold
    assert result.fitted.balanced_accuracy == pytest.approx(balanced_accuracy_score(targets, answers))
    assert result.plain.balanced_accuracy == pytest.approx(balanced_accuracy_score(targets, probabilities >= 0.5))
    assert result.plain.auroc == pytest.approx(roc_auc_score(targets, probabilities))
    assert result.plain.always_rest == pytest.approx(0.9)


def test_all_binary_heads_come_in_the_order_of_the_classes(digits):
    results = train_all_binary(digits, HeadOptions(epochs=10), **QUIET)
    assert [result.target for result in results] == list(range(10))
    means = mean_figures(results)
    assert means["mean_auroc"] == pytest.approx(np.mean([result.plain.auroc for result in results]))
    assert means["mean_auroc"] > 0.8
    test = digits.evaluate(results[7].head, binary_objective(), "test", 7)
    again = roc_auc_score(test.targets.numpy(), test.logits[:, 0].numpy())
    assert results[7].plain.auroc == pytest.approx(again)


@pytest.mark.parametrize("target", [3, None])
def test_class_weights_make_a_head_say_yes_more_often(digits, target):
    def share_of_yes(class_weights):
        options = HeadOptions(epochs=2, class_weights=class_weights)
        results = (
            train_all_binary(digits, options, **QUIET)
            if target is None
            else [train_binary(digits, options, target, **QUIET)]
        )
        evaluated = [digits.evaluate(result.head, binary_objective(), "test", result.target) for result in results]
        return np.mean([(test.logits > 0).float().mean() for test in evaluated])

    assert share_of_yes(True) > share_of_yes(False) + 0.1


def test_heads_need_validation_images(no_project):
    make_features(no_project, [*SHRUNK, "features.val_fraction=0"])
    with pytest.raises(InputError, match=r"val_fraction above 0.*make features"):
        EncodedProject(Encoder(nn.Flatten()), read_features(), torch.device("cpu"), batch_size=16, seed=0)

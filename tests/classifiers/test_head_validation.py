"""Validation is a plain forward pass over all images, in percent."""

import pytest
import torch
from small_encoders import CLASSES, FEATURES, LabelledImages, binary_loaders, counting_encoder, loaders
from torch import nn
from torch.utils.data import DataLoader

from Resnet23.classifiers import (
    create_binary_classifier_head,
    create_multiclass_classifier_head,
    validate_binary_classifier,
    validate_multiclass_classifier,
)
from Resnet23.classifiers.objectives import one_vs_rest_objective
from Resnet23.classifiers.stacked import StackedHeads
from Resnet23.classifiers.validation import evaluate_head
from Resnet23.errors import InputError


def test_the_mean_over_all_images_whatever_the_batches(lines):
    encoder, head = counting_encoder().eval(), create_multiclass_classifier_head(FEATURES, 16, num_classes=CLASSES)
    test = DataLoader(LabelledImages(37, 5), 16, shuffle=True)
    found = validate_multiclass_classifier(encoder, head.train(), test, "cpu")
    logits, targets = head.eval()(encoder(test.dataset.images)), torch.tensor(test.dataset.targets)
    accuracy = 100 * (logits.argmax(dim=1) == targets).float().mean().item()
    assert found == pytest.approx((nn.functional.cross_entropy(logits, targets).item(), accuracy), rel=1e-5)


def test_a_binary_head_decides_at_a_logit_of_0(lines):
    encoder, head = counting_encoder().eval(), create_binary_classifier_head(FEATURES, 16)
    _, test = binary_loaders()
    found = validate_binary_classifier(encoder, head.train(), test, "cpu")
    logits = head.eval()(encoder(test.dataset.dataset.images)).squeeze(1)
    targets = torch.tensor(test.dataset.targets)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, targets).item()
    assert found == pytest.approx((loss, 100 * ((logits > 0) == (targets == 1)).float().mean().item()), rel=1e-5)


def test_stacked_heads_are_judged_as_their_mean(lines):
    encoder, heads = counting_encoder(), [create_binary_classifier_head(FEATURES, 16) for _ in range(CLASSES)]
    together = evaluate_head(encoder, StackedHeads(heads), one_vs_rest_objective(), loaders()[1], "cpu")
    alone = [
        validate_binary_classifier(encoder, head, binary_loaders(target)[1], "cpu") for target, head in enumerate(heads)
    ]
    assert together.loss == pytest.approx(sum(loss for loss, _ in alone), rel=1e-4)
    assert together.accuracy == pytest.approx(sum(accuracy for _, accuracy in alone) / CLASSES, rel=1e-4)
    assert together.logits.shape == (30, CLASSES)


def test_heads_that_do_not_fit_are_refused(lines):
    test = loaders()[1]
    with pytest.raises(InputError, match="found 512, but the encoder CountingEncoder gives 32"):
        validate_binary_classifier(counting_encoder(), create_binary_classifier_head(), test, "cpu")
    with pytest.raises(InputError, match="gives 4 logits for each image, expected 1"):
        head = create_multiclass_classifier_head(FEATURES, 16, num_classes=4)
        validate_binary_classifier(counting_encoder(), head, test, "cpu")
    with pytest.raises(InputError, match="Tanh has no linear layer"):
        validate_binary_classifier(counting_encoder(), nn.Tanh(), test, "cpu")

"""Labels of one class against the rest, and what evens out that the rest is larger."""

import numpy as np
import pytest
import torch
from small_encoders import LabelledImages
from torch.utils.data import DataLoader

from Resnet23.classifiers import one_vs_rest
from Resnet23.classifiers.balance import balanced_sampler, positive_weights
from Resnet23.errors import InputError


@pytest.mark.parametrize("kind", [list, np.asarray, torch.tensor], ids=["list", "array", "tensor"])
def test_one_class_is_1_and_the_rest_is_0(kind):
    data = LabelledImages(10)
    data.targets = kind(data.targets)
    before = list(data.targets)
    binary = one_vs_rest(data, 2)
    assert [binary[index][1] for index in range(10)] == binary.targets == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    assert {type(label) for label in binary.targets} == {float}
    assert torch.equal(binary[2][0], data.images[2])
    assert len(binary) == 10
    assert list(data.targets) == before
    assert int(data[2][1]) == 2


def test_an_absent_class_is_refused_with_the_list_of_classes():
    with pytest.raises(InputError, match=r"found 7, which no image has; the classes are 0, 1, 2, 3$"):
        one_vs_rest(LabelledImages(), 7)


def test_a_data_set_without_targets_is_refused():
    with pytest.raises(InputError, match=r"list has no `\.targets`"):
        one_vs_rest([(torch.zeros(3, 4, 4), 1)], 1)


def test_weights_make_both_sides_of_every_question_equal():
    targets = [0] * 6 + [1] * 3 + [2]
    assert positive_weights(targets, 3) == pytest.approx([4 / 6, 7 / 3, 9])
    with pytest.raises(InputError, match="no image is of class 3"):
        positive_weights(targets, 4)


def test_the_balanced_sampler_draws_each_class_equally_often():
    binary = one_vs_rest(LabelledImages(400), 1)
    sampler = balanced_sampler(binary.targets, generator=torch.Generator().manual_seed(0))
    labels = torch.cat([labels for _, labels in DataLoader(binary, 50, sampler=sampler)])
    assert len(labels) == 400
    assert labels.mean() == pytest.approx(0.5, abs=0.08)

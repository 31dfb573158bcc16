"""Changing some images of a batch."""

import torch

from Resnet23.augmentation.imagewise import change_some, per_image


def test_the_chosen_images_change_by_their_own_amounts_and_the_others_stay():
    images = torch.rand(4, 3, 5, 6)
    before = images.clone()
    chosen, amounts = torch.tensor([True, False, False, True]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    seen = []

    def add(some, values):
        seen.append(len(some))
        return some + per_image(values, some)

    changed = change_some(images, chosen, add, amounts)
    assert seen == [2]
    assert torch.equal(changed[0], before[0] + 1) and torch.equal(changed[3], before[3] + 4)
    assert torch.equal(changed[1:3], before[1:3])
    assert torch.equal(images, before)


def test_nothing_is_computed_when_none_is_chosen():
    images = torch.rand(2, 3, 4, 4)
    assert torch.equal(change_some(images, torch.zeros(2, dtype=torch.bool), None), images)


def test_numbers_get_the_type_of_the_images_and_truths_keep_theirs():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.float16)
    assert per_image(torch.ones(2), images).dtype == torch.float16
    assert per_image(torch.tensor([True, False]), images).dtype == torch.bool
    assert per_image(torch.ones(2), images).shape == (2, 1, 1, 1)

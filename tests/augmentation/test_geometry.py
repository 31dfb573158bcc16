"""Where pixels go, on batches, against torchvision one image at a time."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from Resnet23.augmentation import geometry

LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(params=LAYOUTS, ids=["contiguous", "channels_last"])
def images(request) -> torch.Tensor:
    """Smooth random pictures (6, 3, 16, 20), so that interpolation has something to work on."""
    coarse = torch.rand(6, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(16, 20), mode="bilinear").contiguous(memory_format=request.param)


def test_mirror_turns_the_named_images_alone(images):
    mirrored = torch.tensor([True, False, True, False, False, True])
    found = geometry.mirror(images, mirrored)
    assert torch.equal(found[mirrored], reference.horizontal_flip(images[mirrored]))
    assert torch.equal(found[~mirrored], images[~mirrored])


@pytest.mark.parametrize(("mode", "padding_mode"), [("reflect", "reflect"), ("zero", "constant")])
def test_crop_equals_padding_and_cutting(images, mode, padding_mode):
    offsets = torch.tensor([[0, 0], [8, 8], [4, 4], [1, 7], [3, 0], [5, 2]])
    padded = reference.pad(images, [4, 4], padding_mode=padding_mode)
    found = geometry.crop_by(images, 4, mode, offsets)
    for index, (row, column) in enumerate(offsets.tolist()):
        assert torch.equal(found[index], reference.crop(padded[index], row, column, 16, 20))


def test_resized_crop_equals_torchvision(images):
    boxes = torch.tensor([[0, 0, 16, 20], [3, 5, 8, 10], [0, 0, 1, 1], [15, 0, 1, 20], [2, 13, 11, 7], [9, 9, 7, 11]])
    found = geometry.resized_crop_by(images, boxes)
    for index, (top, left, height, width) in enumerate(boxes.tolist()):
        expected = reference.resized_crop(images[index], top, left, height, width, [16, 20])
        assert torch.allclose(found[index], expected, atol=1e-5), index


def test_affine_equals_torchvision(images):
    degrees = torch.tensor([0.0, 15.0, -15.0, 90.0, 7.0, 0.0])
    shifts = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.1, -0.25], [0.0, 0.0], [0.05, 0.125], [0.2, 0.25]])
    found = geometry.affine_by(images, degrees, shifts)
    for index in range(len(images)):
        expected = reference.affine(
            images[index],
            angle=degrees[index].item(),
            translate=[shifts[index, 0].item() * 20, shifts[index, 1].item() * 16],
            scale=1.0,
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        assert torch.allclose(found[index], expected, atol=1e-4), index


def test_inside_marks_the_box_of_each_image(images):
    boxes = torch.tensor([[2, 3, 5, 9], [-4, -4, 2, 2], [10, 15, 30, 30], [0, 0, 16, 20], [4, 4, 4, 9], [20, 0, 30, 9]])
    marks = geometry.inside(boxes, images)
    assert marks.shape == (6, 1, 16, 20)
    assert marks.flatten(1).sum(dim=1).tolist() == [18, 4, 30, 320, 0, 0]
    assert marks[0, 0, 2:5, 3:9].all()

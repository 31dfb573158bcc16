"""The three forms in which layers keep the places of an image."""

import pytest
import torch

from Resnet23.explaining.grids import from_grid, grid_side, to_grid

FORMS = {
    "channels first": (2, 5, 4, 4),
    "channels last": (2, 4, 4, 5),
    "tokens": (2, 16, 5),
    "with class token": (2, 17, 5),
}


@pytest.mark.parametrize("shape", FORMS.values(), ids=FORMS)
def test_a_grid_is_found_changed_and_put_back(shape):
    output = torch.randn(shape)
    grid = to_grid(output)
    assert grid_side(output) == 4
    assert grid.shape == (2, 5, 4, 4)
    assert torch.equal(from_grid(grid, output), output)
    changed = from_grid(grid + 1, output)
    assert (changed != output).sum() == grid.numel(), "the places of the image and nothing else"
    assert torch.allclose(to_grid(changed), grid + 1)


def test_places_keep_their_order():
    tokens = torch.cat([torch.full((1, 1, 1), -1.0), torch.arange(9.0).view(1, 9, 1)], dim=1)
    assert to_grid(tokens)[0, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    last = torch.arange(9.0).view(1, 3, 3, 1).expand(1, 3, 3, 2)
    assert to_grid(last)[0, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize(
    "output", [torch.zeros(2, 5), torch.zeros(2, 24, 5), torch.zeros(2, 3, 4, 5), (torch.zeros(2, 5, 4, 4),)]
)
def test_what_is_no_grid(output):
    assert grid_side(output) == 0

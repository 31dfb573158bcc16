"""Filter-normalised directions, the loss along them, and the largest eigenvalue of the Hessian."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, hessian

from Resnet23.dataset import FeatureDataset
from Resnet23.modeling.losses import get_task
from Resnet23.modeling.zoo import create_model
from Resnet23.studies import directions
from Resnet23.studies.directions import (
    draw_batches,
    filter_normalised,
    largest_curvature,
    measure_points,
    statistics_of_the_images,
)

TASK = get_task("multiclass")


def small_model(dropout: float = 0.0) -> nn.Module:
    """A ResNet-10 of width 4 whose BatchNorm has seen images."""
    torch.manual_seed(0)
    model = create_model(name="resnet10", num_classes=3, width=4, dropout=dropout, final_dropout=dropout).train()
    with torch.no_grad():
        model(3 * torch.randn(8, 3, 8, 8) + 1)
    return model


def tiny_model() -> nn.Module:
    """A network with few enough weights for an exact Hessian; smooth, as finite precision makes kinks matter."""
    torch.manual_seed(1)
    layers = nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Softplus(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 3)
    return nn.Sequential(*layers)


def random_batches(sizes=(12,), side: int = 8) -> list:
    generator = torch.Generator().manual_seed(2)
    return [
        (torch.randn(size, 3, side, side, generator=generator), torch.randint(3, (size,), generator=generator))
        for size in sizes
    ]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_filter_of_a_direction_is_as_long_as_the_filter_of_the_network():
    model = small_model()
    direction = filter_normalised(model, generator())
    for (name, weights), step in zip(model.named_parameters(), direction, strict=True):
        if weights.ndim == 1:  # biases, BatchNorm
            assert not step.any(), name
            continue
        for ours, theirs in zip(step, weights, strict=True):
            torch.testing.assert_close(torch.linalg.vector_norm(ours), torch.linalg.vector_norm(theirs.detach()))


def test_a_direction_has_the_same_numbers_whatever_the_weights():
    model = small_model()
    before = filter_normalised(model, generator())
    with torch.no_grad():
        model.conv1.weight *= 3
        model.conv1.weight[0] = 0
    after = filter_normalised(model, generator())
    torch.testing.assert_close(after[0][1:], 3 * before[0][1:])
    assert not after[0][0].any()
    torch.testing.assert_close(after[-2], before[-2])
    assert not torch.equal(filter_normalised(model, generator(1))[-2], after[-2])


def test_successive_directions_of_a_generator_differ():
    model, numbers = small_model(), generator()
    assert not torch.equal(filter_normalised(model, numbers)[0], filter_normalised(model, numbers)[0])


def test_the_loss_at_a_point_is_that_of_the_moved_network_with_the_statistics_of_the_images():
    model, (train, test) = small_model(dropout=0.5), random_batches((12, 7))
    pair = [filter_normalised(model, generator(seed)) for seed in range(2)]
    points = np.array([[0.0, 0.0], [0.5, -1.0]])
    found = measure_points(model, pair, points, TASK, [train], [test])

    moved = small_model()  # without dropout
    with torch.no_grad():
        for weights, first, second in zip(moved.parameters(), *pair, strict=True):
            weights += 0.5 * first - second
        for layer in moved.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0  # the statistics are those of the last batch
        logits = moved.train()(train[0])
        on_test = moved.eval()(test[0])
    expected = [
        F.cross_entropy(logits, train[1]).item(),
        (logits.argmax(1) == train[1]).float().mean().item(),
        F.cross_entropy(on_test, test[1]).item(),
        (on_test.argmax(1) == test[1]).float().mean().item(),
    ]
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)
    assert not np.allclose(found[0], found[1])


def test_the_scale_of_what_comes_before_batchnorm_changes_nothing():
    """Twice as long filters before BatchNorm are the same network, and so are steps twice as long."""
    model, batches = small_model(), random_batches()
    points = np.linspace(-1, 1, 5)[:, None]
    before = measure_points(model, [filter_normalised(model, generator())], points, TASK, batches)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight *= 2
    after = measure_points(model, [filter_normalised(model, generator())], points, TASK, batches)
    np.testing.assert_allclose(after, before, rtol=1e-3)


def test_several_batches_count_by_their_images():
    model, (first, second) = small_model(), random_batches((12, 4))
    still = [filter_normalised(model, generator())], np.zeros((1, 1)), TASK
    together, one, two = (measure_points(model, *still, batches)[0] for batches in ([first, second], [first], [second]))
    np.testing.assert_allclose(together, (12 * one + 4 * two) / 16)


def test_the_model_is_afterwards_what_it_was():
    model, batches = small_model(), random_batches()
    model.stages.eval()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    measure_points(model, [filter_normalised(model, generator())], np.ones((2, 1)), TASK, batches, batches)
    largest_curvature(model, TASK.loss, batches)
    with pytest.raises(RuntimeError, match="interrupted"), statistics_of_the_images(model):
        model(batches[0][0])
        raise RuntimeError("interrupted")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [module.training for module in model.modules()] == modes
    assert model.bn1.momentum == 0.1


def test_a_loss_that_is_no_number_is_nan():
    model = small_model()
    far = [[torch.full_like(weights, torch.inf) for weights in model.parameters()]]
    assert np.isnan(measure_points(model, far, np.ones((1, 1)), TASK, random_batches())[0, 0])


@pytest.mark.parametrize("sizes", [(12,), (12, 5)])
def test_the_largest_curvature_is_that_of_the_exact_hessian(sizes):
    model, batches = tiny_model(), random_batches(sizes, side=4)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    images = sum(sizes)

    def loss(flat):
        parts = flat.split([value.numel() for value in parameters.values()])
        named = {name: part.view_as(parameters[name]) for name, part in zip(parameters, parts, strict=True)}
        norm = nn.BatchNorm2d(2, track_running_stats=False)
        total = 0.0
        for inputs, targets in batches:
            x = F.conv2d(inputs, named["0.weight"], named["0.bias"])
            x = functional_call(norm, {"weight": named["1.weight"], "bias": named["1.bias"]}, (x,))
            logits = F.linear(F.softplus(x).flatten(1), named["5.weight"], named["5.bias"])
            total = total + F.cross_entropy(logits, targets, reduction="sum")
        return total / images

    exact = hessian(loss)(torch.cat([value.flatten() for value in parameters.values()]))
    largest = torch.linalg.eigvalsh(exact).max().item()
    assert largest_curvature(model, TASK.loss, batches) == pytest.approx(largest, rel=0.01)


def test_batches_are_the_same_images_each_time_and_cover_all_where_there_are_few(monkeypatch):
    monkeypatch.setattr(directions, "BATCH", 4)
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)
    data = FeatureDataset(images, np.arange(30), (0.5,) * 3, (0.25,) * 3)
    first, again = (draw_batches(data, 10, torch.device("cpu")) for _ in range(2))
    assert [len(targets) for _, targets in first] == [3, 3, 4]
    for (ours, targets), (theirs, _) in zip(first, again, strict=True):
        assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, torch.stack([data[int(row)][0] for row in targets]))
    everything = draw_batches(data, 100, torch.device("cpu"))
    assert torch.cat([targets for _, targets in everything]).tolist() == list(range(30))

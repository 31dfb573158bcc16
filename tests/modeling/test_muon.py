"""Muon for whole networks: the same steps as torch.optim.Muon on matrices, in either order of memory."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import AdamW, Optimizer

from Resnet23.config import TrainParams
from Resnet23.modeling.device import create_accelerator
from Resnet23.modeling.muon import Muon

RATE, DECAY = 0.02, 0.1
CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last


def small_net(memory_format: torch.memory_format = CONTIGUOUS) -> nn.Module:
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
        nn.Flatten(),
        nn.Linear(36, 3),
    )
    return nn.Sequential(*layers).to(memory_format=memory_format)


def groups(parameters: list[Tensor]) -> list[dict]:
    """Weights with weight decay, the others without and with a rate of their own."""
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": DECAY},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0, "lr": RATE / 2},
    ]


def create_muon(model: nn.Module, nesterov: bool = True) -> Muon:
    return Muon(groups(list(model.parameters())), lr=RATE, momentum=0.9, nesterov=nesterov)


def images_of(step: int) -> Tensor:
    return torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(step))


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> dict[str, Tensor]:
    """The parameters after some steps, each on data of its own."""
    for step in steps:
        optimizer.zero_grad()
        model(images_of(step)).square().sum().backward()
        optimizer.step()
    return dict(model.named_parameters())


def kernel_of(matrix: Tensor, kernel: Tensor) -> Tensor:
    """A matrix whose columns are in the order of a kernel's memory, as such a kernel (out, in, h, w)."""
    if kernel.is_contiguous():
        return matrix.view(kernel.shape)
    outs, ins, height, width = kernel.shape
    return matrix.view(outs, height, width, ins).permute(0, 3, 1, 2)


def reference(memory_format: torch.memory_format, nesterov: bool, steps: int) -> dict[str, Tensor]:
    """The parameters after some steps of torch.optim.Muon on matrices, of which the network's kernels are made."""
    model = small_net(memory_format)
    kernels = {name: kernel for name, kernel in model.named_parameters() if kernel.ndim == 4}
    others = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim != 4}
    matrices = {
        name: (kernel if kernel.is_contiguous() else kernel.permute(0, 2, 3, 1)).detach().flatten(1).clone()
        for name, kernel in kernels.items()
    }
    leaves = [matrix.requires_grad_() for matrix in matrices.values()]
    settings = {"momentum": 0.9, "nesterov": nesterov, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = [
        torch.optim.Muon(leaves, lr=RATE, weight_decay=DECAY, **settings),
        AdamW(groups(list(others.values())), lr=RATE),
    ]
    for step in range(steps):
        made = {name: kernel_of(matrix, kernels[name]) for name, matrix in matrices.items()}
        for optimizer in optimizers:
            optimizer.zero_grad()
        functional_call(model, made, images_of(step)).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    return {name: kernel_of(matrices[name], kernels[name]) for name in kernels} | others


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
def test_steps_equal_those_of_torch_on_matrices(memory_format, nesterov):
    model = small_net(memory_format)
    found = train(model, create_muon(model, nesterov), range(4))
    expected = reference(memory_format, nesterov, steps=4)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_the_order_of_memory_does_not_matter():
    models = small_net(CONTIGUOUS), small_net(CHANNELS_LAST)
    first, second = (train(model, create_muon(model), range(1)) for model in models)
    for name, value in first.items():  # up to the rounding of bfloat16, in which Muon orthogonalises
        assert torch.allclose(value, second[name], atol=0.05 * RATE), name


def test_moved_weights_keep_learning():
    """`Module.to` may give the weights new memory."""
    model, moved = small_net(), small_net()
    optimizer = create_muon(moved)
    for parameter in moved.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.preserve_format)
    expected = train(model, create_muon(model), range(2))
    for name, value in train(moved, optimizer, range(2)).items():
        assert torch.equal(value, expected[name]), name


def test_a_group_is_changed_through_its_own_keys():
    """As schedules do."""
    model = small_net()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = create_muon(model)
    optimizer.param_groups[0]["lr"] = 0.0
    after = train(model, optimizer, range(1))
    assert all(torch.equal(after[name], value) == (value.ndim >= 2) for name, value in before.items())


def test_a_parameter_without_gradient_stays():
    model = small_net()
    before = model[0].weight.detach().clone()
    optimizer = create_muon(model)
    model[0].weight.requires_grad_(False)
    assert torch.equal(train(model, optimizer, range(2))["0.weight"], before)


@pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST])
def test_a_loaded_state_continues_with_the_same_bits(memory_format):
    whole, first = small_net(memory_format), small_net(memory_format)
    expected = train(whole, create_muon(whole), range(6))
    optimizer = create_muon(first)
    train(first, optimizer, range(3))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = create_muon(first)
    other.load_state_dict(torch.load(file, weights_only=True))
    for name, value in train(first, other, range(3, 6)).items():
        assert torch.equal(value, expected[name]), name


def test_a_copy_is_independent_and_complete():
    model = small_net()
    optimizer = create_muon(model)
    train(model, optimizer, range(2))
    again, again_optimizer = copy.deepcopy((model, optimizer))
    expected = train(model, optimizer, range(2, 4))
    for name, value in train(again, again_optimizer, range(2, 4)).items():
        assert torch.equal(value, expected[name]), name


def test_accelerate_wraps_it():
    model, plain = small_net(), small_net()
    accelerator, _ = create_accelerator(TrainParams(device="cpu", precision="fp32"))
    wrapped_model, wrapped = accelerator.prepare(model, create_muon(model))
    assert [group["lr"] for group in wrapped.param_groups] == [RATE, RATE / 2]
    expected = train(plain, create_muon(plain), range(2))
    for name, value in train(wrapped_model, wrapped, range(2)).items():
        assert torch.equal(value, expected[name]), name
    wrapped.load_state_dict(wrapped.state_dict())
    train(plain, wrapped, range(1))

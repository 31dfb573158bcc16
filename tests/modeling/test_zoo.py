"""Every network that params.yaml can name."""

import pytest
import torch
import torchvision

from Resnet23.modeling.zoo import create_model, list_models


@pytest.mark.parametrize("name", list_models())
def test_every_model_gives_a_gradient_to_every_parameter(name):
    model = create_model(name, num_classes=7, width=4)
    logits = model(torch.randn(2, 3, 32, 32))
    logits.square().sum().backward()
    assert logits.shape == (2, 7)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_torchvision_s_networks_are_as_they_were_published():
    torch.manual_seed(0)
    ours = create_model("torchvision/resnet18", num_classes=7, width=4, dropout=0.5, final_dropout=0.5)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=7).state_dict()
    assert ours.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.state_dict().items())

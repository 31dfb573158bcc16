"""The stages of a network, from its input to its head: what is frozen together or learns at a rate of its own."""

from collections.abc import Sequence
from itertools import chain

from torch import nn
from torch.nn import Parameter

from Resnet23.errors import InputError


def stages_of(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The stages of any network by name, each as its modules, in the order of their definition; the last is the head.

    Every child of the model that has weights (two dimensions or more) makes a stage. Normalisation belongs to the
    stage before it; what has no parameters, such as dropout, to the stage after it. A list of blocks that is the
    whole body (`stages` of ours, `features` of torchvision's, `blocks` of timm's), or holds it (`encoder` of a vision
    transformer), counts as its members: `stages.0`.
    """
    stages: dict[str, list[nn.Module]] = {}
    waiting: list[nn.Module] = []
    for name, module in _parts(model):
        waiting.append(module)
        if _has_weights(module) or (_has_parameters(module) and not stages):
            stages[name], waiting = waiting, []
        elif _has_parameters(module):
            stages[next(reversed(stages))] += waiting
            waiting = []
    if stages:
        stages[next(reversed(stages))] += waiting
    return stages


def freeze(model: nn.Module, trainable: str) -> list[list[Parameter]]:
    """Let only the parameters named by `trainable` learn, and return them stage by stage from input to output.

    `trainable` is `all`, `head`, or `from:STAGE` for a stage and all after it. A parameter of the model itself, such
    as a position embedding, belongs to the first stage; one that several stages share to the first of them. Raises
    InputError for an unknown stage.
    """
    stages = stages_of(model)
    first = _first_trainable(list(stages), trainable)
    parameters = _parameters_of(model, stages)
    for index, stage in enumerate(parameters):
        for parameter in stage:
            parameter.requires_grad_(index >= first)
    return parameters[first:]


def train_mode(model: nn.Module, trainable: str, freeze_statistics: bool = False) -> None:
    """Put the model in training mode, frozen stages in evaluation mode: their BatchNorm keeps its statistics.

    With `freeze_statistics` it does so in all stages. Raises InputError for an unknown stage.
    """
    stages = stages_of(model)
    model.train()
    for modules in list(stages.values())[: _first_trainable(list(stages), trainable)]:
        for module in modules:
            module.eval()
    for module in model.modules():
        if freeze_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _first_trainable(names: Sequence[str], trainable: str) -> int:
    """The index of the first stage that learns."""
    if trainable == "all":
        return 0
    if trainable == "head":
        return len(names) - 1
    stage = trainable.removeprefix("from:")
    if stage not in names:
        raise InputError(
            f"train.phases: trainable: found {trainable!r}, expected all, head, or from: and a stage of this model: "
            f"{', '.join(names)}"
        )
    return names.index(stage)


def _parameters_of(model: nn.Module, stages: dict[str, list[nn.Module]]) -> list[list[Parameter]]:
    """The parameters of each stage, none of them twice."""
    owners: dict[Parameter, int] = {}
    for index, modules in enumerate(stages.values()):
        for module in modules:
            for parameter in module.parameters():
                owners.setdefault(parameter, index)
    parameters: list[list[Parameter]] = [[] for _ in stages]
    for parameter in model.parameters():
        parameters[owners.get(parameter, 0)].append(parameter)
    return parameters


def _parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children of a model by name, the list that is its body replaced by its members."""
    children = dict(model.named_children())
    if not children:
        return [("head", model)]
    body = _body([child for child in children.values() if _has_weights(child)][:-1])  # all but the head
    return list(
        chain.from_iterable(
            _members(name, child) if child is body else [(name, child)] for name, child in children.items()
        )
    )


def _body(modules: Sequence[nn.Module]) -> nn.Module | None:
    """The module that is the whole body: the only list of blocks, or where there is none the only one with a list.

    Several are stages themselves, as a ResNet's layer1 to layer4.
    """
    lists = [module for module in modules if _is_list_of_blocks(module)]
    found = lists or [module for module in modules if any(map(_is_list_of_blocks, module.children()))]
    return found[0] if len(found) == 1 else None


def _members(name: str, body: nn.Module) -> list[tuple[str, nn.Module]]:
    """The blocks of a body by name, and what stands beside them."""
    members = [(f"{name}.{key}", member) for key, member in body.named_children()]
    if _is_list_of_blocks(body):
        return members
    return list(
        chain.from_iterable(
            _members(key, member) if _is_list_of_blocks(member) else [(key, member)] for key, member in members
        )
    )


def _is_list_of_blocks(module: nn.Module) -> bool:
    """Whether a module is a list of several modules with weights, unlike a convolution with its normalisation."""
    return isinstance(module, nn.Sequential | nn.ModuleList) and sum(map(_has_weights, module)) > 1


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.ndim >= 2 for parameter in module.parameters())


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())

"""Every network that can be named in params.yaml: one function that builds, with random or pretrained weights.

As a command it prints the table of the named ones: python -m Resnet23.modeling.zoo --measure
"""

from collections.abc import Sequence

from torch import nn

from Resnet23.errors import InputError
from Resnet23.modeling.architectures import ARCHITECTURES, find_architecture, other_names
from Resnet23.modeling.pretrained import ImageInput, Weights, file_weights, is_file_name, load_weights


def list_models(all: bool = False) -> list[str]:
    """The names of the table's networks, sorted; with `all` also torchvision's and timm's, with their prefixes.

    timm's are left out where the extra zoo is not installed.
    """
    return sorted(ARCHITECTURES) + (other_names() if all else [])


def check_model(name: str, pretrained: bool | str = False, stem: str = "published") -> None:
    """Raise InputError when there is no such network, or it has no such weights or stem."""
    architecture = find_architecture(name)
    find_weights(name, pretrained)
    if stem == "small" and architecture.small_stem is None:
        known = [each for each in list_models() if ARCHITECTURES[each].small_stem]
        raise InputError(f"model.stem: found small, which {name} does not have; those that do: {', '.join(known)}")
    if stem == "small" and pretrained and not is_file_name(pretrained):
        raise InputError(
            "model.stem: found small with model.pretrained, but published weights belong to the published stem; "
            "set model.stem to published, or model.pretrained to false"
        )


def create_model(
    name: str,
    num_classes: int,
    width: int = 64,
    dropout: float = 0.1,
    final_dropout: float = 0.2,
    pretrained: bool | str = False,
    stem: str = "published",
    reuse_classifier: bool = True,
    class_names: Sequence[str] = (),
    zero_init_residual: bool = False,
    average_flips: bool = False,
) -> nn.Module:
    """Build a network by name; images (N, 3, H, W) -> logits (N, num_classes).

    The keywords are those of params.yaml's section `model`. `width` and `average_flips` belong to our own networks,
    `dropout`, `final_dropout` and `zero_init_residual` to our ResNets; all others, built as their authors published
    them, ignore them. The weights are as `pretrained` says: random, the default ones (true), others by name or from a
    file. The classifier's are random all the same, unless with `reuse_classifier` the weights know all of
    `class_names`. Raises InputError for unknown names and weights that do not fit, IntegrityError for damaged ones.
    """
    check_model(name, pretrained, stem)
    architecture = find_architecture(name)
    model = architecture.build(
        num_classes,
        dropout_rate=dropout,
        final_dropout_rate=final_dropout,
        width=width,
        zero_init_residual=zero_init_residual,
        average_flips=average_flips,
    )
    if stem == "small":
        architecture.small_stem(model)
    if weights := find_weights(name, pretrained):
        load_weights(model, weights, class_names if reuse_classifier else ())
    return model


def input_of(name: str, pretrained: bool | str) -> ImageInput | None:
    """How the weights want their images; None for random weights and where it is not known.

    Raises InputError as `check_model` does.
    """
    weights = find_weights(name, pretrained)
    return weights and weights.input


def find_weights(name: str, pretrained: bool | str) -> Weights | None:
    """The weights that `model.pretrained` names, not loaded yet; None for random ones.

    Raises InputError when the network has no such weights.
    """
    if pretrained is False:
        return None
    published = find_architecture(name).weights
    if is_file_name(pretrained):
        return file_weights(pretrained, published and published(None))
    if published is None:
        found = "true" if pretrained is True else repr(pretrained)
        raise InputError(
            f"model.pretrained: found {found}, but {name} has no published weights; expected false, or the path of a "
            "checkpoint (.pth)"
        )
    return published(None if pretrained is True else pretrained)


if __name__ == "__main__":  # the table, which needs more libraries than building a network does
    from Resnet23.command import run_command
    from Resnet23.modeling.zoo_table import main

    run_command(main)

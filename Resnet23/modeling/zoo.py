"""Every network that can be named in params.yaml: one table, one function that builds."""

from collections.abc import Callable

from torch import nn
from torchvision.models import get_model

from Resnet23.config import suggest
from Resnet23.errors import InputError
from Resnet23.modeling import model23


def _torchvision(name: str) -> Callable[..., nn.Module]:
    """The function that builds a network of torchvision's, as its authors published it: no width, no dropout."""
    return lambda num_classes, **_: get_model(name, weights=None, num_classes=num_classes)


# Each takes the number of classes and the keywords dropout_rate, final_dropout_rate and width.
MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet10": model23.resnet10,
    "resnet18": model23.resnet18,
    "resnet23": model23.resnet23,
    "resnet34": model23.resnet34,
    "torchvision/resnet18": _torchvision("resnet18"),
}


def list_models() -> list[str]:
    """The names that `create_model` knows, sorted."""
    return sorted(MODELS)


def check_model_name(name: str) -> None:
    """Raise InputError, with the nearest or all known names, when there is no such model."""
    if name not in MODELS:
        raise InputError(f"model.name: found {name!r}, which is no known model; {suggest(name, list_models())}")


def create_model(
    name: str, num_classes: int, width: int = 64, dropout: float = 0.1, final_dropout: float = 0.2
) -> nn.Module:
    """Build a model by name with random weights; images (N, 3, H, W) -> logits (N, num_classes).

    The keywords are those of params.yaml's section `model`. `width`, `dropout` and `final_dropout` belong to our own
    networks; torchvision's, which begin with `torchvision/` and have ImageNet's stem (stride 4), ignore them. Raises
    InputError for an unknown name.
    """
    check_model_name(name)
    return MODELS[name](num_classes, dropout_rate=dropout, final_dropout_rate=final_dropout, width=width)

"""Resnet23: from a folder of images to a trained, evaluated, explained and tracked classifier."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Resnet23.load_model` is looked up lazily, so that importing the package does not import torch."""
    if name == "load_model":
        from Resnet23.modeling.checkpoint import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

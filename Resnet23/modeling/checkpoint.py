"""Checkpoints that rebuild their model: self-describing, atomic, strict, and loaded without running any code."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from Resnet23.config import shortened
from Resnet23.errors import InputError, IntegrityError, is_out_of_memory
from Resnet23.files import atomic_write, printable
from Resnet23.modeling.weightfiles import FORMAT, VERSION, check_checkpoint, check_tensors, load_plain
from Resnet23.modeling.zoo import create_model

DEFAULT_THRESHOLD = 0.5  # of a label for which none has been chosen
CHECKPOINT = ("checkpoint", "train a model with `make train`")


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input: size in pixels, resize rule, channel mean and std in [0, 1]."""

    image_size: int
    resize: str
    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class Decision:
    """Values fitted on validation images, None where there are none.

    The temperature divides the logits. With labels, each is given from the probability of its threshold on.
    """

    thresholds: list[float] | None = None
    temperature: float | None = None

    def label_thresholds(self, labels: int) -> list[float]:
        """A threshold for each of so many labels, 0.5 where none has been chosen."""
        return self.thresholds or [DEFAULT_THRESHOLD] * labels


@dataclass(frozen=True)
class Checkpoint:
    """Everything that is needed to use a trained network, as plain values and tensors."""

    state_dict: dict[str, Tensor]
    model: dict[str, Any]  # the arguments of create_model: name, width, ...
    classes: list[str]
    preprocessing: Preprocessing
    decision: Decision
    task: str
    params: dict[str, Any]  # params.yaml as the training saw it
    git_revision: str | None
    origin: str = field(default="the checkpoint", compare=False)  # the file, for messages; not stored in it

    def build_model(self, origin: str | None = None) -> nn.Module:
        """The network with its weights, in evaluation mode.

        Raises IntegrityError, naming `origin`, by default the file, when weights and network differ.
        """
        return build_model(self.model, len(self.classes), self.state_dict, origin or self.origin)


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically. Equal contents give equal bytes, whatever the file's name."""
    content = {"format": FORMAT, "version": VERSION} | asdict(checkpoint)
    del content["origin"]
    content["state_dict"] = {key: value.cpu().contiguous() for key, value in checkpoint.state_dict.items()}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path, "wb") as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this project.

    Raises InputError when there is no such file, and IntegrityError when it is truncated, not a checkpoint of this
    project or version, or holds anything but plain values and tensors.
    """
    content = load_plain(path, *CHECKPOINT)
    check_checkpoint(content, path)
    fields = {name: content[name] for name in Checkpoint.__dataclass_fields__ if name != "origin"}
    fields["preprocessing"] = Preprocessing(**fields["preprocessing"])
    fields["decision"] = Decision(**fields["decision"])
    return Checkpoint(**fields, origin=printable(path))


def load_model(
    path: str | Path, model: str | Mapping[str, Any] | None = None, classes: Sequence[str] | None = None
) -> nn.Module:
    """Rebuild the network of a checkpoint from the file alone, in evaluation mode on the CPU.

    A bare state_dict can be loaded too when `model` (a name, or the keys of params.yaml's section `model`) and
    `classes` say what it belongs to. Raises InputError or IntegrityError as `load_checkpoint` does.
    """
    if model is None or classes is None:
        return load_checkpoint(path).build_model()
    options = {"name": model} if isinstance(model, str) else dict(model)
    content = load_plain(path, *CHECKPOINT)
    weights = check_tensors(content.get("state_dict", content), path)
    return build_model(options, len(classes), weights, printable(path))


def build_model(
    options: Mapping[str, Any], num_classes: int, state_dict: Mapping[str, Tensor], origin: str
) -> nn.Module:
    """Create the network and load the weights from `origin`, all of them or none.

    Raises InputError when there is no network of that name here, and IntegrityError when the options or the weights do
    not fit it.
    """
    try:
        model = create_model(num_classes=num_classes, **{**options, "pretrained": False})
    except InputError as error:  # a name that this version does not know, or a library that is missing
        raise InputError(f"{origin}: {error}") from None
    except (TypeError, ValueError, RuntimeError) as error:  # an option that is missing, unknown or impossible
        if is_out_of_memory(error):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise IntegrityError(f"{origin}: cannot build the model {shortened(dict(options))} ({reason})") from None
    try:
        model.load_state_dict(state_dict)
    except (RuntimeError, TypeError) as error:
        details = [line.strip() for line in str(error).splitlines()[1:]]
        raise IntegrityError(
            f"{origin}: the weights do not fit {options.get('name')} with {num_classes} classes: "
            f"{details[0][:200] if details else error}"
        ) from None
    return model.eval()

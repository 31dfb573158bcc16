"""Frozen encoders: from images to features, whatever network they are made of."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from Resnet23.classifiers.hugging_face import load_auto_model
from Resnet23.dataset import resize
from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.modeling.checkpoint import Checkpoint, Preprocessing, load_checkpoint
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.model23 import ResNet
from Resnet23.modeling.zoo import create_model, input_of

TORCHVISION = "torchvision/"


class Encoder(nn.Module):
    """A network that is not trained any more: images (N, 3, H, W) -> features (N, F) float32.

    It stays in evaluation mode whatever `.train()` says, so that BatchNorm keeps its statistics, and its parameters
    take no gradient. Images are brought to the side of `preprocessing`, where one is given; they come normalised.
    `origin` is what `load_encoder` found it by, None for a network that was handed over; `name` is for messages.
    The network may give a tensor, a tuple that begins with one, or what Hugging Face's models give; maps
    (N, F, H, W) are averaged over space, sequences (N, T, F) over their length.
    """

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing | None = None, name: str = "") -> None:
        super().__init__()
        self.backbone = backbone
        self.preprocessing = preprocessing
        self.origin = name or None
        self.name = name or type(backbone).__name__
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        images = resize(images, self.preprocessing and self.preprocessing.image_size)
        return _as_vectors(_features_in(self._run(images)), images.shape[0])

    def _run(self, images: Tensor) -> Any:
        """What the network gives. Raises InputError when it cannot take these images."""
        try:
            if isinstance(self.backbone, ResNet):
                return self.backbone.forward_features(images)  # past its classifier
            return self.backbone(images)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(
                f"the encoder {self.name} cannot take images of shape {tuple(images.shape)} ({reason[:200]})"
            ) from error

    def extra_repr(self) -> str:
        return "" if self.preprocessing is None else f"image_size={self.preprocessing.image_size}"


def load_encoder(name_or_path: str | Path, trust_remote_code: bool = False) -> Encoder:
    """The frozen encoder of a file, a folder or a name, with its preprocessing where that is known.

    `name_or_path` is a checkpoint of this project (.pth), whose classifier is left out, a folder or a name on the hub
    for Hugging Face's AutoModel, or `torchvision/NAME` for torchvision's weights without their classifier. Raises
    InputError when there is no such encoder and IntegrityError when a checkpoint is damaged.
    """
    name = str(name_or_path)
    if Path(name).suffix == ".pth":
        return checkpoint_encoder(load_checkpoint(name), name)
    if name.startswith(TORCHVISION):
        return _torchvision_encoder(name)
    return Encoder(*load_auto_model(name, trust_remote_code), name)


def checkpoint_encoder(checkpoint: Checkpoint, name: str = "") -> Encoder:
    """The network of a checkpoint without its classifier. Raises IntegrityError when weights and network differ."""
    model = checkpoint.build_model(printable(name) if name else "the checkpoint")
    return Encoder(without_classifier(model), checkpoint.preprocessing, name)


def as_encoder(model: nn.Module | Checkpoint | str | Path) -> Encoder:
    """Whatever somebody calls an encoder as one. A module is not copied: it is frozen, in evaluation mode, for good."""
    if isinstance(model, Encoder):
        return model
    if isinstance(model, str | Path):
        return load_encoder(model)
    if isinstance(model, Checkpoint):
        return checkpoint_encoder(model)
    if not isinstance(model, nn.Module):
        raise InputError(f"model: found {type(model).__name__}, expected a module, a checkpoint or the name of one")
    return Encoder(model)


def place_encoder(
    model: nn.Module | Checkpoint | str | Path, device: torch.device | str
) -> tuple[Encoder, torch.device]:
    """The encoder on the device, and the device. Raises InputError for a GPU that is not there."""
    try:
        device = torch.device(device)
    except RuntimeError:
        raise InputError(f"device: found {device!r}, expected cpu, cuda or cuda:0") from None
    if device.type == "cuda":
        choose_device("cuda")
    return as_encoder(model).to(device), device


def without_classifier(model: nn.Module) -> nn.Module:
    """The model, changed in place, with its last linear layer replaced by nothing."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise InputError(f"{type(model).__name__} has no linear layer, so no classifier to take away")
    model.set_submodule(names[-1], nn.Identity())
    return model


@torch.no_grad()
def encode(encoder: Encoder, images: Tensor, device: torch.device, expected: int) -> Tensor:
    """Features (N, F) of a batch, on the device. Raises InputError when F is not `expected`."""
    features = encoder(images.to(device, non_blocking=True))
    if features.shape[1] != expected:
        raise InputError(
            f"input_features: found {expected}, but the encoder {encoder.name} gives {features.shape[1]} features for "
            f"each image; pass input_features={features.shape[1]}, or an encoder without its classifier"
        )
    return features


def feature_count(encoder: Encoder, images: Tensor) -> int:
    """How many features the encoder gives for each of these images (N, 3, H, W)."""
    with torch.no_grad():
        return encoder(images).shape[1]


def weights_digest(encoder: Encoder) -> str:
    """The SHA-256 of all weights and statistics, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _torchvision_encoder(name: str) -> Encoder:
    """A network of torchvision's with its default weights, downloaded unless they are in its cache."""
    model = create_model(name, num_classes=2, pretrained=True)  # of any number: the classifier is taken away
    wanted = input_of(name, pretrained=True)
    preprocessing = Preprocessing(wanted.image_size, "crop", list(wanted.mean), list(wanted.std))
    return Encoder(without_classifier(model), preprocessing, name)


def _features_in(output: Any) -> Tensor:
    """The tensor of features in whatever a network gives."""
    if isinstance(output, Mapping):  # of Hugging Face's
        found = [output.get(key) for key in ("pooler_output", "last_hidden_state")]
        output = next((value for value in found if value is not None), None)
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise InputError(
            "the encoder gives no features: expected a tensor, a tuple that begins with one, or pooler_output as of "
            "Hugging Face's AutoModel (a model with a classifier gives logits instead)"
        )
    return output


def _as_vectors(features: Tensor, count: int) -> Tensor:
    """(N, F), (N, F, H, W) or (N, T, F) -> (N, F) float32."""
    if features.ndim not in (2, 3, 4) or features.shape[0] != count:
        raise InputError(
            f"the encoder gives features of shape {tuple(features.shape)} for {count} images, expected (N, F), "
            "(N, F, H, W) or (N, T, F)"
        )
    if features.ndim == 4:
        features = features.mean(dim=(2, 3))
    elif features.ndim == 3:
        features = features.mean(dim=1)
    return features.float()

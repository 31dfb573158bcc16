"""Formats that PyTorch reads: torch.export's, TorchScript, and bare weights in safetensors."""

import io
import json
from pathlib import Path

import torch
from torch import nn

from Resnet23.exporting.networks import PixelClassifier
from Resnet23.exporting.source import DESCRIPTION, Source
from Resnet23.modeling.checkpoint import Checkpoint, Decision, Preprocessing


def write_pt2(source: Source) -> bytes:
    """The graph of torch.export."""
    buffer = io.BytesIO()  # a file's name would go into its bytes
    torch.export.save(source.program, buffer, extra_files=source.metadata)
    return buffer.getvalue()


def read_pt2(path: Path) -> nn.Module:
    """A network from pixels to probabilities."""
    return torch.export.load(path).module()


def write_torchscript(source: Source) -> bytes:
    """The graph of torch.jit, which PyTorch has deprecated."""
    buffer = io.BytesIO()
    script = torch.jit.trace(source.network, source.example, check_trace=False)
    torch.jit.save(script, buffer, _extra_files=source.metadata)
    return buffer.getvalue()


def read_torchscript(path: Path) -> nn.Module:
    """A network from pixels to probabilities."""
    return torch.jit.load(path, map_location="cpu")


def write_safetensors(source: Source) -> bytes:
    """The weights under the names of the network's state_dict, and how to use them as metadata."""
    from safetensors.torch import save

    weights = {name: value.detach().clone().contiguous() for name, value in source.network.network.state_dict().items()}
    return save(weights, metadata=source.metadata)


def read_safetensors(path: Path) -> nn.Module:
    """A network from pixels to probabilities, built as the metadata says and filled with the weights, strictly."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        fields = json.loads(file.metadata()[DESCRIPTION])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
    fields |= {"preprocessing": Preprocessing(**fields["preprocessing"]), "decision": Decision(**fields["decision"])}
    return PixelClassifier(Checkpoint(state_dict=weights, params={}, **fields))

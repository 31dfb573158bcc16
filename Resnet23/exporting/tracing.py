"""A network's computation as a graph of torch.export or ONNX."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

OPSET = 20  # of ONNX 1.15 (2023); ONNX Runtime 1.17 and later run it
INPUT, OUTPUT = "images", "probabilities"


def trace(network: nn.Module, images: Tensor, dynamic: Sequence[str]) -> ExportedProgram:
    """The computation of `network` for inputs like `images`, whose first dimensions, named by `dynamic`, may vary.

    The file names of this machine's source code are left out. Raises what torch.export does when the way through the
    network depends on what it sees.
    """
    shape = {number: Dim(name) for number, name in enumerate(dynamic)}
    program = export(network, (images,), dynamic_shapes=(shape,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def to_onnx(program: ExportedProgram, dynamic: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    """The file of an ONNX model from INPUT to OUTPUT; `dynamic` names the first dimensions of the input, which vary."""
    exported = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=(dict(enumerate(dynamic)),),
        verbose=False,
    )
    exported.model.metadata_props.update(metadata)
    return exported.model_proto.SerializeToString(deterministic=True)

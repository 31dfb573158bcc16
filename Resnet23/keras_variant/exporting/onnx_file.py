"""ONNX, written by tf2onnx and run by ONNX Runtime; in a browser, onnxruntime-web runs the same file.

Keras's own `Model.export(format="onnx")` calls tf2onnx too, but makes an input of every constant that a layer keeps as
a tensor, as Normalization does with its mean, and gives the output no name of our choice.
"""

from pathlib import Path

import numpy as np

from Resnet23.keras_variant.exporting.source import INPUT, OUTPUT, Source
from Resnet23.machine import describe_machine

OPSET = 18  # of ONNX 1.13 (2022), the newest that tf2onnx writes


def write_onnx(source: Source, path: Path) -> None:
    """Pixels (N, S, S, 3) float32 from 0 to 255 -> probabilities."""
    import onnx
    import tf2onnx

    # TensorFlow has no public name for it; tf2onnx takes it from there too.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(source.function.get_concrete_function())
    (images,), (probabilities,) = frozen.inputs, frozen.outputs
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        name=source.name,
        input_names=[images.name],
        output_names=[probabilities.name],
        opset=OPSET,
        tensors_to_rename={images.name: INPUT, probabilities.name: OUTPUT},
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, source.metadata)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


class OnnxNetwork:
    """An .onnx file in ONNX Runtime on the CPU, with a thread for each core."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = describe_machine()["cores"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, S, S, 3) from 0 to 255 -> probabilities (N, C)."""
        return self.session.run([OUTPUT], {INPUT: pixels})[0]

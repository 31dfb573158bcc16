"""ONNX: written by PyTorch's exporter, quantised and run by ONNX Runtime."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from Resnet23.exporting.source import Source, as_pixels

OPSET = 20  # of ONNX 1.15 (2023); ONNX Runtime 1.17 and later run it
INPUT, OUTPUT = "images", "probabilities"
CALIBRATION_BATCH = 16
QUANTISED = ["Conv", "Gemm", "MatMul"]  # nearly all of the arithmetic; softmax, norms and sums stay exact


def write_onnx(source: Source) -> bytes:
    """Pixels (N, 3, S, S) float32 from 0 to 1 -> probabilities."""
    return _convert(source, source.program, ["batch"])


def write_image_onnx(source: Source) -> bytes:
    """Images (N, H, W, 3) uint8 of any size -> probabilities."""
    return _convert(source, source.image_program, ["batch", "height", "width"])


def write_int8_onnx(source: Source) -> bytes:
    """As `write_onnx`, computed with whole numbers of eight bits.

    The ranges of the activations are those of `source.calibration`, of each batch, on average: a single extreme value
    would cost all others resolution. Weights have seven bits, as processors without VNNI overflow with eight.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = _calibration_batches(source.calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantised = (Path(folder) / name for name in ("plain.onnx", "prepared.onnx", "quantised.onnx"))
        plain.write_bytes(write_onnx(source))
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # BatchNorm into the convolutions
        quantize_static(
            prepared,
            quantised,
            Reader(),
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            extra_options={"CalibMovingAverage": True},
        )
        model = onnx.load(quantised)
    onnx.helper.set_model_props(model, {source.description_name: source.description_text})
    return model.SerializeToString(deterministic=True)


class OnnxNetwork:
    """An .onnx file in ONNX Runtime on the CPU, with as many threads as PyTorch uses."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Tensor) -> Tensor:
        """What the file takes -> probabilities (N, C)."""
        (probabilities,) = self.session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(probabilities)


def _convert(source: Source, program: ExportedProgram, dynamic: list[str]) -> bytes:
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
    exported.model.metadata_props[source.description_name] = source.description_text
    return exported.model_proto.SerializeToString(deterministic=True)


def _calibration_batches(images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), CALIBRATION_BATCH):
        yield {INPUT: as_pixels(images[start : start + CALIBRATION_BATCH]).numpy()}

"""ONNX: written by PyTorch's exporter, quantised and run by ONNX Runtime."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from Resnet23.exporting.networks import ImageClassifier
from Resnet23.exporting.source import TRACED_IMAGES, Source, as_pixels
from Resnet23.exporting.tracing import INPUT, OUTPUT, to_onnx, trace

CALIBRATION_BATCH = 16
QUANTISED = ["Conv", "Gemm", "MatMul"]  # nearly all of the arithmetic; softmax, norms and sums stay exact
OPTIONS = {
    "CalibMovingAverage": True,  # the mean of the batches' ranges: a single extreme would cost all others resolution
    "MatMulConstBOnly": True,  # products of two activations, as in attention, lose too much
}


def write_onnx(source: Source) -> bytes:
    """Pixels (N, 3, S, S) float32 from 0 to 1 -> probabilities."""
    return source.onnx


def write_image_onnx(source: Source) -> bytes:
    """Images (N, H, W, 3) uint8 of any size -> probabilities."""
    images = torch.zeros((TRACED_IMAGES, source.size + 3, source.size + 5, 3), dtype=torch.uint8)
    dynamic = ["batch", "height", "width"]
    return to_onnx(trace(ImageClassifier(source.trained), images, dynamic), dynamic, source.metadata)


def write_int8_onnx(source: Source) -> bytes:
    """As `write_onnx`, computed with whole numbers of eight bits.

    The ranges of the activations are those on `source.calibration`.
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
        plain.write_bytes(source.onnx)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # BatchNorm into the convolutions
        quantize_static(
            prepared,
            quantised,
            Reader(),
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # seven bits for weights: with eight, processors without VNNI overflow
            extra_options=OPTIONS,
        )
        model = onnx.load(quantised)
    onnx.helper.set_model_props(model, source.metadata)
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


def _calibration_batches(images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), CALIBRATION_BATCH):
        yield {INPUT: as_pixels(images[start : start + CALIBRATION_BATCH]).numpy()}

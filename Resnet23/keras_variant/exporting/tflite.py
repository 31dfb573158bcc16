"""TFLite, the format of LiteRT on phones and small devices: one file, also with numbers of eight bits."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from Resnet23.keras_variant.exporting.saved_model import temporary_saved_model
from Resnet23.keras_variant.exporting.source import INPUT, OUTPUT, SIGNATURE, Source, as_pixels
from Resnet23.machine import describe_machine

if TYPE_CHECKING:
    import tensorflow as tf


def write_float(source: Source, path: Path) -> None:
    """All numbers float32."""
    _write(source, path, lambda converter: None)


def write_dynamic(source: Source, path: Path) -> None:
    """Weights of eight bits; activations are float32 between the layers and quantised, by their own range, within."""
    _write(source, path, _quantise)


def write_int8(source: Source, path: Path) -> None:
    """Weights and activations of eight bits; the activations' ranges are those on `source.calibration`.

    Pixels and probabilities stay float32, and so does what has no version in whole numbers.
    """

    def samples() -> Iterator[list[np.ndarray]]:
        for image in source.calibration:
            yield [as_pixels(image[None])]

    def calibrate(converter: "tf.lite.TFLiteConverter") -> None:
        _quantise(converter)
        converter.representative_dataset = samples

    _write(source, path, calibrate)


def _quantise(converter: "tf.lite.TFLiteConverter") -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _write(source: Source, path: Path, configure: "Callable[[tf.lite.TFLiteConverter], None]") -> None:
    import tensorflow as tf

    with temporary_saved_model(source) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
        configure(converter)
        path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:  # behind the model, where TFLite's tools keep a model's files
        for name, text in source.metadata.items():
            archive.writestr(name, text)


class TfliteNetwork:
    """A .tflite file, run by LiteRT on the CPU with a thread for each core."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=describe_machine()["cores"])
        self.run = interpreter.get_signature_runner(SIGNATURE)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, S, S, 3) from 0 to 255 -> probabilities (N, C)."""
        return self.run(**{INPUT: pixels})[OUTPUT]

"""SavedModel, the format of TensorFlow's own programs: a folder with the graph and its weights."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from Resnet23.keras_variant.exporting.source import OUTPUT, SIGNATURE, Source
from Resnet23.keras_variant.library import import_keras

EXTRA = "assets.extra"  # the place for files that belong to the model, but not to its graph


def write_saved_model(source: Source, folder: Path) -> None:
    """Pixels (N, S, S, 3) float32 from 0 to 255 -> probabilities, as the signature SIGNATURE."""
    archive = import_keras().export.ExportArchive()
    archive.track(source.classifier.network)
    archive.add_endpoint(SIGNATURE, source.function)
    archive.write_out(folder, verbose=False)
    extra = folder / EXTRA
    extra.mkdir()
    for name, text in source.metadata.items():
        (extra / name).write_text(text, encoding="utf-8")


@contextmanager
def temporary_saved_model(source: Source) -> Iterator[Path]:
    """The same in a folder that is gone afterwards, for the converters that start from it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "saved_model"
        write_saved_model(source, folder)
        yield folder


class SavedModelNetwork:
    """A SavedModel, run by TensorFlow."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.model = tf.saved_model.load(folder)  # holds the weights, which the signature only refers to
        self.run = self.model.signatures[SIGNATURE]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, S, S, 3) from 0 to 255 -> probabilities (N, C)."""
        import tensorflow as tf

        return self.run(tf.constant(pixels))[OUTPUT].numpy()

"""TensorFlow.js: a folder for web pages, written by its converter and run by its own library in Node.js.

The converter needs an older TensorFlow and lives in an environment of its own; `make export-tfjs` makes that, and puts
the programs on PATH and the libraries on NODE_PATH.
"""

import json
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np

from Resnet23.errors import InputError
from Resnet23.keras_variant.exporting.saved_model import temporary_saved_model
from Resnet23.keras_variant.exporting.source import SIGNATURE, Source
from Resnet23.keras_variant.saved import DESCRIPTION

CONVERTER, NODE = "tensorflowjs_converter", "node"
CONVERTER_SECONDS = 1800
ANSWER_SECONDS = 600  # for a batch of images; the first answer waits for the model to load
MODEL_FILE = "model.json"
SCRIPT = Path(__file__).parent.parent / "web" / "node_classifier.cjs"
LIBRARIES = ("@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm")


def require_tools() -> None:
    """Raise InputError when the converter, Node.js or a library is missing."""
    for program in (CONVERTER, NODE):
        if shutil.which(program) is None:
            raise InputError(f"the program {program} is not on PATH; run `make export-tfjs`, which needs node and npm")
    for library in LIBRARIES:
        find_library(library)


def find_library(name: str) -> Path:
    """The folder of a JavaScript library, found as Node.js does. Raises InputError when it is not installed."""
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    found = next((Path(folder, name) for folder in folders if folder and Path(folder, name).is_dir()), None)
    if found is None:
        raise InputError(
            f"the JavaScript library {name} is in no folder of NODE_PATH; run `make export-tfjs` or `make browser`, "
            "which fetch it from the npm registry"
        )
    return found


def write_tfjs(source: Source, folder: Path) -> None:
    """Pixels (N, S, S, 3) float32 from 0 to 255 -> probabilities, as model.json and files of weights."""
    with temporary_saved_model(source) as saved, tempfile.TemporaryDirectory() as name:
        description = Path(name) / DESCRIPTION
        description.write_text(source.metadata[DESCRIPTION], encoding="utf-8")
        command = [
            CONVERTER,
            "--input_format=tf_saved_model",
            "--output_format=tfjs_graph_model",
            f"--signature_name={SIGNATURE}",
            f"--metadata={DESCRIPTION}:{description}",
            str(saved),
            str(folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CONVERTER_SECONDS, check=False)
    model_file = folder / MODEL_FILE
    if done.returncode != 0 or not model_file.is_file():
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"{CONVERTER}: {reason}")
    model = json.loads(model_file.read_text(encoding="utf-8"))
    flatten_biases(model)
    model_file.write_text(json.dumps(model), encoding="utf-8")


def flatten_biases(model: dict[str, Any]) -> None:
    """Give the biases of fused layers one dimension, in the content of a model.json.

    The converter folds BatchNorm into the convolution before it and leaves a bias of shape (1, 1, 1, C), which the
    library's WebAssembly refuses.
    """
    weights = {weight["name"]: weight for group in model["weightsManifest"] for weight in group["weights"]}
    for node in model["modelTopology"]["node"]:
        if node["op"].startswith(("_Fused", "Fused")) and len(node["input"]) > 2:
            bias = weights[node["input"][2]]
            bias["shape"] = [int(np.prod(bias["shape"]))]


class TfjsNetwork:
    """A folder of TensorFlow.js, run by its WebAssembly in Node.js, a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115 (a pipe that nobody reads would stop the process)
        command = [NODE, str(SCRIPT), str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints)
        weakref.finalize(self, _end, self.process)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, S, S, 3) from 0 to 255 -> probabilities (N, C). Raises RuntimeError with what the process said."""
        timer = Timer(ANSWER_SECONDS, self.process.kill)
        timer.start()
        try:
            return self._ask(pixels)
        finally:
            timer.cancel()

    def _ask(self, pixels: np.ndarray) -> np.ndarray:
        header = np.array(pixels.shape[:2], np.uint32).tobytes()
        try:
            self.process.stdin.write(header + pixels.astype("<f4").tobytes())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said is read below
        classes = np.frombuffer(self._read(4), np.uint32)
        count = len(pixels) * int(classes[0])
        return np.frombuffer(self._read(4 * count), "<f4").reshape(len(pixels), -1)

    def _read(self, count: int) -> bytes:
        found = self.process.stdout.read(count)
        if len(found) < count:
            code = self.process.wait()
            self.complaints.seek(0)
            lines = self.complaints.read().decode("utf-8", "replace").strip().splitlines()
            ended = f"node ended with exit code {code}, or was ended after {ANSWER_SECONDS} s without an answer"
            raise RuntimeError(next((line for line in lines if "Error" in line), ended))
        return found


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()  # closes the pipes and waits

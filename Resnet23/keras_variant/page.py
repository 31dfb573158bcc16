"""A page that classifies images in the browser, as a folder for any web server.

    python -m Resnet23.keras_variant.page
    python -m http.server --bind 127.0.0.1 --directory models/export/keras/page 8000

The network runs in the browser, in ONNX Runtime Web and, once `make export-tfjs` has run, in TensorFlow.js. The page
loads nothing from elsewhere: the libraries, which npm has fetched, are copied into the folder.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from loguru import logger

from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError
from Resnet23.exporting.parity import spread
from Resnet23.files import atomic_folder, printable, sha256_file, write_json
from Resnet23.images import encode_png
from Resnet23.keras_variant.export import KERAS_EXPORT_DIR
from Resnet23.keras_variant.exporting.formats import FORMATS, require_packages
from Resnet23.keras_variant.exporting.source import ORIGIN
from Resnet23.keras_variant.exporting.tfjs import MODEL_FILE, find_library
from Resnet23.keras_variant.saved import DESCRIPTION
from Resnet23.outputs import KERAS

WEB = Path(__file__).parent / "web"
PAGE_FILES = ("index.html", "page.css", "page.js", "networks.js", "resize.js")
PAGE_DIR = KERAS_EXPORT_DIR / "page"
VENDOR = "vendor"
VENDORED = {  # of each library, what the page loads
    "onnxruntime-web": ("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"),
    "@tensorflow/tfjs": ("dist/tf.es2017.min.js",),
    "@tensorflow/tfjs-backend-wasm": (
        "dist/tf-backend-wasm.es2017.min.js",
        "dist/tfjs-backend-wasm.wasm",
        "dist/tfjs-backend-wasm-simd.wasm",
    ),
}
EXAMPLES = 12

FilesOption = Annotated[Path, typer.Option("--files", help="The folder with the exported files.", file_okay=False)]
OutputOption = Annotated[Path, typer.Option("--output", help="The folder for the page.", file_okay=False)]


def main(files: FilesOption = KERAS_EXPORT_DIR, output: OutputOption = PAGE_DIR, debug: DebugOption = False) -> None:
    """Put together a page that classifies images in the browser."""
    onnx, tfjs = files / FORMATS["onnx"].file, files / FORMATS["tfjs"].file
    description, features = read_description(onnx), read_features()
    check_origin(onnx, description)
    libraries = ["onnx", *(["tfjs"] if is_of_same_model(tfjs, description) else [])]
    with atomic_folder(output) as folder:
        for name in PAGE_FILES:
            shutil.copy(WEB / name, folder / name)
        copy_libraries(folder / VENDOR)
        shutil.copy(onnx, folder / onnx.name)
        if "tfjs" in libraries:
            shutil.copytree(tfjs, folder / tfjs.name)
        examples = write_examples(folder, features)
        write_json(folder / "page.json", {**description, "libraries": libraries, "examples": examples})
    logger.info(f"{printable(output)}: `make browser` shows it, and so does any web server")


def read_description(path: Path) -> dict[str, Any]:
    """What an exported .onnx says of itself. Raises InputError when there is no such file, or it says nothing."""
    require_packages("onnx")
    import onnx

    if not path.is_file():
        raise InputError(f"{printable(path)}: no such file; `make export-keras` writes it")
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    if DESCRIPTION not in found:
        raise InputError(f"{printable(path)}: no description in it; `make export-keras` writes one that has it")
    return json.loads(found[DESCRIPTION])


def check_origin(path: Path, description: Mapping[str, Any]) -> None:
    """Raise InputError unless the exported file is of the classifier as it is now, which may have been trained anew."""
    model = KERAS.checkpoint
    if not model.is_file():
        raise InputError(f"{printable(model)}: no such file; `{KERAS.command('train')}` writes it")
    if description.get(ORIGIN) != sha256_file(model):
        raise InputError(
            f"{printable(path)}: not of {printable(model)} as it is now; `{KERAS.command('export')}` exports that one"
        )


def is_of_same_model(folder: Path, description: Mapping[str, Any]) -> bool:
    """Whether there is a model of TensorFlow.js in the folder, and described so; says so when it is another one."""
    if not folder.is_dir():
        return False
    model = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    is_same = model["userDefinedMetadata"][DESCRIPTION] == description
    if not is_same:
        logger.warning(f"{printable(folder)}: of another model and left out; `make export-tfjs` writes this one's")
    return is_same


def copy_libraries(folder: Path) -> None:
    """Copy what the page needs of the JavaScript libraries. Raises InputError when one is not installed."""
    folder.mkdir()
    for library, names in VENDORED.items():
        for name in names:
            source = find_library(library) / name
            if not source.is_file():
                raise InputError(f"{printable(source)}: no such file; remove the folder and run `make browser` again")
            shutil.copy(source, folder / source.name)


def write_examples(folder: Path, features: Features) -> Sequence[dict[str, str]]:
    """Some test images as PNG files; gives each one's file and class."""
    examples = []
    (folder / "examples").mkdir()
    for number, row in enumerate(spread(len(features.test), EXAMPLES)):
        file = f"examples/{number}.png"
        (folder / file).write_bytes(encode_png(features.test.images[row]))
        examples.append({"file": file, "label": features.classes[features.test.targets[row]]})
    return examples


if __name__ == "__main__":
    run_command(main)

"""A trained network as the MLflow model of a run: loads as a torch module, and serves image files."""

import ast
import copy
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from Resnet23.files import write_json
from Resnet23.images import encode_png

if TYPE_CHECKING:
    import torch
    from mlflow.models import Model, ModelSignature

PACKAGE = Path(__file__).resolve().parents[1]
LOADER_MODULE = "Resnet23.modeling.pyfunc"
DESCRIPTION_FILE = "classifier.json"
# What LOADER_MODULE and the modules behind it import.
REQUIREMENTS = (
    "loguru",
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "ruamel.yaml",
    "torch",
    "torchvision",
    "tqdm",
)


def write_model_folder(
    folder: Path,
    model: "torch.nn.Module",
    example: np.ndarray,
    classifier: Mapping[str, Any],
    description: "Model",
) -> None:
    """Write the MLflow model `description` into `folder`, which must be empty or not exist.

    `mlflow.pytorch.load_model` gives the network: normalised images (N, 3, H, W) float32 in, logits out.
    `mlflow.pyfunc.load_model` and `mlflow models serve` take image files, by the code of this package, which the folder
    holds a copy of, and answer with class names and probabilities; see Resnet23.modeling.pyfunc.

    `example` is a batch as the network takes it, at least 2 images: with one the export would take 1 for the only
    batch size there is; ValueError then. `classifier` holds classes, preprocessing, decision and task as a checkpoint
    does, in plain values. `model` itself is left as it is.
    """
    import mlflow.pyfunc

    if len(example) < 2:
        raise ValueError(f"the example batch holds {len(example)} image, at least 2 are needed")
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's and MLflow's remarks on their own code
        _copy_code(LOADER_MODULE, Path(temporary, "code"))
        _export_network(Path(temporary, "network"), model, example, description)
        mlflow.pyfunc.save_model(
            folder,
            mlflow_model=description,
            loader_module=LOADER_MODULE,
            data_path=str(Path(temporary, "network", "data", "model.pt2")),
            code_paths=[str(Path(temporary, "code", PACKAGE.name))],
            signature=_signature(classifier["classes"]),
            input_example=_example_files(example, classifier["preprocessing"]),
            pip_requirements=[f"{name}=={_public_version(name)}" for name in REQUIREMENTS],
            metadata={"classes": list(classifier["classes"])},
        )
    write_json(folder / DESCRIPTION_FILE, dict(classifier))


def _copy_code(module: str, target: Path) -> None:
    """Copy a module of this package and all that it imports from it, directly or not, into the folder `target`."""
    waiting, copied = [module], set()
    while waiting:
        file = _source_file(waiting.pop())
        if file is None or file in copied:
            continue
        copied.add(file)
        for source in (
            file,
            *(folder / "__init__.py" for folder in file.parents if PACKAGE in (folder, *folder.parents)),
        ):
            place = target / source.relative_to(PACKAGE.parent)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        statements = ast.parse(file.read_text(encoding="utf-8")).body
        imported = [each for each in statements if not isinstance(each, ast.If)]  # those are for commands and types
        nodes = [node for statement in imported for node in ast.walk(statement)]
        for node in (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module):
            waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]


def _source_file(module: str) -> Path | None:
    """The file of a module of this package, None for a name that is not one."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return found[0] if found and PACKAGE in found[0].parents else None


def _export_network(folder: Path, model: "torch.nn.Module", example: np.ndarray, description: "Model") -> None:
    """Write data/model.pt2, from a copy of `model` on the CPU in evaluation mode, and add MLflow's flavor for it."""
    import mlflow.pytorch
    import torch
    from mlflow.models import infer_signature

    copied = copy.deepcopy(model).to("cpu", memory_format=torch.contiguous_format).eval()
    with torch.no_grad():
        mlflow.pytorch.save_model(
            copied,
            folder,
            mlflow_model=description,
            signature=infer_signature(example, copied(torch.from_numpy(example)).numpy()),
            input_example=example,
            pip_requirements=[],  # without them MLflow takes ten seconds to guess; the folder gets REQUIREMENTS
            serialization_format="pt2",
        )


def _signature(classes: Sequence[str]) -> "ModelSignature":
    """Image files in; out, for each, the row that Resnet23.modeling.pyfunc makes."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    outputs = [ColSpec("string", "class", required=False), ColSpec("double", "confidence", required=False)]
    outputs += [ColSpec("double", f"prob_{name}", required=False) for name in classes]
    outputs += [ColSpec("string", "error", required=False)]
    return ModelSignature(Schema([ColSpec("binary", "image")]), Schema(outputs))


def _example_files(example: np.ndarray, preprocessing: Mapping[str, Any]) -> Any:
    """The first two images of the batch as PNG files, in the table that the served model takes."""
    import pandas as pd

    images = example[:2].transpose(0, 2, 3, 1) * np.array(preprocessing["std"]) + np.array(preprocessing["mean"])
    pixels = (images * 255).round().clip(0, 255).astype(np.uint8)  # (2, H, W, 3)
    return pd.DataFrame({"image": [encode_png(image) for image in pixels]})


def _public_version(package: str) -> str:
    """An installed version without its local part: 2.14.1 for 2.14.1+cpu, which no public index carries."""
    return version(package).partition("+")[0]

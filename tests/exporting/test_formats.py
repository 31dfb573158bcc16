"""Every format of three kinds of networks: a file says what PyTorch says, here and without this package."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from small_exports import MODELS, digits_checkpoint
from torch import Tensor, nn

from Resnet23.arrays import Features
from Resnet23.errors import InputError
from Resnet23.exporting.comparison import as_input, compare, make_samples, resize_to, with_another_size
from Resnet23.exporting.formats import FORMATS, write_checked
from Resnet23.exporting.parity import Samples
from Resnet23.exporting.source import Source, describe
from Resnet23.exporting.tracing import OPSET
from Resnet23.modeling.checkpoint import Checkpoint, Decision, Preprocessing
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.zoo import create_model, list_models

Written = Callable[[str, str], Path]


@dataclass(frozen=True)
class Prepared:
    """A model to export; test images of its size, and of another, with what PyTorch says about them."""

    source: Source
    samples: list[Samples]


@pytest.fixture(scope="session")
def prepare(digits: Features) -> Callable[[str], Prepared]:
    """What a model of MODELS needs, prepared once."""

    @cache
    def prepared(model: str) -> Prepared:
        if model.startswith("timm/"):
            pytest.importorskip("timm", reason="timm comes with the extra `zoo`")
        checkpoint = digits_checkpoint(digits, *MODELS[model], temperature=1.25)
        classifier = Classifier(checkpoint, torch.device("cpu"), 64)
        how, rows = checkpoint.preprocessing, np.arange(0, len(digits.train), 4)
        calibration = resize_to(digits.train.images[rows], how)
        tested = resize_to(np.array(digits.test.images), how)
        samples = make_samples(classifier, tested, digits.test.targets)
        source = Source(checkpoint, describe(checkpoint), calibration=calibration)
        return Prepared(source, [samples, with_another_size(classifier, samples, 10)])

    return prepared


@pytest.fixture(scope="session")
def write(prepare: Callable[[str], Prepared], tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The file of a model in a format, written once."""

    @cache
    def written(model: str, name: str) -> Path:
        path = tmp_path_factory.mktemp("exported") / FORMATS[name].file
        write_checked(model, FORMATS[name], prepare(model).source, path, lambda temporary: None)
        return path

    return written


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    """Each format, where what it needs is installed."""
    for package in FORMATS[request.param].packages:
        pytest.importorskip(package, reason=f"{package} comes with the extra `export`")
    return request.param


@pytest.mark.parametrize("model", MODELS)
def test_a_file_says_what_pytorch_says(prepare, write, model, name):
    file_format, samples = FORMATS[name], prepare(model).samples
    network = file_format.read(write(model, name))
    probabilities = samples[0].probabilities
    assert samples[0].accuracy(probabilities) > 0.2, "twice as good as a guess"
    if name == "onnx-int8":  # what is hardly trained is close to the borders between the classes
        by_image = np.abs(probabilities - probabilities.mean(axis=0)).max(axis=1).mean()
        assert compare(network, False, samples[0]).mean_difference < 0.4 * by_image
        return
    for part in samples if file_format.takes_images else samples[:1]:
        assert file_format.tolerance.complaint(compare(network, file_format.takes_images, part), "PyTorch") is None
    for count in (1, 3):
        few = network(as_input(samples[0].images[:count], file_format.takes_images))
        assert np.allclose(few.detach(), probabilities[:count], atol=1e-4)


def test_the_description_is_in_the_file(prepare, write, name):
    description = json.loads(read_description(write("resnet23", name)))
    assert description == json.loads(json.dumps(describe(prepare("resnet23").source.trained)))
    assert description["preprocessing"]["image_size"] == 16
    assert description["classes"] == [str(digit) for digit in range(10)]


def read_description(path: Path) -> str:
    """What other programs find under the name classifier.json."""
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        assert next(entry.version for entry in model.opset_import if not entry.domain) == OPSET
        return {entry.key: entry.value for entry in model.metadata_props}["classifier.json"]
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            return file.metadata()["classifier.json"]
    found = {"classifier.json": ""}
    if path.suffix == ".pt2":
        torch.export.load(path, extra_files=found)
        return found["classifier.json"]
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.load(path, _extra_files=found)
    return found["classifier.json"].decode()


@pytest.mark.parametrize("name", ["onnx", "pt2", "safetensors"])
def test_equal_models_give_equal_bytes_that_name_no_file_of_this_machine(prepare, write, name, tmp_path):
    path, again = write("resnet23", name), replace(prepare("resnet23").source)
    write_checked("resnet23", FORMATS[name], again, tmp_path / "again", lambda temporary: None)
    content = (tmp_path / "again").read_bytes()
    assert content == path.read_bytes()
    assert not [part for part in (b"site-packages", b"networks.py", b"/tmp") if part in content]


RUN_ALONE = """
import sys, numpy
images = numpy.load("images.npy")
if sys.argv[1].endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(sys.argv[1])
    (found,) = session.run(None, {"images": images})
    assert "torch" not in sys.modules
else:
    import torch
    load = torch.export.load if sys.argv[1].endswith(".pt2") else torch.jit.load
    network = load(sys.argv[1])
    network = network.module() if hasattr(network, "module") else network
    found = network(torch.from_numpy(images)).detach().numpy()
assert not {"Resnet23", "timm"} & sys.modules.keys()
numpy.save("found.npy", found)
"""


@pytest.mark.parametrize("name", ["onnx-images", "pt2", "torchscript"])
def test_a_file_runs_without_this_package(prepare, write, name, tmp_path):
    samples = prepare("resnet23").samples[0]
    np.save(tmp_path / "images.npy", as_input(samples.images[:5], FORMATS[name].takes_images).numpy())
    command = [sys.executable, "-c", RUN_ALONE, str(write("resnet23", name))]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert np.allclose(np.load(tmp_path / "found.npy"), samples.probabilities[:5], atol=1e-4)


def size_of(name: str) -> int:
    """A size in pixels that a network takes, as small as it gets."""
    return 224 if name == "vit_b_16" else 32


@pytest.mark.slow
@pytest.mark.parametrize("model", list_models())
def test_every_network_exports_to_every_format(model, digits, tmp_path):
    how = Preprocessing(size_of(model), "crop", [0.5, 0.5, 0.5], [0.2, 0.3, 0.4])
    weights = create_model(model, num_classes=10, width=4).state_dict()
    options = {"name": model, "width": 4}
    checkpoint = Checkpoint(weights, options, digits.classes, how, Decision(), "multiclass", {}, None)
    images = resize_to(digits.test.images[np.arange(0, len(digits.test), 25)], how)
    samples = make_samples(Classifier(checkpoint, torch.device("cpu"), 8), images, np.zeros(len(images), np.int64))
    source = Source(checkpoint, describe(checkpoint), calibration=images)
    for name, file_format in FORMATS.items():
        path = tmp_path / file_format.file
        write_checked(model, file_format, source, path, lambda temporary: None)
        found = compare(file_format.read(path), file_format.takes_images, samples)
        assert found.max_difference < (0.5 if name == "onnx-int8" else 1e-4), name


class ChoosesByPixels(nn.Module):
    """A network whose way depends on what it sees, which torch.export does not follow."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) if images.sum() > 0 else images.amax(dim=(2, 3))


def test_what_cannot_be_exported_is_refused_in_one_line(prepare, tmp_path, capfd):
    source = prepare("resnet23").source
    strange = Source(source.trained, source.description)
    strange.network.network = ChoosesByPixels()
    with pytest.raises(InputError, match=r"mine: does not export to .*model\.pt2 \(") as caught:
        write_checked("mine", FORMATS["pt2"], strange, tmp_path / "model.pt2", lambda written: None)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())

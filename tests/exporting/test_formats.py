"""Every format of three kinds of networks: a file says what PyTorch says, here and without this package."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from small_exports import MODELS, digits_checkpoint
from torch import Tensor, nn

from Resnet23.arrays import Features
from Resnet23.errors import InputError
from Resnet23.exporting.comparison import Samples, as_input, compare, make_samples, resize_to, with_another_size
from Resnet23.exporting.formats import FORMATS, write_checked
from Resnet23.exporting.onnx_files import OPSET
from Resnet23.exporting.source import Source, describe
from Resnet23.modeling.inference import Classifier

Prepared = tuple[Source, list[Samples]]


@pytest.fixture(scope="session")
def prepare(digits: Features) -> Callable[[str], Prepared]:
    """A model to export, and test images of its size and of another with what PyTorch says about them."""

    @cache
    def prepared(model: str) -> Prepared:
        if model.startswith("timm/"):
            pytest.importorskip("timm", reason="timm comes with the extra `zoo`")
        checkpoint = digits_checkpoint(digits, model, temperature=1.25)
        classifier = Classifier(checkpoint, torch.device("cpu"), 64)
        how = checkpoint.preprocessing
        samples = make_samples(classifier, resize_to(digits.test.images[:], how), digits.test.targets)
        calibration = resize_to(digits.train.images[::4], how)
        source = Source(checkpoint, describe(checkpoint), calibration=calibration)
        return source, [samples, with_another_size(classifier, samples, 10)]

    return prepared


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    """Each format, where what it needs is installed."""
    for package in FORMATS[request.param].packages:
        pytest.importorskip(package, reason=f"{package} comes with the extra `export`")
    return request.param


@pytest.mark.parametrize("model", MODELS)
def test_a_file_says_what_pytorch_says(prepare, model, name, tmp_path):
    file_format, (source, samples) = FORMATS[name], prepare(model)
    samples = samples if file_format.takes_images else samples[:1]
    path = tmp_path / file_format.file

    def check(written: Path) -> None:
        network = file_format.read(written)
        for part in samples:
            found = compare(network, file_format.takes_images, part)
            assert file_format.tolerance.complaint(found) is None
            assert found.accuracy_in_torch > 0.5
        if name != "onnx-int8":
            few = [network(as_input(samples[0].images[:count], file_format.takes_images)) for count in (1, 3)]
            assert torch.allclose(few[0], few[1][:1], atol=1e-5)
            assert np.allclose(few[1].detach(), samples[0].probabilities[:3], atol=1e-4)

    write_checked(model, file_format, source, path, check)
    assert [file.name for file in tmp_path.iterdir()] == [file_format.file]


def test_the_description_is_in_the_file(prepare, name, tmp_path):
    source, _ = prepare("resnet23")
    path = tmp_path / FORMATS[name].file
    write_checked("resnet23", FORMATS[name], source, path, lambda written: None)
    description = json.loads(read_description(path))
    assert description == json.loads(json.dumps(describe(source.trained)))
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


def test_equal_models_give_equal_bytes_that_name_no_file_of_this_machine(prepare, name, tmp_path):
    source, _ = prepare("resnet23")
    contents = []
    for again in (source, replace(source)):
        write_checked("resnet23", FORMATS[name], again, tmp_path / "model", lambda written: None)
        contents.append((tmp_path / "model").read_bytes())
    assert contents[0] == contents[1]
    assert not [part for part in (b"site-packages", b"networks.py", b"/tmp") if part in contents[0]]


RUN_ALONE = """
import sys, json, numpy
from pathlib import Path
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
def test_a_file_runs_without_this_package(prepare, name, tmp_path):
    source, (samples, _) = prepare("resnet23")
    file_format = FORMATS[name]
    write_checked("resnet23", file_format, source, tmp_path / file_format.file, lambda written: None)
    np.save(tmp_path / "images.npy", as_input(samples.images[:5], file_format.takes_images).numpy())
    command = [sys.executable, "-c", RUN_ALONE, file_format.file]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert np.allclose(np.load(tmp_path / "found.npy"), samples.probabilities[:5], atol=1e-4)


def test_writing_says_nothing(prepare, name, tmp_path, capfd, recwarn):
    source, _ = prepare("resnet23")
    write_checked("resnet23", FORMATS[name], source, tmp_path / "model", FORMATS[name].read)
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn]


class ChoosesByPixels(nn.Module):
    """A network whose way depends on what it sees, which torch.export does not follow."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) if images.sum() > 0 else images.amax(dim=(2, 3))


def test_what_cannot_be_exported_is_refused_in_one_line(prepare, tmp_path, capfd):
    source, _ = prepare("resnet23")
    strange = Source(source.trained, source.description)
    strange.network.network = ChoosesByPixels()
    with pytest.raises(InputError, match=r"mine: does not export to .*model\.pt2 \(") as caught:
        write_checked("mine", FORMATS["pt2"], strange, tmp_path / "model.pt2", lambda written: None)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())

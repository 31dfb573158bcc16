"""A head and its encoder as one file for other programs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_encoders import FEATURES, counting_encoder, save_hugging_face_encoder
from torch import Tensor, nn

from Resnet23.classifiers import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.classifiers.encoders import Encoder, load_encoder
from Resnet23.classifiers.export import describe, export_head, main
from Resnet23.classifiers.saved import TrainedHead, describe_head, save_head
from Resnet23.errors import InputError, IntegrityError
from Resnet23.exporting.formats import FORMATS
from Resnet23.modeling.checkpoint import Preprocessing
from Resnet23.modeling.inference import Classifier

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]  # of the small encoder
SMALL = Preprocessing(8, "crop", MEAN, STD)  # images that the encoder enlarges to 16 pixels
CLASSES = ["ant", 'a "bee"', "cat\n🐈"]


@pytest.fixture(params=[".pt2", ".onnx"])
def suffix(request: pytest.FixtureRequest) -> str:
    """Each format, where what it needs is installed."""
    if request.param == ".onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason=f"{package} comes with the extra `export`")
    return request.param


@pytest.fixture
def encoder(no_project: Path) -> Encoder:
    return load_encoder(save_hugging_face_encoder(Path("encoder"), image_size=16))


def multiclass_head(encoder: Encoder) -> TrainedHead:
    torch.manual_seed(0)
    head = create_multiclass_classifier_head(FEATURES, 16, 0.2, len(CLASSES))
    return TrainedHead(describe_head(head, encoder, CLASSES, preprocessing=SMALL), encoder)


def run_exported(path: Path, images: np.ndarray) -> tuple[np.ndarray, dict]:
    """The probabilities that the file gives, and its description."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        (probabilities,) = session.run(["probabilities"], {"images": images})
        return probabilities, json.loads(session.get_modelmeta().custom_metadata_map["head.json"])
    extra_files = {"head.json": ""}
    program = torch.export.load(path, extra_files=extra_files)
    return program.module()(torch.from_numpy(images)).detach().numpy(), json.loads(extra_files["head.json"])


def test_pixels_become_the_probabilities_of_the_classifier(encoder, suffix):
    trained = multiclass_head(encoder)
    assert export_head(trained, Path(f"model{suffix}")) < 1e-5
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    classifier = Classifier(trained, torch.device("cpu"), 8)
    expected = classifier.probabilities(classifier.dataset(images, np.zeros(5, np.int64)))
    pixels = (images / 255).astype(np.float32).transpose(0, 3, 1, 2)
    for count in (1, 5):
        found, description = run_exported(Path(f"model{suffix}"), pixels[:count])
        assert found.shape == (count, 3)
        assert np.allclose(found, expected[:count], atol=1e-5)
    assert description == {
        "classes": CLASSES, "threshold": None, "image_size": 8, "resize": "crop", "encoder": "encoder"
    }  # fmt: skip


def test_the_command_exports_a_binary_head_and_says_nothing_else(encoder, suffix, capfd, recwarn):
    head = create_binary_classifier_head(FEATURES, 16).eval()
    save_head("head.pth", describe_head(head, encoder, ["cat"], threshold=0.25))
    capfd.readouterr()
    main(Path("head.pth"), Path(f"model{suffix}"))
    assert capfd.readouterr().out == ""
    assert not [str(warning.message) for warning in recwarn]
    images = torch.rand(2, 3, 16, 16)
    found, description = run_exported(Path(f"model{suffix}"), images.numpy())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    assert np.allclose(found, head(encoder((images - mean) / std)).sigmoid().detach(), atol=1e-5)
    assert (description["classes"], description["threshold"]) == (["cat"], 0.25)


def test_without_a_threshold_of_its_own_a_binary_head_says_yes_from_one_half(encoder):
    saved = describe_head(create_binary_classifier_head(FEATURES, 16), encoder, ["cat"])
    assert describe(TrainedHead(saved, encoder))["threshold"] == 0.5


def test_equal_heads_give_equal_bytes_that_name_no_file_of_this_machine(encoder, suffix):
    Path(f"a{suffix}").write_bytes(b"old")
    os.link(f"a{suffix}", "witness")
    for name in "ab":
        export_head(multiclass_head(encoder), Path(f"{name}{suffix}"))
    content = Path(f"a{suffix}").read_bytes()
    assert content == Path(f"b{suffix}").read_bytes()
    assert Path("witness").read_bytes() == b"old"
    assert b"site-packages" not in content
    assert b"networks.py" not in content


def test_a_pt2_file_runs_without_this_package(encoder):
    export_head(multiclass_head(encoder), Path("model.pt2"))
    program = """
import sys, torch
print(tuple(torch.export.load("model.pt2").module()(torch.rand(4, 3, 8, 8)).shape))
print({"Resnet23", "transformers"} & sys.modules.keys())
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.splitlines() == ["(4, 3)", "set()"], result.stderr


def test_an_export_that_says_something_else_is_not_kept(encoder, monkeypatch):
    read = FORMATS["pt2"].read

    def shifted(path: Path) -> Callable[[Tensor], Tensor]:
        network = read(path)
        return lambda images: network(images) + 2e-4

    monkeypatch.setitem(FORMATS, "pt2", replace(FORMATS["pt2"], read=shifted))
    with pytest.raises(IntegrityError, match=r"not written, as its probabilities differ from PyTorch's by 2\.0e-04"):
        export_head(multiclass_head(encoder), Path("model.pt2"))
    assert not list(Path().glob("*model*"))


class ChoosesByPixels(nn.Module):
    """An encoder whose way depends on what it sees, which no export can follow."""

    def forward(self, images: Tensor) -> Tensor:
        features = images.flatten(1)[:, :FEATURES]
        return features * 2 if images.sum() > 0 else features


def test_what_cannot_be_exported_is_refused_in_one_line(no_project, capfd):
    head = create_binary_classifier_head(FEATURES, 16)
    strange, unknown = Encoder(ChoosesByPixels(), SMALL), Encoder(counting_encoder())
    with pytest.raises(InputError, match=r"ChoosesByPixels with a head: does not export to model\.pt2 \(") as caught:
        export_head(TrainedHead(describe_head(head, strange, ["cat"]), strange), Path("model.pt2"))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(InputError, match="does not say how it wants its images"):
        export_head(TrainedHead(describe_head(head, unknown, ["cat"]), unknown), Path("model.pt2"))
    with pytest.raises(InputError, match=r"--output model\.pth: expected a name that ends in \.pt2 or \.onnx"):
        main(Path("head.pth"), Path("model.pth"))
    assert not list(no_project.iterdir())


def test_without_the_packages_of_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r'pip install "Resnet23\[export\]"'):
        main(Path("head.pth"), Path("model.onnx"))

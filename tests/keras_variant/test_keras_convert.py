"""Weights from PyTorch in Keras: equal answers, and nothing that is not wholly right."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_project import REPOSITORY

from Resnet23.errors import InputError, IntegrityError
from Resnet23.keras_variant.architectures import create_model
from Resnet23.keras_variant.convert import convert, main, read_export

CLASSES = 5
# Name, width, image size: odd sizes round at each stride of 2.
CASES = [("resnet10", 4, 16), ("resnet18", 6, 9), ("resnet23", 8, 32), ("resnet34", 5, 13)]
TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def exports(own_process, tmp_path_factory) -> Path:
    """A folder of networks that PyTorch made in a process of its own, with images and what it says of them."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch too, for a reference in another process")
    pytest.importorskip("safetensors")
    folder = tmp_path_factory.mktemp("exports")
    command = [sys.executable, Path(__file__).with_name("torch_networks.py"), folder, json.dumps(CASES)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def export(exports):
    """The smallest of them."""
    return read_export(exports / "resnet10.safetensors")


def answers(model, images: np.ndarray) -> np.ndarray:
    """Logits (N, C) of images (N, S, S, 3) uint8."""
    return model(images.astype(np.float32), training=False).numpy()


@pytest.mark.parametrize("name", [name for name, _, _ in CASES])
def test_a_converted_network_says_what_pytorch_said(name, exports, keras):
    model = convert(read_export(exports / f"{name}.safetensors"))
    with np.load(exports / f"{name}.npz") as reference:
        images, logits = reference["images"], reference["logits"]
    assert logits.std(axis=0).min() > 10 * TOLERANCE  # it says different things of different images
    np.testing.assert_allclose(answers(model, images), logits, atol=TOLERANCE, rtol=0)
    assert "torch" not in sys.modules


def test_the_same_weights_start_a_training(exports, keras):
    path = str(exports / "resnet10.safetensors")
    with np.load(exports / "resnet10.npz") as reference:
        images, logits = reference["images"], reference["logits"]
    same = create_model("resnet10", CLASSES, 16, weights=path, width=4, dropout=0.3)
    np.testing.assert_allclose(answers(same, images), logits, atol=TOLERANCE, rtol=0)
    assert same.get_layer("final_dropout").rate == 0.3
    other = create_model("resnet10", 3, 16, weights=path, width=4)
    features = [keras.Model(model.input, model.get_layer("features").output) for model in (same, other)]
    assert other.output_shape == (None, 3)
    np.testing.assert_array_equal(*[answers(each, images) for each in features])
    with pytest.raises(InputError, match=r"holds a resnet10 .*expected the weights of a resnet18"):
        create_model("resnet18", CLASSES, 16, weights=path, width=4)


def test_the_networks_are_as_in_pytorch_in_training_too(export, keras):
    model = convert(export)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("bn1.running_var"), r"bn1.running_var: found nothing, expected \(4,\)"),
        (lambda w: w.update(extra=np.ones(3)), r"extra: found \(3,\), expected nothing"),
        (lambda w: w.update({"conv1.weight": np.ones((4, 3, 1, 1))}), r"conv1.weight: found \(1, 1, 3, 4\)"),
        (lambda w: w.update({"classifier.bias": np.ones(4)}), r"classifier.bias: found \(4,\), expected \(5,\)"),
        (lambda w: w.update({"classifier.bias": np.ones((5, 1, 1))}), r"classifier.bias: found nothing"),
    ],
)
def test_weights_that_do_not_fit_are_refused(export, change, message, keras):
    weights = dict(export.weights)
    change(weights)
    with pytest.raises(IntegrityError, match=message):
        convert(replace(export, weights=weights))


def test_a_network_that_averages_over_flips_does_so_in_keras(export, tmp_path, keras):
    about = {**export.description, "model": {**export.description["model"], "average_flips": True}}
    plain, averaging = convert(export), convert(replace(export, description=about))
    size = about["preprocessing"]["image_size"]
    images = np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype(np.float32)
    expected = (plain.predict(images, verbose=0) + plain.predict(images[:, :, ::-1], verbose=0)) / 2
    averaging.save(tmp_path / "averaging.keras")
    restored = keras.saving.load_model(tmp_path / "averaging.keras", compile=False)
    for network in (averaging, restored):
        np.testing.assert_allclose(network.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_other_files_are_refused(exports, export, tmp_path):
    from safetensors.numpy import save_file

    about = {**export.description, "model": {**export.description["model"], "name": "swin_t"}}
    save_file(dict(export.weights), tmp_path / "other.safetensors", metadata={"classifier.json": json.dumps(about)})
    save_file(dict(export.weights), tmp_path / "bare.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((exports / "resnet10.safetensors").read_bytes()[:-100])
    for file, kind, message in (
        ("other", InputError, "found the network swin_t, expected one of resnet10"),
        ("bare", IntegrityError, "no weights that `make export` wrote .*classifier.json"),
        ("cut", IntegrityError, "no weights that `make export` wrote"),
        ("none", InputError, "no such file"),
    ):
        with pytest.raises(kind, match=message):
            read_export(tmp_path / f"{file}.safetensors")


def test_the_command_writes_a_network_that_needs_nothing_else(exports, tmp_path, keras):
    path = tmp_path / "new" / "model.keras"
    main(exports / "resnet23.safetensors", path)
    with np.load(exports / "resnet23.npz") as reference:
        stored = keras.saving.load_model(path)
        np.testing.assert_allclose(answers(stored, reference["images"]), reference["logits"], atol=TOLERANCE, rtol=0)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("classifier.json"))["classes"][-1] == "蜜蜂"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(InputError, match=r"--output: found .*model.h5, expected a name that ends with .keras"):
        main(exports / "resnet23.safetensors", tmp_path / "model.h5")

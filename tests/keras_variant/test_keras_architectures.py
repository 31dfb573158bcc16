"""The table of networks in Keras, and what create_model makes of it."""

import ast
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from small_project import REPOSITORY

from Resnet23.errors import InputError, IntegrityError
from Resnet23.keras_variant import architectures
from Resnet23.keras_variant.applications import APPLICATIONS, BACKBONE, IMAGENET_MEAN, IMAGENET_STD
from Resnet23.keras_variant.architectures import ARCHITECTURES, check_model, create_model, list_models
from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.parts import CLASSIFIER
from Resnet23.keras_variant.resnet import BLOCKS_PER_STAGE

OURS = [name for name, row in ARCHITECTURES.items() if not row.is_published]
CLASSES = 3


def small(name: str, **options):
    """A network of a row, as small as it can be."""
    return create_model(
        name, **{"num_classes": CLASSES, "image_size": ARCHITECTURES[name].smallest, "width": 4} | options
    )


def some_images(name: str, count: int = 4) -> np.ndarray:
    """Images (N, S, S, 3) float32 from 0 to 255 of the size that `small` takes, each in a colour of its own."""
    generator, size = np.random.default_rng(0), ARCHITECTURES[name].smallest
    colours = generator.uniform(0, 200, (count, 1, 1, 3))
    return (colours + generator.integers(0, 56, (count, size, size, 3))).astype(np.float32)


def parts(model, kind: str) -> Iterator:
    """Its layers of a class, those inside others too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from parts(layer, kind)
        elif type(layer).__name__ == kind:
            yield layer


def shake(model, images: np.ndarray) -> None:
    """Give a network weights that none begins with, and the statistics of these images, so that signals stay large."""
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight * generator.uniform(0.8, 1.2, weight.shape) + generator.normal(0, 0.01, weight.shape))
    for layer in parts(model, "Normalization"):
        if layer.weights:  # EfficientNet's, whose published file has std where the layer takes the variance
            layer.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_STD), np.array(1)])
            layer.finalize_state()
    momenta = {layer: layer.momentum for layer in parts(model, "BatchNormalization")}
    for layer in momenta:
        layer.momentum = 0.0
    model(images, training=True)
    for layer, momentum in momenta.items():
        layer.momentum = momentum


def features(keras, model, images: np.ndarray) -> np.ndarray:
    """What the classifier sees (N, F)."""
    return keras.Model(model.inputs[0], model.layers[-1].input)(images, training=False).numpy()


def test_importing_needs_neither_tensorflow_nor_torch():
    program = (
        "import sys, Resnet23.keras_variant.architectures; print({'torch', 'tensorflow', 'keras'} & {*sys.modules})"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=True
    )
    assert result.stdout.strip() == "set()"


def test_the_rows_are_those_of_the_pytorch_networks():
    tree = ast.parse((REPOSITORY / "Resnet23/modeling/model23.py").read_text(encoding="utf-8"))
    tables = [
        node.value for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == "BLOCKS_PER_STAGE"
    ]
    assert [ast.literal_eval(table) for table in tables] == [BLOCKS_PER_STAGE]


@pytest.mark.parametrize("name", list_models())
def test_each_row_gives_logits_for_images(name, keras):
    model, images = small(name), some_images(name)
    logits = model(images, training=False).numpy()
    assert model.name == name
    assert model.layers[-1].name == CLASSIFIER
    assert logits.shape == (len(images), CLASSES)
    assert np.isfinite(logits).all()
    assert (logits.std(axis=0) > 0).all()  # images make a difference
    with pytest.raises(InputError, match=f"takes images from {ARCHITECTURES[name].smallest} pixels on"):
        small(name, image_size=ARCHITECTURES[name].smallest - 1)


def test_resnet23_has_the_parameters_of_the_original(keras):
    model = create_model("resnet23", 10, 32)
    assert sum(weight.shape.num_elements() for weight in model.trainable_weights) == 12_724_042
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) == 23 + 3


def test_resnet23_begins_with_the_weights_of_its_recipe(keras):
    model = create_model("resnet23", 10, 32)
    kernels = [model.get_layer(f"stages.2.{block}.conv2").kernel.numpy() for block in range(2)]  # (3, 3, 256, 256)
    assert kernels[0].std() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)  # Kaiming, fan-out
    assert abs(np.corrcoef(kernels[0].ravel(), kernels[1].ravel())[0, 1]) < 0.01
    assert model.layers[-1].kernel.numpy().std() == pytest.approx(0.01, rel=0.1)


def test_dropout_acts_in_training_only(keras):
    images = some_images("resnet10")
    model = small("resnet10", dropout=0.5)
    rates = {layer.name: layer.rate for layer in model.layers if "dropout" in layer.name}
    assert rates.pop("final_dropout") == 0.5
    assert set(rates.values()) == {0.25}
    assert len(rates) == 4
    calm = [model(images, training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*calm)
    head = keras.Model(model.layers[-2].input, model.output)
    wild = [head(np.ones((1, 32), np.float32), training=True).numpy() for _ in range(2)]
    assert (wild[0] != wild[1]).any()


@pytest.mark.parametrize("name", OURS)
def test_our_networks_normalise_with_the_mean_and_std_they_are_given(name, keras):
    images = some_images(name)
    mean, std = np.array([0.2, 0.4, 0.6]), np.array([0.1, 0.2, 0.3])
    model = small(name, mean=mean.tolist(), std=std.tolist())
    normalized = keras.Model(model.inputs[0], model.get_layer("normalization").output)(images).numpy()
    np.testing.assert_allclose(normalized, (images / 255 - mean) / std, atol=1e-5)


def test_logits_are_float32_in_mixed_precision(keras):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small("resnet10")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
    assert model.get_layer("conv1").output.dtype == "float16"
    assert model.get_layer("normalization").output.dtype == "float32"


# ----------------------------------------------------------------------------------------------------------------------
# Weights: published ones, and those in files.


@pytest.mark.parametrize("name", APPLICATIONS)
def test_published_weights_do_what_they_do_in_keras(name, keras, tmp_path, monkeypatch):
    """Made-up weights in a file of the published kind: our network and the one of keras.applications see the same."""
    application, size = APPLICATIONS[name], ARCHITECTURES[name].smallest
    build = getattr(keras.applications, application.network)
    options = {"include_top": False, "input_shape": (size, size, 3), "pooling": "avg"}
    images, file = some_images(name, 16), tmp_path / application.url.rpartition("/")[2]
    prepare = {"resnet50": keras.applications.resnet50, "inception_v3": keras.applications.inception_v3}.get(name)
    prepared = prepare.preprocess_input(images.copy()) if prepare else images
    build(weights=None, **options).save(file)
    asked = []

    def get_file(fname=None, origin=None, file_hash=None, cache_dir=None, cache_subdir=None):
        asked.append((fname or origin.rpartition("/")[2], origin, file_hash, cache_subdir))
        return str(file)

    for module in (sys.modules["keras.src.utils.file_utils"], keras.utils):
        monkeypatch.setattr(module, "get_file", get_file)
    original = build(weights="imagenet", **options)  # with a layer more than without, in EfficientNet
    shake(original, prepared)
    original.save(file)
    by_name, by_file = small(name, weights="imagenet"), small(name, weights=str(file))
    assert asked[0] == asked[1]  # the URL, the checksum and the place in the cache
    expected = original(prepared, training=False).numpy()
    assert len(np.unique(expected, axis=0)) == len(images)
    assert expected.std(axis=0).max() > 0.01  # it sees different things in different images
    # Pixels that differ in the last bit change the features of so deep a made-up network by a thousandth.
    tolerance = 0.01 * np.abs(expected).max()
    assert np.abs(original(1.02 * prepared, training=False) - expected).max() > 2 * tolerance
    for model in (by_name, by_file):
        np.testing.assert_allclose(features(keras, model, images), expected, atol=tolerance, rtol=0)


def test_without_a_network_the_line_says_what_to_fetch_and_where_to_put_it(keras, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(sys.modules["keras.src.utils.file_utils"], "urlretrieve", refuse)
    with pytest.raises(InputError) as raised:
        small("mobilenet_v3_large", weights="imagenet")
    url = APPLICATIONS["mobilenet_v3_large"].url
    assert f"cannot download {url} (no route to host); fetch it elsewhere and put it into {tmp_path}/models" in str(
        raised.value
    )
    assert "\n" not in str(raised.value)


def test_published_files_of_another_network_are_refused(keras, tmp_path):
    small("mobilenet_v3_large").get_layer(BACKBONE).save(tmp_path / "mobile.h5")
    (tmp_path / "text.h5").write_text("no weights")
    for file in ("mobile.h5", "text.h5"):
        with pytest.raises(InputError, match="no weights of resnet50 without its top"):
            small("resnet50", weights=str(tmp_path / file))


@pytest.mark.parametrize("name", list_models())
def test_saved_networks_come_back(name, keras, tmp_path):
    model, images = small(name), some_images(name)
    shake(model, images)
    expected = model(images, training=False).numpy()
    model.save(tmp_path / "whole.keras")
    model.save_weights(tmp_path / "bare.weights.h5")
    assert expected.std(axis=0).max() > 1e-3
    loaded = keras.saving.load_model(tmp_path / "whole.keras", compile=False)
    np.testing.assert_allclose(loaded(images, training=False).numpy(), expected, atol=1e-5, rtol=1e-4)
    for file in ("whole.keras", "bare.weights.h5"):
        again = small(name, weights=str(tmp_path / file))
        np.testing.assert_allclose(again(images, training=False).numpy(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("file", ["whole.keras", "bare.weights.h5"])
def test_another_number_of_classes_begins_a_new_classifier_on_the_same_features(file, keras, tmp_path):
    model, images = small("small_cnn_functional"), some_images("small_cnn_functional")
    shake(model, images)
    model.save(tmp_path / "whole.keras")
    model.save_weights(tmp_path / "bare.weights.h5")
    other = small("small_cnn_functional", weights=str(tmp_path / file), num_classes=7)
    assert other.output_shape == (None, 7)
    assert not other.layers[-1].bias.numpy().any()
    np.testing.assert_allclose(features(keras, other, images), features(keras, model, images), atol=1e-5)


def test_a_frozen_network_comes_back_with_its_own_normalisation(keras, tmp_path):
    images = some_images("resnet10")
    model = small("resnet10", mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1))
    shake(model, images)
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.save(tmp_path / "model.keras")
    again = small("resnet10", weights=str(tmp_path / "model.keras"))
    np.testing.assert_allclose(again(images, training=False).numpy(), model(images, training=False).numpy(), atol=1e-5)
    assert len(again.trainable_weights) > 2


def test_files_that_do_not_fit_are_refused(keras, tmp_path):
    small("resnet10").save(tmp_path / "small.keras")
    small("resnet10").save_weights(tmp_path / "small.weights.h5")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "small.keras").read_bytes()[:-50])
    (tmp_path / "text.weights.h5").write_text("no weights")
    for file, kind, message in (
        ("small.keras", InputError, "holds a resnet10 of .* parameters, expected the weights of a resnet10 of"),
        ("small.weights.h5", IntegrityError, "another one"),
        ("cut.keras", IntegrityError, "no network that Keras has saved"),
        ("text.weights.h5", IntegrityError, "no network that Keras has saved"),
        ("missing.keras", InputError, "which is no file"),
    ):
        with pytest.raises(kind, match=message) as raised:
            small("resnet10", weights=str(tmp_path / file), width=8)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("names", [("resnet10", "resnet18"), ("resnet18", "resnet10")])
def test_bare_weights_of_a_shallower_or_deeper_network_are_refused(names, keras, tmp_path):
    stored, wanted = names
    small(stored).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(IntegrityError, match="another one"):
        small(wanted, weights=str(tmp_path / "model.weights.h5"))


# ----------------------------------------------------------------------------------------------------------------------
# What is refused before anything is built, and the table.


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet32", None, "model.name: found 'resnet32', which is no known model; did you mean resnet34?"),
        (
            "resnet23",
            "imagenet",
            r"found imagenet, for resnet23 expected null or a file \(.keras, .safetensors, .weigh",
        ),
        ("resnet23", "weights.h5x", "found weights.h5x, for resnet23 expected null or a file"),
        ("resnet23", "published.h5", "found published.h5, for resnet23 expected null or a file"),
        ("small_cnn_sequential", "a.safetensors", r"expected null or a file \(.keras, .weights.h5\)"),
        ("resnet50", "Imagenet", r"expected null or imagenet or a file \(.h5, .keras, .weights.h5\)"),
    ],
)
def test_unknown_names_and_weights_are_refused_without_keras(name, weights, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(InputError, match=message):
        check_model(name, weights)


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(InputError, match="the package keras is not installed; in a clone: make setup-tensorflow"):
        import_keras()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(InputError, match="KERAS_BACKEND: found 'jax', expected tensorflow"):
        import_keras()


def test_the_command_prints_the_table(monkeypatch, capsys, keras):
    monkeypatch.setattr(
        architectures,
        "ARCHITECTURES",
        {
            "resnet10": ARCHITECTURES["resnet10"],
            "mobilenet": replace(ARCHITECTURES["mobilenet_v3_large"], image_size=32),
        },
    )
    architectures.main()
    heading, ours, theirs = capsys.readouterr().out.splitlines()[:3]
    assert heading.split()[:4] == ["name", "parameters", "pixels", "top-1"]
    assert ours.split()[:4] == ["resnet10", "4.9", "32", "-"]
    assert theirs.split()[:4] == ["mobilenet", "4.0", "32", "75.6"]

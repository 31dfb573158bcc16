"""python -m Resnet23.keras_variant.export: a file says what Keras says, here and without this package."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_exports_keras import describe, untrained_classifier

from Resnet23.arrays import read_features
from Resnet23.errors import InputError, IntegrityError
from Resnet23.exporting import measuring
from Resnet23.exporting.choices import calibration_images
from Resnet23.exporting.parity import EIGHT_BITS, FLOAT, Samples, compare
from Resnet23.files import sha256_file
from Resnet23.keras_variant.export import DEFAULT_FORMATS, KERAS_EXPORT_DIR, KERAS_EXPORT_RESULTS, main, take_samples
from Resnet23.keras_variant.exporting import tfjs
from Resnet23.keras_variant.exporting.formats import FORMATS, write_checked
from Resnet23.keras_variant.exporting.saved_model import EXTRA
from Resnet23.keras_variant.exporting.source import OUTPUT, Source, as_pixels
from Resnet23.keras_variant.saved import load_classifier

MODEL = Path("models/keras/model.keras")


@pytest.fixture
def project(keras_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small classifier and its features in a folder of the test's own."""
    (tmp_path / "data").symlink_to(keras_project / "data")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "keras").symlink_to(keras_project / "models" / "keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    return tmp_path


@pytest.fixture(scope="session")
def prepared(keras_project: Path) -> tuple[Source, Samples]:
    """The small classifier, and test images with what Keras says about them."""
    features = read_features(keras_project / "data" / "features")
    classifier = load_classifier(keras_project / MODEL)
    source = Source(classifier, sha256_file(keras_project / MODEL), calibration_images(features))
    return source, take_samples(classifier, features, 100)


@pytest.fixture(scope="session")
def write(prepared: tuple[Source, Samples], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The classifier's file in a format, written once."""

    @cache
    def written(name: str) -> Path:
        path = tmp_path_factory.mktemp("exported") / FORMATS[name].file
        write_checked(FORMATS[name], prepared[0], path, lambda temporary: None)
        return path

    return written


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] if name == "tfjs" else []) for name in FORMATS])
def name(request: pytest.FixtureRequest) -> str:
    """Each format, where what it needs is installed."""
    try:
        FORMATS[request.param].require()
    except InputError as error:
        pytest.skip(str(error))
    return request.param


def test_a_file_says_what_keras_says(prepared, write, name):
    samples = prepared[1]
    assert samples.accuracy(samples.probabilities) > 0.7, "an untrained network would agree with anything"
    network = FORMATS[name].read(write(name))
    assert FORMATS[name].tolerance.complaint(compare(network, as_pixels, samples), "Keras") is None
    most = 1e-4 if FORMATS[name].tolerance is FLOAT else 0.2
    for count in (1, 3):
        found = np.asarray(network(as_pixels(samples.images[:count])))
        assert np.allclose(found, samples.probabilities[:count], atol=most)


def test_the_description_is_in_the_file(write, name, keras_project):
    expected = describe(read_features(keras_project / "data" / "features"))
    expected["sha256"] = sha256_file(keras_project / MODEL)
    assert json.loads(read_description(write(name))) == expected


def read_description(path: Path) -> str:
    """What other programs find under the name classifier.json."""
    if path.suffix == ".tflite":
        with zipfile.ZipFile(path) as archive:
            return archive.read("classifier.json").decode()
    if path.suffix == ".onnx":
        import onnx

        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}["classifier.json"]
    if path.name == "tfjs":
        model = json.loads((path / "model.json").read_text(encoding="utf-8"))
        return json.dumps(model["userDefinedMetadata"]["classifier.json"])
    return (path / EXTRA / "classifier.json").read_text(encoding="utf-8")


def test_eight_bits_take_a_quarter_of_the_space(write):
    FORMATS["tflite"].require()
    plain, dynamic, whole = (write(name).stat().st_size for name in ("tflite", "tflite-dynamic", "tflite-int8"))
    assert dynamic < 0.4 * plain
    assert whole < 0.4 * plain


@pytest.mark.parametrize("kind", ["tflite", "tflite-dynamic", "tflite-int8"])
def test_only_calibration_makes_whole_numbers_of_the_activations(write, kind):
    FORMATS[kind].require()
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(write(kind)))
    details = interpreter.get_tensor_details()
    activations = [each["dtype"] for each in details if -1 in each["shape_signature"]]  # for any number of images
    whole = np.mean([each == np.int8 for each in activations])
    assert whole > 0.8 if kind == "tflite-int8" else whole == 0


RUN_ALONE = """
import sys, numpy
pixels = numpy.load("pixels.npy")
if sys.argv[1].endswith(".onnx"):
    import onnxruntime
    (found,) = onnxruntime.InferenceSession(sys.argv[1]).run(["probabilities"], {"images": pixels})
else:
    from ai_edge_litert.interpreter import Interpreter
    found = Interpreter(model_path=sys.argv[1]).get_signature_runner()(images=pixels)["probabilities"]
assert not {"Resnet23", "keras", "tensorflow"} & sys.modules.keys()
numpy.save("found.npy", found)
"""


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_file_runs_without_this_package_and_without_tensorflow(prepared, write, kind, tmp_path):
    FORMATS[kind].require()
    samples = prepared[1]
    np.save(tmp_path / "pixels.npy", as_pixels(samples.images[:5]))
    command = [sys.executable, "-c", RUN_ALONE, str(write(kind))]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert np.allclose(np.load(tmp_path / "found.npy"), samples.probabilities[:5], atol=1e-4)


def rows() -> dict[str, dict]:
    """The rows of export.json by the names of the formats."""
    return {row["format"]: row for row in json.loads(KERAS_EXPORT_RESULTS.read_text(encoding="utf-8"))["formats"]}


def test_the_command_writes_all_formats_and_their_figures(project, capsys):
    for name in DEFAULT_FORMATS.split(","):
        FORMATS[name].require()
    main(MODEL)
    found = rows()
    assert list(found) == ["keras", *DEFAULT_FORMATS.split(",")]
    assert {path.name for path in KERAS_EXPORT_DIR.iterdir()} == {
        FORMATS[name].file for name in DEFAULT_FORMATS.split(",")
    }
    for row in found.values():
        assert row["error"] is None
        assert row["bytes"] == measuring.size_of(Path(row["file"]))
        assert set(row["images_per_second"]) == {"1", "64"}
        assert row["max_difference"] < (0.3 if "-" in row["format"] else 1e-4)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed if line] == ["format", *found]


def test_what_differs_is_not_kept_and_the_others_are(project, monkeypatch):
    def shifted(path: Path):
        network = FORMATS["saved-model"].read(path)
        return lambda pixels: network(pixels) + 2e-4

    wrong = replace(FORMATS["tflite"], write=FORMATS["saved-model"].write, read=shifted, require=lambda: None)
    monkeypatch.setitem(FORMATS, "tflite", replace(wrong, make_room=FORMATS["saved-model"].make_room))
    old = KERAS_EXPORT_DIR / "model.tflite"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier model")
    with pytest.raises(IntegrityError, match=r"model\.tflite: not written, as its probabilities differ from Keras's"):
        main(MODEL, "tflite,saved-model", limit=7)
    assert [path.name for path in old.parent.iterdir()] == ["saved_model"]
    assert "differ from Keras's by 2.0e-04" in rows()["tflite"]["error"]
    assert rows()["saved-model"]["error"] is None


def test_a_wrong_name_a_missing_package_and_a_missing_model_are_refused(project, monkeypatch):
    with pytest.raises(InputError, match=r"--formats: found 'tflit', which is no known format; did you mean tflite\?"):
        main(MODEL, "onnx,tflit")
    with pytest.raises(InputError, match=r"other\.keras: no such file; `make train-keras` writes it"):
        main(Path("other.keras"), "saved-model")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(InputError, match="package ai_edge_litert is not installed; in a clone: make setup-tensorflow"):
        main(MODEL, "tflite")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="tensorflowjs_converter is not on PATH; run `make export-tfjs`"):
        main(MODEL, "tfjs")
    assert not KERAS_EXPORT_DIR.exists()


def test_the_biases_of_fused_layers_get_one_dimension():
    weights = [{"name": "kernel", "shape": [3, 3, 8, 4]}, {"name": "bias", "shape": [1, 1, 1, 4]}]
    nodes = [
        {"op": "Const", "name": "bias"},
        {"op": "_FusedConv2D", "input": ["images", "kernel", "bias"]},
        {"op": "AddV2", "input": ["images", "kernel"]},
    ]
    model = {"weightsManifest": [{"weights": weights}], "modelTopology": {"node": nodes}}
    tfjs.flatten_biases(model)
    assert [weight["shape"] for weight in weights] == [[3, 3, 8, 4], [4]]


SILENT = """
process.stderr.write("advice ".repeat(200000));
setInterval(() => {}, 1000);
"""
FAILING = """
console.error("advice\\nRangeError: no");
process.exit(1);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize(("script", "message"), [(SILENT, "or was ended after 3 s"), (FAILING, "RangeError: no")])
def test_a_process_that_does_not_answer_is_ended(script, message, tmp_path, monkeypatch):
    (tmp_path / "script.cjs").write_text(script, encoding="utf-8")
    monkeypatch.setattr(tfjs, "SCRIPT", tmp_path / "script.cjs")
    monkeypatch.setattr(tfjs, "ANSWER_SECONDS", 3)
    network = tfjs.TfjsNetwork(tmp_path)
    with pytest.raises(RuntimeError, match=message):
        network(np.zeros((50, 32, 32, 3), np.float32))
    assert network.process.returncode is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("small_cnn_sequential", 16),
        ("small_cnn_functional", 16),
        ("resnet23", 16),
        ("resnet50", 32),
        ("efficientnet_b0", 32),
        ("mobilenet_v3_large", 32),
        ("inception_v3", 75),
    ],
)
def test_every_network_exports_to_every_format(keras, network, size, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, size, size, 3), np.uint8)
    source = Source(untrained_classifier(network, images), "0123abc", images)
    probabilities = np.asarray(source.function(as_pixels(images))[OUTPUT])
    samples = Samples(images, np.zeros(len(images), np.int64), probabilities, None)
    assert np.std(samples.probabilities, axis=0).mean() > 0.02, "it has to say something else of each image"
    for name in DEFAULT_FORMATS.split(","):
        FORMATS[name].require()
        path = tmp_path / FORMATS[name].file
        write_checked(FORMATS[name], source, path, lambda temporary: None)
        found = compare(FORMATS[name].read(path), as_pixels, samples)
        # Random weights do not survive eight bits, and in the deepest networks they magnify the rounding of float32.
        assert found.max_difference <= (1.0 if FORMATS[name].tolerance is EIGHT_BITS else 5e-3), name


def test_the_examples_of_the_guide_run(project, write, repository):
    blocks = re.findall(r"```python\n(.*?)```", (repository / "docs/keras.md").read_text(encoding="utf-8"), re.DOTALL)
    converted, exported = Path("models/export/model.keras"), KERAS_EXPORT_DIR / FORMATS["tflite"].file
    exported.parent.mkdir(parents=True)
    shutil.copy(MODEL, converted)
    shutil.copy(write("tflite"), exported)
    Image.new("RGB", (40, 30)).save("photo.jpg")
    for block in blocks:
        exec(compile(block, "docs/keras.md", "exec"), {})

"""python -m Resnet23.export: what it writes, compares and refuses."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_exports import NETWORK, digits_checkpoint

from Resnet23.arrays import read_features
from Resnet23.config import EXPORT_RESULTS
from Resnet23.errors import InputError, IntegrityError
from Resnet23.export import main
from Resnet23.exporting import measuring
from Resnet23.exporting.choices import calibration_images
from Resnet23.exporting.formats import FORMATS
from Resnet23.exporting.parity import spread
from Resnet23.modeling.checkpoint import save_checkpoint

MODEL = Path("model.pth")


def enter(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **decision) -> None:
    """A project with the features of `folder` and a checkpoint that knows their classes, as the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(folder / "data")
    monkeypatch.setattr(measuring, "SECONDS", 0.0)
    save_checkpoint(MODEL, digits_checkpoint(read_features(), *NETWORK, **decision))


@pytest.fixture
def project(digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    enter(digits_folder, tmp_path, monkeypatch)
    return tmp_path


def rows() -> dict[str, dict]:
    """The rows of export.json by the names of the formats."""
    return {row["format"]: row for row in json.loads(EXPORT_RESULTS.read_text(encoding="utf-8"))["formats"]}


def test_a_model_with_labels_is_exported_to_every_format_quietly(mosaics_folder, tmp_path, monkeypatch, capfd, recwarn):
    for package in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
        pytest.importorskip(package, reason=f"{package} comes with the extra `export`")
    thresholds = [0.4, 0.5, 0.6, 0.5, 0.45, 0.55, 0.5, 0.5, 0.3, 0.7]
    enter(mosaics_folder, tmp_path, monkeypatch, thresholds=thresholds)
    main(MODEL)
    found = rows()
    assert list(found) == ["pytorch", *FORMATS]
    assert {path.name for path in Path("models/export").iterdir()} == {row.file for row in FORMATS.values()}
    for name, row in found.items():
        assert row["error"] is None
        assert row["bytes"] == Path(row["file"]).stat().st_size
        assert set(row["images_per_second"]) == {"1", "64"}
        assert row["startup_seconds"] > 0
        if name != "onnx-int8":
            assert (row["agreement"], row["accuracy"]) == (1.0, found["pytorch"]["accuracy"])
            assert row["max_difference"] < 1e-3
    assert found["onnx-int8"]["bytes"] < 0.6 * found["onnx"]["bytes"]
    printed = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["format", *found]
    assert not [str(warning.message) for warning in recwarn]


def test_some_formats_on_some_images(project, lines):
    main(MODEL, "torchscript, pt2", Path("elsewhere"), limit=7)
    results = json.loads(EXPORT_RESULTS.read_text(encoding="utf-8"))
    assert (results["images"], results["task"], results["model"]) == (7, "multiclass", "resnet10")
    assert [row["format"] for row in results["formats"]] == ["pytorch", "torchscript", "pt2"]
    assert sorted(path.name for path in Path("elsewhere").iterdir()) == ["model.pt2", "model.torchscript.pt"]
    assert len([line for line in lines if "has deprecated torch.jit" in line]) == 1


def test_what_differs_is_not_kept_and_the_others_are(project, monkeypatch, capsys):
    def shifted(path: Path):
        network = FORMATS["pt2"].read(path)
        return lambda images: network(images) + 2e-4

    wrong = replace(FORMATS["torchscript"], write=FORMATS["pt2"].write, read=shifted)
    monkeypatch.setitem(FORMATS, "torchscript", wrong)
    old = Path("models/export/model.torchscript.pt")
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier model")
    with pytest.raises(IntegrityError, match=r"model\.torchscript\.pt: not written, as its probabilities differ"):
        main(MODEL, "torchscript,pt2")
    assert [path.name for path in old.parent.iterdir()] == ["model.pt2"]
    assert "differ from PyTorch's by 2.0e-04" in rows()["torchscript"]["error"]
    assert rows()["pt2"]["error"] is None
    assert "torchscript  models/export/model.torchscript.pt: not written" in capsys.readouterr().out


def test_a_file_that_does_not_run_is_not_kept(project, monkeypatch):
    broken = replace(FORMATS["pt2"], write=lambda source: b"no archive")
    monkeypatch.setitem(FORMATS, "pt2", broken)
    with pytest.raises(IntegrityError, match=r"model\.pt2: not written, as it does not run \(") as caught:
        main(MODEL, "pt2")
    assert "\n" not in str(caught.value)
    assert not list(Path("models/export").iterdir())


def test_ranges_are_measured_on_validation_images(project):
    features = read_features()
    images = features.train.images
    assert np.array_equal(calibration_images(features), images[features.val_indices])
    without = replace(features, info={**features.info, "val_indices": []})
    assert np.array_equal(calibration_images(without), images[spread(len(images), 256)])


@pytest.mark.fault(22)
def test_a_wrong_name_a_missing_package_and_other_classes_are_refused(project, monkeypatch):
    with pytest.raises(InputError, match=r"--formats: found 'onx', which is no known format; did you mean onnx\?"):
        main(MODEL, "pt2,onx")
    with pytest.raises(InputError, match=r"other\.pth: no such file"):
        main(Path("other.pth"), "pt2")
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "safetensors", None)
        with pytest.raises(InputError, match=r'package safetensors .* pip install "Resnet23\[export\]"'):
            main(MODEL, "safetensors")
    save_checkpoint(MODEL, replace(digits_checkpoint(read_features(), *NETWORK), classes=list("abcdefghij")))
    with pytest.raises(
        InputError, match=r"trained for multiclass with 10 classes \(a, b, c and 7 more\), data/features"
    ):
        main(MODEL, "pt2")
    assert not Path("models").exists()

"""The served model: it answers for image files as the checkpoint's classifier does, and JSON can hold its answers."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_checkpoint import CLASSES, description, example_batch, small_checkpoint

from Resnet23.errors import IntegrityError
from Resnet23.files import write_json
from Resnet23.modeling.checkpoint import Decision
from Resnet23.modeling.inference import Classifier, predict_files
from Resnet23.modeling.pyfunc import BATCH_SIZE, ImageModel, _load_pyfunc

PROBABILITIES = [f"prob_{name}" for name in CLASSES]
COLUMNS = ["class", "confidence", *PROBABILITIES, "error"]
UNREADABLE = [b"no image", b"", None, "/etc/hostname", 5]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `_load_pyfunc` reads, exported without MLflow."""
    folder = tmp_path_factory.mktemp("model")
    checkpoint = small_checkpoint()
    write_json(folder / "classifier.json", description(checkpoint))
    batch = torch.from_numpy(example_batch())
    exported = torch.export.export(checkpoint.build_model(), (batch,), dynamic_shapes=[{0: torch.export.Dim.AUTO}])
    (folder / "data").mkdir()
    torch.export.save(exported, folder / "data/model.pt2")
    return folder


@pytest.fixture(scope="module")
def served(model_folder: Path) -> ImageModel:
    return _load_pyfunc(str(model_folder / "data/model.pt2"))


def image_file(shape: Sequence[int], mode: str = "RGB", form: str = "PNG", seed: int = 0) -> bytes:
    """A noisy image in a colour of its own."""
    generator = np.random.default_rng(seed)
    levels = generator.random((1, 1, *shape[2:])) * generator.random(shape)
    pixels = np.uint16(levels * 65535) if mode == "I;16" else np.uint8(levels * 255)
    buffer = BytesIO()
    Image.fromarray(pixels.reshape(shape)).convert(mode).save(buffer, form)
    return buffer.getvalue()


FILES = {
    "of its size": image_file((16, 16, 3), seed=1),
    "large": image_file((301, 203, 3), seed=2),
    "one pixel": image_file((1, 1, 3), seed=3),
    "jpeg": image_file((40, 30, 3), form="JPEG", seed=4),
    "webp": image_file((20, 30, 3), form="WEBP", seed=5),
    "cmyk": image_file((20, 30, 3), mode="CMYK", form="TIFF", seed=6),
    "palette": image_file((20, 30, 3), mode="P", seed=7),
    "transparent": image_file((20, 30, 4), mode="RGBA", seed=8),
    "grey": image_file((20, 30), mode="L", seed=9),
    "16-bit grey": image_file((20, 30), mode="I;16", seed=10),
    "black and white": image_file((20, 30), mode="1", seed=11),
}


def test_every_kind_of_file_gets_the_answer_of_the_checkpoints_classifier(served: ImageModel, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in FILES]
    for path, content in zip(paths, FILES.values(), strict=True):
        path.write_bytes(content)
    expected = list(predict_files(Classifier(small_checkpoint(), torch.device("cpu"), batch_size=4), paths))
    table = served.predict(pd.DataFrame({"image": list(FILES.values())}))
    probabilities = np.stack([prediction.probabilities for prediction in expected])
    assert list(table.columns) == COLUMNS
    np.testing.assert_allclose(table[PROBABILITIES], probabilities, atol=1e-5)
    np.testing.assert_allclose(table["confidence"], probabilities.max(axis=1), atol=1e-5)
    assert list(table["class"]) == [CLASSES[index] for index in probabilities.argmax(axis=1)]
    assert table["class"].nunique() > 1 and not table["error"].notna().any()


@pytest.mark.parametrize("count", [0, 1, BATCH_SIZE + 1])
def test_any_number_of_rows(served: ImageModel, count: int) -> None:
    files = [image_file((16, 16, 3), seed=number) for number in range(count)]
    index = [f"row {number}" for number in range(count)]
    table = served.predict(pd.DataFrame({"image": files}, index=index))
    assert (list(table.columns), list(table.index)) == (COLUMNS, index)
    alone = [served.predict(pd.DataFrame({"image": [file]}))[PROBABILITIES].to_numpy()[0] for file in files]
    np.testing.assert_allclose(table[PROBABILITIES].to_numpy(dtype=float), np.reshape(alone, (-1, 4)), atol=1e-5)


def test_an_unreadable_file_costs_only_its_own_row(served: ImageModel) -> None:
    good = FILES["large"]
    table = served.predict(pd.DataFrame({"image": [good, *UNREADABLE, good]}, dtype=object))
    records = table.to_dict(orient="records")
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    for record in records[1:-1]:
        assert record.pop("error").startswith("not an image")
        assert list(record.values()) == [None] * (2 + len(CLASSES))
    assert records[0] == records[-1] and records[0]["error"] is None
    assert math.isclose(sum(records[0][name] for name in PROBABILITIES), 1, abs_tol=1e-5)


def test_of_labels_all_over_their_thresholds_are_named() -> None:
    def answer(thresholds: list[float] | None) -> pd.DataFrame:
        checkpoint = replace(small_checkpoint(), task="multilabel", decision=Decision(thresholds, temperature=2.0))
        classifier = Classifier(checkpoint, torch.device("cpu"), batch_size=4)
        return ImageModel(classifier).predict(pd.DataFrame({"image": [*FILES.values(), b""]}))

    thresholds = answer(None)[PROBABILITIES].iloc[:-1].astype(float).quantile(0.8).tolist()
    table = answer(thresholds)
    read, unread = table.iloc[:-1], table.iloc[-1]
    given = read[PROBABILITIES].to_numpy(dtype=float) >= thresholds
    names = ["|".join(name for name, is_given in zip(CLASSES, row, strict=True) if is_given) for row in given]
    assert (list(table.columns), list(read["class"])) == (COLUMNS, names)
    assert given.sum(axis=1).min() == 0 and given.sum(axis=1).max() > 1
    answers = np.where(given, read[PROBABILITIES], 1 - read[PROBABILITIES]).astype(float)
    np.testing.assert_allclose(read["confidence"].astype(float), answers.prod(axis=1), atol=1e-6)
    assert unread["class"] is None and unread["error"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"classes": []}', '{"preprocessing": {"size": 1}}'])
def test_a_damaged_description_is_named(model_folder: Path, tmp_path: Path, damage: str) -> None:
    (tmp_path / "data").symlink_to(model_folder / "data")
    (tmp_path / "classifier.json").write_text(damage)
    with pytest.raises(IntegrityError, match=r"classifier\.json: not the description of a classifier"):
        _load_pyfunc(str(tmp_path / "data/model.pt2"))

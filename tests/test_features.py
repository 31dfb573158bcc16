"""Stage 2: arrays equal the images, bad files are all named, split and statistics are right, nothing is half done."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_images import COUNTS, PROCESSED, SIDE, write_images

from Resnet23 import decoding
from Resnet23.arrays import Features, read_features
from Resnet23.config import DataParams, FeaturesParams, Params
from Resnet23.decoding import decode_images
from Resnet23.errors import InputError, ResourceError
from Resnet23.features import main, make_features, mean_and_std, split_validation
from Resnet23.images import decode_image

FEATURES = Path("data/features")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty project as the current directory."""
    monkeypatch.chdir(tmp_path)


def params(seed: int = 0, image_size: int = SIDE, **features: Any) -> Params:
    data = DataParams(dataset="folder", image_size=image_size)
    return Params(seed=seed, data=data, features=FeaturesParams(**{"val_fraction": 0.2} | features))


def features_of(settings: Params) -> Features:
    make_features(settings, PROCESSED, FEATURES)
    return read_features(FEATURES)


def test_arrays_are_the_decoded_images_in_the_manifests_order() -> None:
    rows = write_images()
    features = features_of(params())
    assert features.classes == ["ant", "honey bee"]
    for name, split in (("train", features.train), ("test", features.test)):
        expected = [row for row in rows if row.split == name]
        assert split.files == [row.file for row in expected]
        assert [features.classes[target] for target in split.targets] == [row.class_name for row in expected]
        for pixels, row in zip(split.images, expected, strict=True):
            np.testing.assert_array_equal(pixels, np.asarray(decode_image(PROCESSED / row.file)))


def test_the_description_counts_and_digests() -> None:
    write_images()
    info = features_of(params()).info
    assert info["counts"] == {"train": 24, "val": 6, "test": 7}
    assert info["class_counts"] == {
        "train": {"ant": 16, "honey bee": 8},
        "val": {"ant": 4, "honey bee": 2},
        "test": {"ant": 4, "honey bee": 3},
    }
    assert (info["dataset"], info["task"], info["image_size"], info["resize"]) == ("folder", "multiclass", SIDE, "crop")
    for split in ("train", "test"):
        for name in ("images", "targets"):
            content = (FEATURES / split / f"{name}.npy").read_bytes()
            assert info["digests"][split][name] == hashlib.sha256(content).hexdigest()
    assert info["skipped"] == []


def test_mean_and_std_are_those_of_the_training_images_alone() -> None:
    write_images()
    features = features_of(params())
    pixels = features.train.images[features.train_indices] / 255
    np.testing.assert_allclose(features.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(features.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_a_constant_channel_can_be_divided_by() -> None:
    green = np.zeros((2, SIDE, SIDE, 3), np.int64)
    green[1, ..., 1] = 255
    mean, std = mean_and_std(green.sum((1, 2)), (green**2).sum((1, 2)), SIDE**2)
    assert mean == [0, 0.5, 0] and std == [1, 0.5, 1]


def test_the_validation_split_is_stratified_seeded_and_disjoint() -> None:
    targets = np.repeat([0, 1, 2], [100, 50, 10])
    held_out = split_validation(targets, ["a", "b", "c"], 0.1, seed=3)
    assert np.bincount(targets[held_out]).tolist() == [10, 5, 1]
    assert held_out.tolist() == sorted(set(held_out.tolist()))
    np.testing.assert_array_equal(held_out, split_validation(targets, ["a", "b", "c"], 0.1, seed=3))
    assert held_out.tolist() != split_validation(targets, ["a", "b", "c"], 0.1, seed=4).tolist()


def test_without_validation_every_image_is_trained_on() -> None:
    write_images({("train", "ant"): 1, ("test", "ant"): 1})
    features = features_of(params(val_fraction=0.0))
    assert features.val_indices.shape == (0,) and features.train_indices.tolist() == [0]
    np.testing.assert_allclose(features.mean, features.train.images[0].mean(axis=(0, 1)) / 255)


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("counts", "fraction", "named"),
    [
        ([10, 1], 0.2, r"class: bee \(1\)"),
        ([30, 2], 0.1, r"class: bee \(2\)"),
        ([4, 4], 0.1, r"class: ant \(4\), bee \(4\)"),
        ([30, 2], 0.9, r"class: bee \(2\)"),
    ],
)
def test_a_class_too_small_to_split_is_named(counts: list[int], fraction: float, named: str) -> None:
    with pytest.raises(InputError, match=named):
        split_validation(np.repeat([0, 1], counts), ["ant", "bee"], fraction, seed=0)


@pytest.mark.fault(10)
def test_a_class_without_training_images_is_named() -> None:
    write_images(COUNTS | {("test", "wasp"): 2})
    with pytest.raises(InputError, match="no train images of the classes wasp"):
        make_features(params(), PROCESSED, FEATURES)
    assert not (FEATURES / "features.json").exists()


@pytest.mark.fault(10)
def test_no_test_images_at_all_is_an_error_and_one_class_without_is_not() -> None:
    write_images({("train", "ant"): 10, ("train", "bee"): 10, ("test", "ant"): 2})
    assert features_of(params()).info["class_counts"]["test"] == {"ant": 2, "bee": 0}
    write_images({("train", "ant"): 10})
    with pytest.raises(InputError, match="no test images"):
        make_features(params(), PROCESSED, FEATURES)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FAULTS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "missing": ("train/ant/00000.png", Path.unlink, "no such file"),
    "empty": ("train/ant/00003.png", lambda path: path.write_bytes(b""), "zero bytes"),
    "text": ("train/ant/00007.png", lambda path: path.write_text("not a picture"), "not an image"),
    "half": ("train/honey bee/00001.png", lambda path: path.write_bytes(path.read_bytes()[:200]), "damaged"),
    "last bytes": ("train/honey bee/00002.png", lambda path: path.write_bytes(path.read_bytes()[:-4]), ""),
    "bit": ("test/ant/00001.png", flip_a_bit, ""),
    "edited": ("test/ant/00002.png", lambda path: Image.new("RGB", (SIDE, SIDE)).save(path), "SHA-256"),
}


@pytest.mark.fault(6)
def test_every_bad_file_is_named_at_once(record_property: Callable[[str, Any], None]) -> None:
    record_property("faults", len(FAULTS))
    write_images()
    for file, spoil, _ in FAULTS.values():
        spoil(PROCESSED / file)
    with pytest.raises(InputError, match="7 bad images") as caught:
        make_features(params(), PROCESSED, FEATURES)
    assert "\n" not in str(caught.value)
    for file, _, reason in FAULTS.values():
        assert f"{file} ({reason}" in str(caught.value)
    assert list(FEATURES.rglob("*.*")) == []


@pytest.mark.fault(6)
def test_bad_files_are_skipped_and_listed(record_property: Callable[[str, Any], None]) -> None:
    record_property("faults", len(FAULTS))
    rows = write_images()
    for file, spoil, _ in FAULTS.values():
        spoil(PROCESSED / file)
    features = features_of(params(on_bad_image="skip"))
    bad = {file: reason for file, _, reason in FAULTS.values()}
    skipped = {entry["file"]: entry["reason"] for entry in features.info["skipped"]}
    assert skipped.keys() == bad.keys() and all(skipped[file].startswith(reason) for file, reason in bad.items())
    kept = [row for row in rows if row.file not in bad]
    assert features.train.files + features.test.files == [row.file for row in kept]
    for pixels, row in zip([*features.train.images, *features.test.images], kept, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(decode_image(PROCESSED / row.file)))
    assert sum(features.info["counts"].values()) == len(kept)


@pytest.mark.fault(6)
def test_a_class_of_which_nothing_is_left_is_named() -> None:
    write_images()
    for path in (PROCESSED / "train" / "honey bee").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no train images of the classes honey bee"):
        make_features(params(on_bad_image="skip"), PROCESSED, FEATURES)


@pytest.mark.fault(6)
def test_many_bad_files_are_counted(record_property: Callable[[str, Any], None]) -> None:
    record_property("faults", 37)
    write_images()
    for path in PROCESSED.rglob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"37 bad images: .* and 17 more"):
        make_features(params(), PROCESSED, FEATURES)


def test_images_of_another_size_are_refused() -> None:
    write_images()
    with pytest.raises(InputError, match=r"12 x 12 pixels, expected 16 x 16 as data.image_size says"):
        make_features(params(image_size=16), PROCESSED, FEATURES)


@pytest.mark.fault(11)
def test_leaked_images_are_reported_and_limited() -> None:
    same = np.full((SIDE, SIDE, 3), 7, np.uint8)
    write_images(train_ant_3=same, test_ant_1=same)
    identical = features_of(params(max_leaked=1)).info["duplicates"]["identical"]
    assert identical["train-test"] == {"count": 1, "pairs": [["train/ant/00003.png", "test/ant/00001.png"]]}
    with pytest.raises(InputError, match=r"max_leaked allows 0: train/ant/00003.png = test/ant/00001.png"):
        make_features(params(max_leaked=0), PROCESSED, FEATURES)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_the_same_input_gives_the_same_bytes() -> None:
    write_images()
    for folder in ("one", "two"):
        make_features(params(), PROCESSED, Path(folder))
    assert contents(Path("one")) == contents(Path("two")) and len(contents(Path("one"))) == 7


def test_many_processes_and_small_chunks_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_images()
    (PROCESSED / "train/ant/00004.png").write_text("not a picture")
    results = []
    for chunk, processes in ((1000, 1), (3, 1), (3, 2)):
        monkeypatch.setattr(decoding, "CHUNK_IMAGES", chunk)
        outputs = {split: Path(f"{split}-{chunk}-{processes}.npy") for split in ("train", "test")}
        records, bad = decode_images(PROCESSED, rows, outputs, SIDE, processes)
        results.append((records.tobytes(), bad, [output.read_bytes() for output in outputs.values()]))
        assert np.load(outputs["test"]).shape == (7, SIDE, SIDE, 3)
    assert results[0] == results[1] == results[2]
    assert list(results[0][1]) == ["train/ant/00004.png"]


def end_process(*_: Any) -> None:
    os._exit(9)


def test_a_killed_decoding_process_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_images()
    monkeypatch.setattr(decoding, "decode_chunk", end_process)
    with pytest.raises(ResourceError, match="a decoding process was killed"):
        decode_images(PROCESSED, rows, {"train": Path("train.npy"), "test": Path("test.npy")}, SIDE, processes=2)


def test_outputs_are_replaced_not_written_through() -> None:
    write_images()
    make_features(params(), PROCESSED, FEATURES)
    before = contents(FEATURES)
    for name in before:
        (Path("witness") / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(FEATURES / name, Path("witness") / name)
    write_images({key: count + 5 for key, count in COUNTS.items()})
    make_features(params(seed=1), PROCESSED, FEATURES)
    assert contents(Path("witness")) == before
    assert all(content != before[name] for name, content in contents(FEATURES).items())


def test_a_failure_leaves_the_old_arrays() -> None:
    write_images()
    make_features(params(), PROCESSED, FEATURES)
    before = contents(FEATURES)
    (PROCESSED / "test/ant/00000.png").unlink()
    with pytest.raises(InputError):
        make_features(params(), PROCESSED, FEATURES)
    assert contents(FEATURES) == before


def test_the_validation_rows_take_one_line_of_the_json() -> None:
    write_images({("train", "ant"): 900, ("train", "bee"): 900, ("test", "ant"): 1})
    make_features(params(val_fraction=0.5), PROCESSED, FEATURES)
    text = (FEATURES / "features.json").read_text()
    assert len(json.loads(text)["val_indices"]) == 900
    assert len(text.splitlines()) < 120


def test_the_command_restores_the_folders_from_the_tar() -> None:
    write_images()
    Path("params.yaml").write_text(f"data: {{dataset: folder, image_size: {SIDE}}}\nfeatures: {{val_fraction: 0.2}}\n")
    main()
    before = contents(FEATURES)
    (PROCESSED / ".stamp").unlink()
    (PROCESSED / "train/ant/00000.png").unlink()
    main(assignments=["seed=0"])
    assert contents(FEATURES) == before


def test_the_command_says_what_to_run_first() -> None:
    Path("params.yaml").write_text("seed: 0\n")
    with pytest.raises(InputError, match="make data"):
        main()

"""Stage 1 as a whole: from params.yaml to class folders, tar and manifest."""

import hashlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from fake_cifar import fake_cifar10, write_archive, write_folder, write_package
from loguru import logger
from PIL import Image

from Resnet23 import datadownload, processed
from Resnet23.config import DataParams, MaxPerClass
from Resnet23.datadownload import encode_images, main, number_files, select_examples
from Resnet23.errors import InputError
from Resnet23.processed import read_manifest
from Resnet23.sources import DATASETS, cifar, npm
from Resnet23.sources.examples import Example

PROCESSED = Path("data/processed")
DIGITS = ["data.dataset=digits", "data.image_size=8", "data.max_per_class={train: 3, test: 2}"]


@pytest.fixture(autouse=True)
def quiet():
    logger.remove()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def photos(root: Path, *names: str) -> Path:
    generator = np.random.default_rng(0)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 60, 3), np.uint8)).save(root / name)
    return root


def test_every_dataset_of_the_parameters_has_a_loader():
    assert set(get_args(DataParams.model_fields["dataset"].annotation)) == set(DATASETS)


def test_digits(project):
    main(assignments=DIGITS)
    rows = read_manifest(PROCESSED)
    assert [row.file for row in rows[:4]] == [
        f"train/{name}.png" for name in ("0/00000", "0/00001", "0/00002", "1/00000")
    ]
    assert len(rows) == 50
    for row in rows:
        content = (PROCESSED / row.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
        with Image.open(io.BytesIO(content)) as image:
            assert (image.mode, image.size) == ("RGB", (8, 8))
    array = np.asarray(Image.open(PROCESSED / "train/0/00000.png"))
    assert array.min() == 0 and array.max() > 200  # 0..16 is stretched to 0..255


def test_the_split_of_the_digits_is_fixed(project):
    sources = []
    for change in ("seed=0", "seed=1", "data.test_fraction=0.5"):
        main(assignments=["data.dataset=digits", "data.max_per_class=null", change])
        rows = read_manifest(PROCESSED)
        assert len({row.source for row in rows}) == 1797
        sources.append([row.source for row in rows if row.split == "test"])
    assert sources[0] == sources[1] == sources[2]
    assert abs(len(sources[0]) - 0.2 * 1797) < 5


def test_a_rerun_is_equal_and_other_parameters_leave_nothing_behind(project):
    main(assignments=DIGITS)
    first = tree(PROCESSED)
    main(assignments=[*DIGITS, "data.max_per_class=1", "data.take=last"])
    assert len(tree(PROCESSED)) == 20 + 3
    main(assignments=DIGITS)
    assert tree(PROCESSED) == first


def test_the_first_or_last_of_each_class_in_each_split():
    examples = [
        Example(split, name, f"{split}{name}{number}", Path())
        for number in range(4)
        for split in ("train", "test")
        for name in "ab"
    ]
    limits = MaxPerClass(train=2, test=1)
    first = [example.source for example in select_examples(examples, limits, "first")]
    assert first == ["traina0", "trainb0", "testa0", "testb0", "traina1", "trainb1"]
    last = [example.source for example in select_examples(examples, limits, "last")]
    assert last == ["traina2", "trainb2", "traina3", "trainb3", "testa3", "testb3"]
    assert select_examples(examples, MaxPerClass(train=None, test=None), "last") == examples


def test_only_the_named_classes_are_kept(project):
    main(assignments=[*DIGITS, "data.classes=['7', '1']"])
    assert [row.file for row in read_manifest(PROCESSED) if row.split == "test"] == [
        f"test/{name}/0000{number}.png" for name in "17" for number in range(2)
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.classes=['1', '11']", r"data\.classes: found '11', which is no class of this set; did you mean 1\?"),
        ("data.classes=['1']", r"data\.classes: found \['1'\]"),
        ("data.classes=[1, 2]", r"data\.classes\.0: found 1, expected a valid string"),
    ],
)
def test_classes_that_are_not_there_are_named(project, change, message):
    with pytest.raises(InputError, match=message):
        main(assignments=[*DIGITS, change])


def test_of_labelled_mosaics_no_classes_are_chosen(project):
    with pytest.raises(InputError, match=r"data\.classes: found with a set of several labels .* expected null"):
        main(assignments=["data.dataset=digits-multilabel", "data.image_size=16", "data.classes=['1', '2']"])


def test_files_are_numbered_per_class_and_sorted_for_the_tar():
    examples = [Example("train", name, str(index), Path()) for index, name in enumerate(["b", "a b", "a", "b"])]
    assert [(file, example.source) for file, example in number_files(examples)] == [
        ("train/a b/00000.png", "1"),
        ("train/a/00000.png", "2"),
        ("train/b/00000.png", "0"),
        ("train/b/00001.png", "3"),
    ]


def test_the_manifest_does_not_tell_where_the_images_came_from(project, monkeypatch):
    files = project / "files"
    md5s = write_folder(files)
    fake = fake_cifar10(md5s, write_archive(files, files / cifar.CIFAR10.archive))
    monkeypatch.setattr(cifar, "CIFAR10", fake)
    monkeypatch.setattr(cifar, "PUBLIC_FOLDER", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    options = ["data.dataset=cifar10", "data.image_size=32", "data.max_per_class=2"]
    results = []
    for source in (files, files / fake.folder, files / fake.archive):
        main(assignments=[*options, f"data.source={source}"])
        results.append(tree(PROCESSED))
    Path("data/raw").mkdir()
    write_package(Path("data/raw") / npm.FILE_NAME)
    main(assignments=options)
    results.append(tree(PROCESSED))
    assert all(result == results[0] for result in results)
    assert b"cifar10/train/00000" in results[0]["manifest.csv"]


def test_photos_of_any_size_become_squares_in_the_output_folder(project):
    root = photos(project / "my photos", "train/a b/1.jpg", "train/ü/1.png", "test/a b/1.webp", "test/ü/1.bmp")
    main(output_dir=Path("elsewhere"), assignments=["data.dataset=folder", f"data.source={root}", "data.image_size=16"])
    assert sorted(tree(Path("elsewhere"))) == [
        ".stamp",
        "images.tar",
        "manifest.csv",
        "test/a b/00000.png",
        "test/ü/00000.png",
        "train/a b/00000.png",
        "train/ü/00000.png",
    ]
    assert Image.open("elsewhere/train/ü/00000.png").size == (16, 16)
    assert not PROCESSED.exists()


@pytest.mark.fault(6)
def test_all_bad_photos_are_listed_at_once_and_nothing_is_written(project, record_property):
    record_property("faults", 2)
    root = photos(project / "photos", *(f"{name}/{number}.png" for name in "ab" for number in range(4)))
    (root / "a/1.png").write_bytes(b"")
    (root / "b/2.png").write_text("text")
    with pytest.raises(InputError, match=r"^2 unreadable images, .*a/1\.png: .*b/2\.png: "):
        main(assignments=["data.dataset=folder", f"data.source={root}", "data.max_per_class=null"])
    assert tree(project / "data") == {}


def test_photos_in_the_output_folder_are_never_replaced(project):
    root = photos(project / "photos", "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png")
    before = tree(root)
    with pytest.raises(InputError, match=r"1\.png: is not of this command's making"):
        main(output_dir=root, assignments=["data.dataset=folder", f"data.source={root}"])
    assert tree(root) == before


def test_few_images_are_in_memory_at_once(monkeypatch):
    monkeypatch.setattr(datadownload, "CHUNK", 4)
    started, most, lock = 0, 0, threading.Lock()

    def encode(pair, size, rule):
        nonlocal started
        with lock:
            started += 1
        return processed.ManifestRow("train", "a", pair[0], "", ""), b""

    monkeypatch.setattr(datadownload, "encode_example", lambda file, example, size, rule: encode((file,), size, rule))
    example = Example("train", "a", "", Path())
    for taken, _ in enumerate(encode_images([(str(index), example) for index in range(40)], 8, "crop")):
        most = max(most, started - taken)
    assert started == 40 and most <= 4


def test_bad_input_is_one_line_and_exit_code_2(project, repository):
    command = [sys.executable, repository / "Resnet23" / "datadownload.py", "--set", "data.source=nowhere"]
    command += ["--set", "data.dataset=folder"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data.source: nowhere does not exist") and done.stderr.count("\n") == 1


def test_the_official_files(mirror, project):
    main(assignments=["data.dataset=cifar10", f"data.source={mirror}", "data.image_size=32", "data.max_per_class=50"])
    rows = read_manifest(PROCESSED)
    assert len(rows) == 1000
    assert rows[0].source == "cifar10/train/00029"  # the first airplane of the training set
    assert rows[0].class_name == "airplane"

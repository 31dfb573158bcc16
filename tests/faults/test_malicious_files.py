"""Files that would run code, or fill the memory, if they were read carelessly: through the real commands."""

import io
import json
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_project import UNTRACKED, example_images, make_finished_project
from forked_processes import start
from refused_commands import contents, refusal
from small_encoders import FEATURES, counting_encoder, loaders, save_hugging_face_encoder
from small_project import REPOSITORY

from Resnet23.classifiers.cache import ENCODED_DIR
from Resnet23.classifiers.encoders import Encoder
from Resnet23.classifiers.feature_batches import open_batches
from Resnet23.config import INSPECTION_FILE
from Resnet23.keras_variant.params import KERAS_PARAMS_FILE
from Resnet23.modeling.resume import STATE_FILE
from Resnet23.outputs import KERAS
from Resnet23.sources.cifar import CIFAR10

pytestmark = pytest.mark.slow

WITNESS = "it-ran"
EVIL = "models/evil.pth"


class Payload:
    """Makes a file in the current directory when it is unpickled carelessly."""

    def __reduce__(self) -> tuple[Callable[[str, str], object], tuple[str, str]]:
        return open, (WITNESS, "x")


class Script(Payload):
    """The same by a text of Python."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exec, (f"open({WITNESS!r}, 'x').close()",)


def saved(value: object, legacy: bool = False) -> bytes:
    """What torch.save writes, in the format of today or in that before PyTorch 1.6."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def objects(value: object) -> bytes:
    """A .npy file whose elements are pickles."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([value] * 3, dtype=object), allow_pickle=True)
    return buffer.getvalue()


def compressed(content: bytes) -> bytes:
    """The same zip archive with its members compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    return buffer.getvalue()


MADE = {
    "pickle": lambda: pickle.dumps(Payload()),
    "text of a pickle": lambda: pickle.dumps(Payload(), protocol=0),
    "archive": lambda: saved({"format": "resnet23-checkpoint", "version": 1, "state_dict": Payload()}),
    "script": lambda: saved({"state_dict": Script()}),
    "old format": lambda: saved({"state_dict": Payload()}, legacy=True),
    "network": lambda: saved(torch.nn.Linear(2, 2)),
    "objects": lambda: objects(Payload()),
    "bomb": lambda: compressed(saved({"state_dict": torch.zeros(1 << 24)})),  # 64 MiB in 64 KiB
}
READERS = {
    "predict": ("modeling.predict", "--model", EVIL),
    "predict files": ("modeling.predict", "IMAGE", "--model", EVIL),
    "export": ("export", "--model", EVIL),
    "explain": ("explain", "--model", EVIL),
    "serve": ("serve", "--model", EVIL),
    "train": ("modeling.train", f"--set=model.pretrained={EVIL}"),
    "encoder": ("validate", "--model_name", EVIL),
    "head": ("classifiers.predict", EVIL, "IMAGE"),
    "head for export": ("classifiers.export", EVIL, "--output", "head.onnx"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_finished_project(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of a project after its training."""
    return shutil.copytree(finished, tmp_path / "project", symlinks=True)


def refused(folder: Path, reader: str) -> str:
    module, *arguments = READERS[reader]
    image, _ = example_images(folder)
    line = refusal(3, folder, f"Resnet23.{module}", *(image if each == "IMAGE" else each for each in arguments))
    assert EVIL in line and len(line) < 400
    return line


def test_the_payloads_run_where_pickles_are_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in (Payload(), Script()):
        pickle.loads(pickle.dumps(value))
        assert WITNESS in contents(tmp_path)
        Path(WITNESS).unlink()
    torch.load(io.BytesIO(MADE["archive"]()), weights_only=False)
    assert WITNESS in contents(tmp_path)


def test_a_command_that_runs_the_code_before_it_refuses_the_file_does_not_pass(tmp_path):
    file = tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps("no code"))
    assert refusal(3, tmp_path, "careless_command", file.name) == "evil.pth: not a readable checkpoint"
    file.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(AssertionError):
        refusal(3, tmp_path, "careless_command", file.name)
    assert (tmp_path / WITNESS).is_file()


@pytest.mark.fault(20)
@pytest.mark.parametrize("made", MADE)
def test_a_checkpoint_that_holds_code_is_refused_and_the_code_does_not_run(folder, made):
    (folder / EVIL).write_bytes(MADE[made]())
    assert "not a readable checkpoint" in refused(folder, "predict")


@pytest.mark.fault(20)
@pytest.mark.parametrize("reader", READERS)
def test_every_command_that_reads_weights_refuses_them(folder, reader, record_property):
    record_property("faults", 2)
    for made in ("archive", "pickle"):
        (folder / EVIL).write_bytes(MADE[made]())
        refused(folder, reader)


@pytest.mark.fault(20)
def test_a_state_that_holds_code_is_not_gone_on_with(folder, record_property):
    """It is as good as none, as after a damage to the disk: the training begins anew."""
    record_property("faults", 2)
    options = (*UNTRACKED, "--set=train.epochs=10", "--set=train.checkpoint_steps=1")
    for made in ("archive", "objects"):
        interrupted = start(folder, "Resnet23.modeling.train", *options)
        while interrupted.process.is_alive() and not list(folder.glob(f"models/.resume/*/{STATE_FILE}")):
            time.sleep(0.01)
        interrupted.process.kill()
        interrupted.process.join()
        [state] = folder.glob(f"models/.resume/*/{STATE_FILE}")
        state.write_bytes(MADE[made]())
        command = start(folder, "Resnet23.modeling.train", *options)
        assert command.wait() == 0, command.lines()
        [warning] = [line for line in command.lines() if "damaged" in line]
        assert "training starts anew" in warning
        assert not list(folder.rglob(WITNESS))


def lying_archive() -> bytes:
    """An .npz that says of itself that it unpacks to 8 GiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("batch.npy", b"")
        archive.filelist[0].file_size = 8 << 30
    return buffer.getvalue()


def large_array() -> bytes:
    """An .npz with an array of 8 TiB, of which it has nothing."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|u1", "fortran_order": False, "shape": (8 << 40,)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("batch", "labels", "kernels"):
            archive.writestr(f"{name}.npy", content.getvalue())
    return buffer.getvalue()


def npz_of_objects() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **dict.fromkeys(("batch", "labels", "kernels"), np.array([Payload()], dtype=object)))
    return buffer.getvalue()


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    "content", [npz_of_objects, lying_archive, large_array, MADE["pickle"], MADE["objects"]], ids=range(5)
)
def test_what_the_training_looked_like_is_arrays_or_refused(folder, content):
    (folder / INSPECTION_FILE).write_bytes(content())
    assert f"{INSPECTION_FILE}: not the arrays of a training" in refusal(3, folder, "Resnet23.plots", *UNTRACKED)


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", ["train/images.npy", "train/targets.npy", "test/images.npy", "test/targets.npy"])
def test_arrays_that_hold_code_are_refused(folder, name, record_property):
    record_property("faults", 4)
    for made in ("objects", "pickle"):
        (folder / "data/features" / name).write_bytes(MADE[made]())
        for module in ("modeling.train", "modeling.predict"):
            line = refusal(3, folder, f"Resnet23.{module}", *UNTRACKED)
            assert f"data/features/{name}: not a .npy array of numbers" in line


@pytest.mark.fault(20)
def test_batches_of_cifar_that_hold_code_are_refused(folder):
    batches = folder / "data/raw" / CIFAR10.folder
    batches.mkdir(parents=True)
    for name in CIFAR10.all_files:
        (batches / name).write_bytes(pickle.dumps({b"data": Payload(), b"labels": [0]}, protocol=2))
    assignments = ("--set=data.dataset=cifar10", "--set=data.source=data/raw")
    assert "wrong checksum" in refusal(3, folder, "Resnet23.datadownload", *assignments)


@pytest.mark.fault(20)
def test_encoded_images_that_hold_code_are_encoded_again(tmp_path, monkeypatch, record_property):
    record_property("faults", 5)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    encoder, (train, _) = Encoder(counting_encoder()), loaders(shuffle=False)

    def encode() -> torch.Tensor:
        batches = open_batches(encoder, train, torch.device("cpu"), FEATURES)
        return torch.cat([features for features, _ in batches])

    expected = encode()
    [file] = ENCODED_DIR.iterdir()
    doubles = io.BytesIO()
    np.save(doubles, expected.numpy().astype(np.float64))
    for content in (MADE["objects"](), MADE["pickle"](), npz_of_objects(), b"", doubles.getvalue()):
        file.write_bytes(content)
        assert torch.equal(encode(), expected)
    assert not Path(WITNESS).exists()


@pytest.mark.fault(20)
def test_an_encoder_in_the_format_of_hugging_face_that_holds_code_is_refused(folder):
    encoder = save_hugging_face_encoder(folder / "encoder")
    (encoder / "model.safetensors").unlink()
    (encoder / "pytorch_model.bin").write_bytes(saved({"embedder.embedder.convolution.weight": Payload()}))
    line = refusal(3, folder, "Resnet23.validate", "--model_name", "encoder")
    assert "encoder: its weights are a pickle that is damaged or holds code" in line


@pytest.mark.fault(20)
@pytest.mark.parametrize("made", ["pickle", "archive", "description"])
def test_a_keras_file_that_is_none_is_refused_before_keras_sees_it(folder, made):
    content = MADE[made]() if made in MADE else lambda_layer()
    for name in (KERAS.checkpoint, KERAS_PARAMS_FILE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / KERAS_PARAMS_FILE, folder / KERAS_PARAMS_FILE)
    (folder / KERAS.checkpoint).write_bytes(content)
    line = refusal(3, folder, "Resnet23.keras_variant.predict")
    assert f"{KERAS.checkpoint}: not a classifier that this project has saved" in line


def lambda_layer() -> bytes:
    """A .keras file with a layer made of code, and a description that is none."""
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
    layer = {"class_name": "Lambda", "config": {"name": "code", "function": code}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}))
        archive.writestr("classifier.json", json.dumps({"classes": []}))
    return buffer.getvalue()

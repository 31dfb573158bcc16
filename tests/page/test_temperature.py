"""The temperature is read from both frameworks' files as their own readers read it, and no code of a file is run."""

import json
import pickle
import zipfile
from dataclasses import replace

import pytest
from fake_results import write_checkpoint

from Resnet23.keras_variant.saved import DESCRIPTION
from Resnet23.outputs import KERAS, PYTORCH
from Resnet23.page.temperature import KERAS_DESCRIPTION, read_temperature


@pytest.mark.parametrize("temperature", [0.75, 2.0, None])
def test_it_is_the_one_that_a_checkpoint_holds(project, temperature):
    from small_checkpoint import small_checkpoint  # which imports PyTorch

    from Resnet23.modeling.checkpoint import Decision, load_checkpoint, save_checkpoint

    checkpoint = replace(small_checkpoint(), decision=Decision([0.5, 0.25, 0.5, 0.25], temperature))
    PYTORCH.checkpoint.parent.mkdir()
    save_checkpoint(PYTORCH.checkpoint, checkpoint)
    assert read_temperature(PYTORCH) == load_checkpoint(PYTORCH.checkpoint).decision.temperature == temperature
    write_checkpoint(PYTORCH.checkpoint, temperature)  # the stand-in of other tests is read in the same way
    assert read_temperature(PYTORCH) == temperature


@pytest.mark.parametrize("temperature", [0.75, None])
def test_it_is_the_one_that_a_keras_file_holds(project, temperature):
    assert KERAS_DESCRIPTION == DESCRIPTION
    KERAS.checkpoint.parent.mkdir(parents=True)
    with zipfile.ZipFile(KERAS.checkpoint, "w") as archive:
        archive.writestr(DESCRIPTION, json.dumps({"decision": {"temperature": temperature}}))
    assert read_temperature(KERAS) == temperature


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ["temperature", "".join(["temper", "ature"])], ids=["same text", "equal text"])
def test_a_class_of_the_key_s_name_does_not_hide_it(project, name, protocol):
    PYTORCH.checkpoint.parent.mkdir()
    content = {"classes": [name, "humidity"], "decision": {"temperature": 0.75}}
    with zipfile.ZipFile(PYTORCH.checkpoint, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol))
    assert read_temperature(PYTORCH) == 0.75


class Bomb:
    """A pickle that would make a folder when it is loaded."""

    def __reduce__(self):
        return __import__("os").mkdir, ("exploded",)


def test_a_file_that_says_nothing_gives_none_and_none_is_run(project):
    PYTORCH.checkpoint.parent.mkdir()
    for content in (b"weights", b""):
        PYTORCH.checkpoint.write_bytes(content)
        assert read_temperature(PYTORCH) is None
    for value in (Bomb(), {"temperature": Bomb()}, {"temperature": -1.0}, {"temperature": "hot"}, {}):
        with zipfile.ZipFile(PYTORCH.checkpoint, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        assert read_temperature(PYTORCH) is None
    with zipfile.ZipFile(PYTORCH.checkpoint, "w") as archive:
        archive.writestr("archive/data.pkl", b"\xff not a pickle")
    assert read_temperature(PYTORCH) is None
    assert not (project / "exploded").exists()

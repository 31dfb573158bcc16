"""Atomic writes: nobody sees half a file, nothing is left behind, DVC's cache is never written through."""

import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from Resnet23.errors import InputError, ResourceError
from Resnet23.files import atomic_folder, atomic_path, atomic_write, printable, sha256_file, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(file) as stream:
        stream.write("half of the new")
        raise RuntimeError
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_hard_link_to_the_file_is_not_written_through(tmp_path):
    file, cached = tmp_path / "file.txt", tmp_path / "cached"
    file.write_text("old")
    os.link(file, cached)
    with atomic_write(file) as stream:
        stream.write("new")
    assert (file.read_text(), cached.read_text()) == ("new", "old")


def test_missing_folders_are_made_and_permissions_are_ordinary(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with atomic_write(tmp_path / "a" / "b.txt") as stream:
        stream.write("é")
    written = tmp_path / "a" / "b.txt"
    assert written.read_bytes() == "é".encode()
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_full_disk_is_a_resource_error_that_names_the_file(tmp_path):
    with pytest.raises(ResourceError, match=r"new\.npy: the disk is full"), atomic_path(tmp_path / "new.npy"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no access"), atomic_write(tmp_path / "new.txt"):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "folder"
    (folder / "old").mkdir(parents=True)
    with pytest.raises(RuntimeError), atomic_folder(folder) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["old"]
    with atomic_folder(folder) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("stopped_at", [1, 2])
def test_a_folder_that_is_stopped_between_its_two_renames_is_the_old_one(tmp_path, monkeypatch, stopped_at):
    folder, rename, calls = tmp_path / "folder", os.replace, []
    folder.mkdir()
    (folder / "old").touch()

    def stop(*paths):
        calls.append(paths)
        if len(calls) == stopped_at:
            raise KeyboardInterrupt
        rename(*paths)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("text", ["I/O error: No space left on device (os error 28)", "database or disk is full"])
def test_a_full_disk_is_known_by_what_libraries_say_of_it(tmp_path, text):
    with pytest.raises(ResourceError, match="the disk is full"), atomic_path(tmp_path / "new.safetensors"):
        raise RuntimeError(text)


def test_json_is_readable_and_refuses_what_json_does_not_know(tmp_path):
    file = tmp_path / "values.json"
    write_json(file, {"name": "Žofie", "value": 0.5})
    assert json.loads(file.read_text(encoding="utf-8")) == {"name": "Žofie", "value": 0.5}
    assert "Žofie" in file.read_text(encoding="utf-8")
    with pytest.raises(ValueError):
        write_json(file, {"value": float("nan")})
    assert "0.5" in file.read_text(encoding="utf-8")


def test_sha256_is_the_published_one(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")  # the example of the standard, FIPS 180-4
    assert sha256_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_names_that_are_not_utf8_become_printable():
    assert printable(os.fsdecode(b"a\xffb")) == "a\\xffb"
    assert printable("plain 🐛") == "plain 🐛"


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".writing-{dead.pid}-x.npy").write_text("half")
    (tmp_path / f".writing-{dead.pid}-y" / "sub").mkdir(parents=True)
    (tmp_path / f".writing-{os.getppid()}-z").write_text("being written")
    with atomic_write(tmp_path / "new.txt") as file:
        file.write("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".writing-{os.getppid()}-z", "new.txt"]


def test_json_keeps_rows_of_integers_on_a_line_and_strings_as_they_are(tmp_path):
    value = {"matrix": [[1, 2], [-3, 4]], "text": "[\n  1,\n  2\n]", "floats": [0.5, 1], "empty": []}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == value
    assert "[-3, 4]" in text

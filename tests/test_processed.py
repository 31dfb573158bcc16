"""data/processed: the tar, the manifest and the class folders belong together, whatever happened in between."""

import hashlib
import io
import os
import shutil
import tarfile
from contextlib import suppress

import pytest

from Resnet23.errors import InputError, IntegrityError
from Resnet23.processed import ManifestRow, read_manifest, restore_folders, write_processed

FILES = ["test/cat/00000.png", "test/dög, the\n2nd/00000.png", "train/cat/00000.png", "train/dög, the\n2nd/00000.png"]


def example(file: str, content: bytes = b"pixels") -> tuple[ManifestRow, bytes]:
    split, class_name, _ = file.split("/")
    return ManifestRow(split, class_name, file, f"photos/{file}", hashlib.sha256(content).hexdigest()), content


def tree(folder) -> dict[str, bytes]:
    found = (path for split in ("train", "test") for path in (folder / split).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def rewrite_tar(folder, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> None:
    """Put another images.tar in the place of the right one, and make the class folders needy of it."""
    with tarfile.open(folder / "images.tar", "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            tar.addfile(member, io.BytesIO(content))
    (folder / ".stamp").unlink()


@pytest.fixture
def folder(tmp_path):
    write_processed([example(file, file.encode()) for file in FILES], tmp_path)
    return tmp_path


def test_manifest_and_folders_hold_what_was_written(folder):
    rows = read_manifest(folder)
    assert [row.file for row in rows] == [FILES[2], FILES[3], FILES[0], FILES[1]]  # train first, then by class
    assert rows[0] == example(FILES[2], FILES[2].encode())[0]
    assert tree(folder) == {file: file.encode() for file in FILES}


def test_numbers_above_99999_come_last(tmp_path):
    files = ["test/a/00000.png", "train/a/100000.png", "train/a/99999.png"]
    write_processed(map(example, files), tmp_path)
    assert [row.file for row in read_manifest(tmp_path)] == [
        "train/a/99999.png",
        "train/a/100000.png",
        "test/a/00000.png",
    ]


def test_the_tar_is_sorted_and_has_no_date_and_no_owner(folder, tmp_path):
    again = tmp_path / "again"
    write_processed([example(file, file.encode()) for file in FILES], again)
    assert (again / "images.tar").read_bytes() == (folder / "images.tar").read_bytes()
    with tarfile.open(again / "images.tar") as tar:
        assert tar.getnames() == FILES
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in tar} == {(0, 0, 0, "")}


def test_a_rewrite_leaves_no_stale_files(folder):
    write_processed([example("train/cat/00000.png"), example("test/cat/00000.png")], folder)
    assert tree(folder) == {"train/cat/00000.png": b"pixels", "test/cat/00000.png": b"pixels"}
    assert sorted(path.name for path in folder.iterdir()) == [".stamp", "images.tar", "manifest.csv", "test", "train"]


def test_a_failure_midway_leaves_everything_as_it_was(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def broken():
        yield example("test/cat/00000.png")
        raise InputError("the second image is broken")

    with pytest.raises(InputError, match="second image"):
        write_processed(broken(), folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("renames", range(8))
def test_an_end_between_the_renames_is_noticed(folder, monkeypatch, renames):
    replace, done = os.replace, []

    def dying_replace(source, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying_replace)
    changed = {file: b"new " + file.encode() for file in FILES}
    with suppress(KeyboardInterrupt):
        write_processed([example(file, content) for file, content in changed.items()], folder)
    monkeypatch.undo()
    try:
        restore_folders(folder)
    except IntegrityError:
        return  # new tar, old manifest: stage 1 has to run again
    rows = read_manifest(folder)
    assert {row.file: row.sha256 for row in rows} == {
        file: hashlib.sha256(content).hexdigest() for file, content in tree(folder).items()
    }


@pytest.mark.parametrize("loss", ["stamp", "old stamp", "folder"])
def test_folders_are_restored_from_the_tar(folder, loss):
    (folder / "train/cat/00000.png").write_bytes(b"of another run")
    (folder / "train/cat/00001.png").write_bytes(b"stale")
    if loss == "stamp":
        (folder / ".stamp").unlink()
    elif loss == "old stamp":
        (folder / ".stamp").write_text("0" * 64)
    else:
        shutil.rmtree(folder / "train")
    restore_folders(folder)
    assert tree(folder) == {file: file.encode() for file in FILES}


def test_folders_of_the_right_stamp_are_left_alone(folder):
    (folder / "train/cat/00000.png").write_bytes(b"edited by hand")
    (folder / "images.tar").unlink()
    restore_folders(folder)
    assert (folder / "train/cat/00000.png").read_bytes() == b"edited by hand"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({FILES[0]: b"other pixels"}, tarfile.REGTYPE),
        ({"../outside.png": b"x"}, tarfile.REGTYPE),
        ({"test/cat/00009.png": b"x"}, tarfile.REGTYPE),
        ({FILES[0]: b""}, tarfile.SYMTYPE),
        ({}, tarfile.REGTYPE),
    ],
    ids=["other pixels", "outside", "not in the manifest", "link", "missing"],
)
def test_a_tar_that_is_not_the_manifests_is_refused(folder, change, kind):
    before = tree(folder)
    rewrite_tar(folder, change, kind)
    with pytest.raises(IntegrityError, match=r"images\.tar"):
        restore_folders(folder)
    assert tree(folder) == before
    assert not (folder.parent / "outside.png").exists()


@pytest.mark.fault(3)
def test_a_truncated_or_missing_tar_is_named(folder):
    (folder / ".stamp").unlink()
    tar = folder / "images.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(IntegrityError, match=r"images\.tar"):
        restore_folders(folder)
    tar.unlink()
    with pytest.raises(InputError, match=r"images\.tar: no such file"):
        restore_folders(folder)


@pytest.mark.parametrize(
    "line",
    [
        "train,..,train/../00000.png,x,0",
        "train,a/b,train/a/b/00000.png,x,0",
        "val,cat,val/cat/00000.png,x,0",
        "train,cat,train/dog/00000.png,x,0",
        "train,cat,train/cat/photo.png,x,0",
        "train,cat,train/cat/00000.png,x",
    ],
)
def test_manifests_that_name_other_places_are_refused(folder, line):
    (folder / "manifest.csv").write_text(f"split,class,file,source,sha256\n{line}\n")
    with pytest.raises(IntegrityError, match=r"manifest\.csv"):
        read_manifest(folder)


def labelled(name: str, labels: str) -> str:
    return f"train,images,train/images/{name}.png,x,0,{labels}\n"


def test_a_manifest_with_labels_tells_none_from_no_label(tmp_path):
    manifest = tmp_path / "manifest.csv"
    header = "split,class,file,source,sha256,labels\n"
    manifest.write_text(header + labelled("00000", "a|b c") + labelled("00001", ""))
    assert [(row.labels, row.names) for row in read_manifest(tmp_path)] == [(("a", "b c"), ("a", "b c")), ((), ())]
    for labels in ("b|a", "a|a", "a|", "a,b"):
        manifest.write_text(header + labelled("00000", labels))
        with pytest.raises(IntegrityError, match=r"manifest\.csv"):
            read_manifest(tmp_path)


def test_manifests_out_of_order_or_without_content_are_refused(folder):
    manifest = folder / "manifest.csv"
    header, first, *rest = manifest.read_text().splitlines(keepends=True)
    for text in ["", header, header + first + first, "file\n" + first, "\0", header + "".join(rest) + first]:
        manifest.write_text(text)
        with pytest.raises(IntegrityError):
            read_manifest(folder)
    manifest.unlink()
    with pytest.raises(InputError, match=r"manifest\.csv: no such file"):
        read_manifest(folder)

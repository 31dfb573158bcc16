"""Archives from elsewhere: nothing leaves the folder, nothing is extracted by halves."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from Resnet23.errors import InputError, IntegrityError
from Resnet23.sources.archive import extract_archive, read_members


def make_tar(path, members, mode="w:gz"):
    """Write a tar of (name, content or member type) pairs."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
            else:
                member.type, member.linkname = content, "/etc/passwd"
                tar.addfile(member)
    return path


def make_zip(path, members, mode=stat.S_IFREG | 0o644):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            archive.writestr(info, content)
    return path


GOOD = [("photos/cat/a b.jpg", "one"), ("photos/dög/2.jpg", "two")]


@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.tar", "photos.tar.xz", "photos.zip"])
def test_good_archives_are_extracted_in_the_place_of_the_folder(tmp_path, name):
    path, folder = tmp_path / name, tmp_path / "out"
    folder.mkdir()
    (folder / "stale.jpg").touch()
    make_zip(path, GOOD) if name.endswith("zip") else make_tar(path, GOOD, f"w:{path.suffix[1:].replace('tar', '')}")
    extract_archive(path, folder)
    files = {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}
    assert files == dict(GOOD)


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../outside.txt", "x"),
        ("photos/../../outside.txt", "x"),
        ("/tmp/outside.txt", "x"),
        ("C:\\outside.txt", "x"),
        ("..\\outside.txt", "x"),
        ("photos/link", tarfile.SYMTYPE),
        ("photos/hard", tarfile.LNKTYPE),
        ("photos/device", tarfile.CHRTYPE),
        ("photos/pipe", tarfile.FIFOTYPE),
    ],
)
def test_dangerous_members_are_refused_before_anything_is_written(tmp_path, name, content, record_property):
    archives = [make_tar(tmp_path / "bad.tar", [*GOOD, (name, content)], "w")]
    if isinstance(content, str):
        archives.append(make_zip(tmp_path / "bad.zip", [*GOOD, (name, content)]))
    for path in archives:
        with pytest.raises(IntegrityError, match="nothing was extracted"):
            extract_archive(path, tmp_path / "in" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(path.name for path in archives)
    record_property("faults", len(archives))


@pytest.mark.fault(4)
def test_links_in_zip_files_are_refused(tmp_path):
    path = make_zip(tmp_path / "links.zip", [("photos/link", "/etc/passwd")], stat.S_IFLNK | 0o777)
    with pytest.raises(IntegrityError, match="neither file nor folder"):
        extract_archive(path, tmp_path / "out")


@pytest.mark.fault(3)
@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.tar.xz", "photos.tar", "photos.zip"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_archives_leave_nothing_and_keep_what_was_there(tmp_path, name, share):
    path, folder = tmp_path / name, tmp_path / "out"
    folder.mkdir()
    (folder / "old.jpg").touch()
    noise = os.urandom(30_000).hex()
    members = [("a.jpg", noise), ("b.jpg", noise[::-1])]
    make_zip(path, members) if name.endswith("zip") else make_tar(
        path, members, f"w:{path.suffix[1:].replace('tar', '')}"
    )
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(IntegrityError, match=f"{name}.*damaged or truncated"):
        extract_archive(path, folder)
    assert [file.name for file in folder.iterdir()] == ["old.jpg"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", name]


@pytest.mark.fault(3)
def test_a_flipped_byte_is_noticed(tmp_path):
    path = make_zip(tmp_path / "photos.zip", [("a.jpg", "some pixels " * 10)])
    path.write_bytes(path.read_bytes().replace(b"some pixels", b"sama pixels", 1))
    with pytest.raises(IntegrityError, match="damaged"):
        extract_archive(path, tmp_path / "out")


def test_what_is_no_archive_is_named(tmp_path):
    for name, error in [("notes.txt", InputError), ("notes.zip", IntegrityError), ("notes.tar.gz", IntegrityError)]:
        path = tmp_path / name
        path.write_text("no archive")
        with pytest.raises(error, match=name):
            extract_archive(path, tmp_path / "out")


def test_members_are_read_by_name(tmp_path):
    path = make_tar(tmp_path / "a.tgz", GOOD)
    assert read_members(path, ["photos/dög/2.jpg"]) == {"photos/dög/2.jpg": b"two"}
    with pytest.raises(IntegrityError, match="x is not in the archive"):
        read_members(path, ["x"])

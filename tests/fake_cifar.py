"""A CIFAR-10 of 24 images in all the forms in which the real one comes, with the digests to match."""

import hashlib
import io
import json
import os
import pickle
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from Resnet23.sources import npm
from Resnet23.sources.cifar import CIFAR10, Cifar

ROWS = dict.fromkeys(CIFAR10.all_files, 4)  # images in each file


def make_batches() -> dict[str, tuple[np.ndarray, list[int]]]:
    """{file: (images (N, 32, 32, 3) uint8, labels)} with pixels that differ everywhere."""
    generator = np.random.default_rng(23)
    return {
        name: (
            generator.integers(0, 256, (count, 32, 32, 3), np.uint8),
            [(3 * number + row) % 10 for row in range(count)],
        )
        for number, (name, count) in enumerate(ROWS.items())
    }


def write_folder(folder: Path) -> dict[str, str]:
    """The official layout below `folder`; gives {file: MD5}."""
    batches = folder / CIFAR10.folder
    batches.mkdir(parents=True)
    for name, (images, labels) in make_batches().items():
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        # With NumPy 1's module names, as in the official files; protocol 2 would spell bytes as calls of _codecs.
        content = pickle.dumps({b"data": planes, b"labels": labels}, protocol=3)
        (batches / name).write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    return {name: hashlib.md5((batches / name).read_bytes()).hexdigest() for name in ROWS}


def write_archive(folder: Path, path: Path) -> str:
    """The official archive of the files in `folder`; gives its MD5."""
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / CIFAR10.folder, CIFAR10.folder)
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_package(path: Path) -> None:
    """The npm package with the same images and labels."""
    batches = make_batches()
    with tarfile.open(path, "w:gz") as tar:
        for split, (pictures, labels_name) in npm.MEMBERS.items():
            names = list(CIFAR10.files[split])
            for picture, name in zip(pictures, names, strict=True):
                buffer = io.BytesIO()
                Image.fromarray(batches[name][0].reshape(-1, 1024, 3)).save(buffer, "PNG")
                add(tar, picture, buffer.getvalue())
            labels = [label for name in names for label in batches[name][1]]
            add(tar, labels_name, json.dumps(labels).encode())


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def fake_cifar10(md5s: dict[str, str], archive_md5: str) -> Cifar:
    """CIFAR10 with the checksums of the fake."""
    batches = make_batches()
    files = {split: {name: md5s[name] for name in names} for split, names in CIFAR10.files.items()}
    digests = {}
    for split, names in files.items():
        images = np.concatenate([batches[name][0] for name in names])
        labels = np.concatenate([np.array(batches[name][1], np.uint8) for name in names])
        digests[split] = (hashlib.sha256(images).hexdigest(), hashlib.sha256(labels).hexdigest())
    return replace(CIFAR10, files=files, archive_md5=archive_md5, digests=digests)


def write_fake_npm(folder: Path, script: str) -> None:
    """An executable `npm` in `folder` that runs a shell script."""
    folder.mkdir(exist_ok=True)
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(program, program.stat().st_mode | stat.S_IXUSR)

"""Images of seeded noise, as many as a measurement needs: as PNG files of a source folder, or as feature arrays.

Where time and memory are measured their content does not matter, and every one is another, as real ones are.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from Resnet23.arrays import FILES_FILE, FORMAT, IMAGES_FILE, INFO_FILE, TARGETS_FILE, VERSION
from Resnet23.config import CLASS_NAMES, FEATURES_DIR
from Resnet23.files import atomic_path, atomic_write, write_json
from Resnet23.images import encode_png
from Resnet23.processed import SPLITS

SIDE = 32  # pixels
CHUNK = 10_000  # images in memory at once
VAL_FRACTION = 0.1
NO_PAIRS = {where: {"count": 0, "pairs": []} for where in ("train-train", "test-test", "train-test")}


def split_counts(total: int) -> dict[str, int]:
    """So many images as training and test images, 5 to 1 as those of CIFAR-10, both at least one for each class.

    Both are multiples of the number of classes.
    """
    classes = len(CLASS_NAMES)
    test = max(classes, total // 6 // classes * classes)
    return {"train": max(2 * classes, (total - test) // classes * classes), "test": test}


def noise(count: int, seed: int) -> Iterator[np.ndarray]:
    """So many images in chunks (n, SIDE, SIDE, 3) uint8."""
    generator = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        yield generator.integers(0, 256, (min(CHUNK, count - start), SIDE, SIDE, 3), np.uint8)


def write_source(folder: Path, total: int) -> None:
    """Write about `total` PNG files as <split>/<class>/<number>.png, for `data.dataset: folder`."""
    for seed, (split, count) in enumerate(split_counts(total).items()):
        for name in CLASS_NAMES:
            (folder / split / name).mkdir(parents=True)
        number = 0
        with ThreadPoolExecutor() as pool:
            for chunk in noise(count, seed):
                for png in pool.map(encode_png, chunk):
                    name = CLASS_NAMES[number % len(CLASS_NAMES)]
                    (folder / split / name / f"{number}.png").write_bytes(png)
                    number += 1


def write_features(total: int, folder: Path = FEATURES_DIR) -> None:
    """Write about `total` images as stage 2 would leave them, without ever having been files."""
    counts, classes = split_counts(total), len(CLASS_NAMES)
    for seed, (split, count) in enumerate(counts.items()):
        targets = np.sort(np.arange(count) % classes)
        with atomic_path(folder / split / IMAGES_FILE) as path:
            images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE, 3))
            for start, chunk in zip(range(0, count, CHUNK), noise(count, seed), strict=True):
                images[start : start + len(chunk)] = chunk
            images.flush()
        with atomic_write(folder / split / TARGETS_FILE, "wb") as file:
            np.save(file, targets)
        names = [f"{split}/{CLASS_NAMES[target]}/{row:05d}.png" for row, target in enumerate(targets)]
        write_json(folder / split / FILES_FILE, names)
    held_out = np.arange(counts["train"])[:: round(1 / VAL_FRACTION)].tolist()
    write_json(folder / INFO_FILE, describe_features(counts, held_out))


def describe_features(counts: dict[str, int], held_out: list[int]) -> dict[str, object]:
    """What features.json says of such images; they are noise, so that no two are alike and the mean is known."""
    sizes = {"train": counts["train"] - len(held_out), "val": len(held_out), "test": counts["test"]}
    return {
        "format": FORMAT,
        "version": VERSION,
        "storage": "array",
        "dataset": "folder",
        "task": "multiclass",
        "classes": CLASS_NAMES,
        "image_size": SIDE,
        "resize": "crop",
        "counts": sizes,
        "class_counts": {part: dict.fromkeys(CLASS_NAMES, size // len(CLASS_NAMES)) for part, size in sizes.items()},
        "mean": [0.5] * 3,
        "std": [0.29] * 3,
        "val_indices": held_out,
        "digests": {split: {"images": f"noise {counts[split]}", "targets": "in turn"} for split in SPLITS},
        "duplicates": dict.fromkeys(("identical", "near_identical"), NO_PAIRS),
        "skipped": [],
    }

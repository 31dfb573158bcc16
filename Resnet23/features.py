"""Stage 2: decode the images once, into arrays that a trainer can map into memory.

Checks every file against the manifest, finds duplicates, holds out a validation split, and measures mean and standard
deviation of the images that are trained on. Writes data/features as arrays.py describes it; with
`features.storage: files` everything but the arrays of images.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from loguru import logger

from Resnet23.arrays import FILES_FILE, FORMAT, IMAGES_FILE, INFO_FILE, TARGETS_FILE, VERSION
from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import FEATURES_DIR, PARAMS_FILE, PROCESSED_DIR, Params, load_params
from Resnet23.decoding import decode_images
from Resnet23.duplicates import find_duplicates
from Resnet23.errors import InputError, name_some
from Resnet23.files import atomic_path, atomic_write, printable, require_writable, sha256_file, write_json
from Resnet23.imagefiles import ImageFiles, combined_sha256
from Resnet23.labels import hold_out, multi_hot
from Resnet23.processed import SPLITS, ManifestRow, read_manifest, restore_folders
from Resnet23.superclasses import find_superclasses


def make_features(params: Params, processed: Path = PROCESSED_DIR, output: Path = FEATURES_DIR) -> dict[str, Any]:
    """Decode the class folders of `processed` into the arrays of `output`; give what features.json says of them.

    With `features.storage: files` no array of images is among them. What `output` held before stays until everything
    about the new arrays is known. Raises InputError for bad images that are not to be skipped, for classes that
    cannot be split, and for more leaked images than allowed.
    """
    rows = read_manifest(processed)
    classes = sorted({name for row in rows for name in row.names})
    task = "multiclass" if rows[0].labels is None else "multilabel"
    targets, val_indices = label_images(rows, classes, task, params)
    with _image_arrays(output, params.features.storage) as arrays:
        rows, records, skipped = _decode_usable(processed, rows, arrays, params)
        if skipped:
            targets, val_indices = label_images(rows, classes, task, params)
        duplicates = _find_duplicates(processed, rows, arrays, records, params)
        (output / INFO_FILE).unlink(missing_ok=True)
    _write_rows(output, rows, targets)
    trained = np.delete(records[: len(targets["train"])], val_indices)
    mean, std = mean_and_std(trained["sum"], trained["sum_of_squares"], params.data.image_size**2)
    info = {
        **_describe(params, task, classes, targets, val_indices),
        "mean": mean,
        "std": std,
        "val_indices": val_indices.tolist(),
        "digests": _digests(output, rows, params.features.storage),
        "duplicates": duplicates,
        "skipped": [{"file": file, "reason": reason} for file, reason in skipped.items()],
    }
    write_json(output / INFO_FILE, info)
    return info


def label_images(
    rows: Sequence[ManifestRow], classes: Sequence[str], task: str, params: Params
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The targets of each split, and the sorted rows of the training split held out for validation.

    Raises InputError naming a class without training images, or with too few of them to hold some out.
    """
    targets = {split: encode_targets([row for row in rows if row.split == split], classes, task) for split in SPLITS}
    for split, found in targets.items():
        missing = name_some(classes[index] for index in np.flatnonzero(count_images(found, len(classes)) == 0))
        if not len(found) or (missing and split == "train"):
            raise InputError(
                f"no {split} images of the classes {missing}; add some to the source, then run `make data`"
            )
        if missing:
            logger.warning(f"no test images of the classes {missing}: their metrics will be undefined")
    return targets, split_validation(targets["train"], classes, params.features.val_fraction, params.seed)


def encode_targets(rows: Sequence[ManifestRow], classes: Sequence[str], task: str) -> np.ndarray:
    """The position of each image's class, (N,) int64, or of a multi-label set a 0 or 1 for each class, (N, C) uint8."""
    if task == "multilabel":
        return multi_hot([row.names for row in rows], classes)
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[row.class_name] for row in rows], np.int64)


def count_images(targets: np.ndarray, classes: int) -> np.ndarray:
    """How many images each class has, (C,), from targets (N,) or (N, C)."""
    return np.bincount(targets, minlength=classes) if targets.ndim == 1 else targets.sum(axis=0, dtype=np.int64)


def split_validation(targets: np.ndarray, classes: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """The sorted rows to hold out: about `fraction` of each class, drawn from `seed`; none for 0.

    Of labels (targets (N, C)) those with no image to hold out are named in a warning. Raises InputError naming a class
    that is too small to have an image on both sides, and when of no label an image can be held out.
    """
    if fraction == 0:
        return np.empty(0, np.int64)
    counts = count_images(targets, len(classes))
    try:
        held_out = hold_out(targets, fraction, seed) if targets.ndim == 2 else _draw(targets, fraction, seed)
        held_counts = count_images(targets[held_out], len(classes))
        short = np.minimum(held_counts, counts - held_counts) == 0
    except ValueError:  # a class of one image, or fewer images on one side than there are classes
        short = counts == counts.min()
    found = name_some(f"{classes[index]} ({counts[index]})" for index in np.flatnonzero(short))
    if targets.ndim == 2 and short.any() and not short.all():
        logger.warning(
            f"features.val_fraction {fraction}: too few training images to hold out some of each label: {found}; "
            "these are trained and not validated"
        )
    elif short.any():
        without = " and train.thresholds.goal to null" if targets.ndim == 2 else ""
        raise InputError(
            f"features.val_fraction {fraction}: too few training images to hold out some of each class: {found}; "
            f"add images, or set it to 0{without} to train on all"
        )
    return held_out


def mean_and_std(sums: np.ndarray, sums_of_squares: np.ndarray, pixels: int) -> tuple[list[float], list[float]]:
    """Mean and population standard deviation of each channel, levels scaled to [0, 1].

    `sums` and `sums_of_squares` (N, 3) int64 are over the `pixels` of each image. Whole numbers up to the last
    step, so that the result depends on no order. A constant channel gets 1, as in scikit-learn's StandardScaler:
    it can be divided by.
    """
    count = len(sums) * pixels
    totals = [int(total) for total in sums.sum(axis=0)]
    squares = [int(total) for total in sums_of_squares.sum(axis=0)]
    mean = [total / (255 * count) for total in totals]
    spread = [count * square - total**2 for total, square in zip(totals, squares, strict=True)]
    std = [math.sqrt(value) / (255 * count) if value else 1.0 for value in spread]
    return mean, std


def _draw(targets: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Sorted rows, the share `fraction` of each class. Raises ValueError when a class is too small for that."""
    from sklearn.model_selection import train_test_split  # here, because it would slow every decoding process down

    rows = np.arange(len(targets))
    return np.sort(train_test_split(rows, test_size=fraction, stratify=targets, random_state=seed)[1])


@contextmanager
def _image_arrays(output: Path, storage: str) -> Iterator[dict[str, Path]]:
    """Where the images of each split are to be written; they get their final names when the block succeeds.

    With the storage "files" nowhere, and images.npy of another run are removed then.
    """
    paths = {split: output / split / IMAGES_FILE for split in SPLITS}
    if storage == "array":
        with ExitStack() as written:
            yield {split: written.enter_context(atomic_path(path)) for split, path in paths.items()}
    else:
        yield {}
        for path in paths.values():
            path.unlink(missing_ok=True)


def _decode_usable(
    processed: Path, rows: Sequence[ManifestRow], arrays: Mapping[str, Path], params: Params
) -> tuple[Sequence[ManifestRow], np.ndarray, dict[str, str]]:
    """Decode all images, or all but the bad ones: the rows decoded, their records, and the bad files' reasons."""
    skipped: dict[str, str] = {}
    while True:
        records, bad = decode_images(processed, rows, arrays, params.data.image_size)
        if not bad:
            return rows, records, skipped
        if params.features.on_bad_image == "stop":
            named = name_some(f"{file} ({reason})" for file, reason in bad.items())
            raise InputError(
                f"{printable(processed)}: {len(bad)} bad images: {named}; "
                "run `make data`, or set features.on_bad_image to skip"
            )
        logger.warning(f"{len(bad)} bad images are left out; {INFO_FILE} lists them")
        skipped |= bad
        rows = [row for row in rows if row.file not in bad]


def _open_images(
    processed: Path, rows: Sequence[ManifestRow], arrays: Mapping[str, Path], size: int
) -> Iterator[np.memmap | ImageFiles]:
    """The images of each split, as they will be read: from the arrays, or where there are none, from their files."""
    for split in SPLITS:
        if arrays:
            yield np.load(arrays[split], mmap_mode="r", allow_pickle=False)
        else:
            part = [row for row in rows if row.split == split]
            yield ImageFiles(processed, [row.file for row in part], [row.sha256 for row in part], size)


def _find_duplicates(
    processed: Path, rows: Sequence[ManifestRow], arrays: Mapping[str, Path], records: np.ndarray, params: Params
) -> dict[str, Any]:
    """Identical and near-identical pairs. Raises InputError when more are the same in both splits than allowed."""
    train, test = _open_images(processed, rows, arrays, params.data.image_size)
    duplicates = find_duplicates(train, test, records["digest"], records["hash"], [row.file for row in rows])
    leaked, max_leaked = duplicates["identical"]["train-test"], params.features.max_leaked
    if max_leaked is not None and leaked["count"] > max_leaked:
        pairs = name_some(" = ".join(pair) for pair in leaked["pairs"])
        raise InputError(
            f"{leaked['count']} identical images in train and test, features.max_leaked allows {max_leaked}: {pairs}; "
            "remove them from the source, or raise the limit"
        )
    return duplicates


def _write_rows(output: Path, rows: Sequence[ManifestRow], targets: Mapping[str, np.ndarray]) -> None:
    """Write what belongs to the rows of the images: targets and file names."""
    for split in SPLITS:
        with atomic_write(output / split / TARGETS_FILE, "wb") as file:
            np.save(file, targets[split], allow_pickle=False)
        write_json(output / split / FILES_FILE, [row.file for row in rows if row.split == split])


def _describe(
    params: Params, task: str, classes: list[str], targets: Mapping[str, np.ndarray], val_indices: np.ndarray
) -> dict[str, Any]:
    """What the images are, and how many of each class are trained on, held out and tested on."""
    parts = {
        "train": np.delete(targets["train"], val_indices, axis=0),
        "val": targets["train"][val_indices],
        "test": targets["test"],
    }
    per_class = {name: count_images(part, len(classes)).tolist() for name, part in parts.items()}
    superclasses = find_superclasses(params.data.dataset, classes)
    return {
        "format": FORMAT,
        "version": VERSION,
        "storage": params.features.storage,
        "dataset": params.data.dataset,
        "task": task,
        "classes": classes,
        **({"superclasses": superclasses} if superclasses else {}),
        "image_size": params.data.image_size,
        "resize": params.data.resize,
        "counts": {name: len(part) for name, part in parts.items()},
        "class_counts": {name: dict(zip(classes, counts, strict=True)) for name, counts in per_class.items()},
    }


def _digests(output: Path, rows: Sequence[ManifestRow], storage: str) -> dict[str, dict[str, str]]:
    """What changes with the images and the targets, so that whatever depends on features.json notices."""
    if storage == "array":
        images = {split: sha256_file(output / split / IMAGES_FILE) for split in SPLITS}
    else:
        images = {split: combined_sha256(row.sha256 for row in rows if row.split == split) for split in SPLITS}
    return {split: {"images": images[split], "targets": sha256_file(output / split / TARGETS_FILE)} for split in SPLITS}


def _report(info: Mapping[str, Any]) -> None:
    """Say in a few lines what was made and what to look at."""
    counts, duplicates = info["counts"], info["duplicates"]
    numbers = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    logger.info(f"{FEATURES_DIR}: {numbers} images of {len(info['classes'])} classes, side {info['image_size']} pixels")
    for kind, found in duplicates.items():
        if any(pairs["count"] for pairs in found.values()):
            listed = ", ".join(f"{where} {pairs['count']:,}" for where, pairs in found.items())
            logger.info(f"{kind.replace('_', '-')} pairs: {listed}; {INFO_FILE} lists them")


def main(
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Decode and measure data/processed, for the arrays and the description in data/features."""
    params = load_params(params_file, preset, assignments)
    restore_folders(PROCESSED_DIR)
    require_writable(FEATURES_DIR)
    _report(make_features(params))


if __name__ == "__main__":
    run_command(main)

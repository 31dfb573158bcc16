"""Stage 1: fetch a data set, verify it, and write its images as equal squares into data/processed."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from loguru import logger
from PIL import Image
from tqdm import tqdm

from Resnet23.command import DebugOption, ParamsOption, PresetOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, PROCESSED_DIR, MaxPerClass, load_params, suggest
from Resnet23.errors import InputError
from Resnet23.files import printable, require_writable
from Resnet23.images import IMAGE_SUFFIXES, ResizeRule, encode_png, load_image, resize_image
from Resnet23.processed import IMAGE_NAME, SPLITS, ManifestRow, write_processed
from Resnet23.sources import DATASETS
from Resnet23.sources.examples import Example

CHUNK = 512  # images that are in memory at once
OutputOption = Annotated[Path, typer.Option("--output-dir", help="Where the images and their manifest go.")]


def main(
    output_dir: OutputOption = PROCESSED_DIR,
    params_file: ParamsOption = PARAMS_FILE,
    preset: PresetOption = None,
    assignments: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Fetch the images that params.yaml names and write them, resized and verified, as class folders and a manifest."""
    params = load_params(params_file, preset, assignments)
    data = params.data
    check_output(output_dir)
    require_writable(output_dir)
    examples = DATASETS[data.dataset](data, params.seed)
    chosen = select_classes(examples, data.classes)
    numbered = number_files(select_examples(chosen, data.max_per_class, data.take))
    rows = write_processed(encode_images(numbered, data.image_size, data.resize), output_dir)
    counts = Counter(row.split for row in rows)
    classes = len({name for row in rows for name in row.names})
    logger.info(
        f"{data.dataset}: {counts['train']:,} training and {counts['test']:,} test images of {classes} classes, "
        f"{data.image_size} x {data.image_size} pixels, in {printable(output_dir)}"
    )


def check_output(folder: Path) -> None:
    """Raise InputError when the class folders to be replaced hold images that this stage did not write."""
    for split in SPLITS:
        for parent, _, names in os.walk(folder / split):
            foreign = [
                name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not IMAGE_NAME.fullmatch(name)
            ]
            if foreign:
                raise InputError(
                    f"{printable(Path(parent, foreign[0]))}: is not of this command's making and would be lost; "
                    "move it away or choose another --output-dir"
                )


def select_classes(examples: Sequence[Example], names: Sequence[str] | None) -> Sequence[Example]:
    """The examples of these classes, in the data set's own order; None stands for all classes.

    Raises InputError for a class that the data set does not have, and where images have several labels.
    """
    if names is None:
        return examples
    if any(example.labels is not None for example in examples):
        raise InputError("data.classes: found with a set of several labels for each image, expected null")
    known = sorted({example.class_name for example in examples})
    if unknown := [name for name in names if name not in known]:
        hint = suggest(unknown[0], known)
        raise InputError(f"data.classes: found {unknown[0]!r}, which is no class of this set; {hint}")
    return [example for example in examples if example.class_name in names]


def select_examples(examples: Sequence[Example], limits: MaxPerClass, take: str) -> list[Example]:
    """The first or last examples of each class in each split, in the data set's own order.

    One with several labels is kept as long as one of them has not reached its limit; one without any counts as of a
    class of its own.
    """
    counts: Counter[tuple[str, str]] = Counter()
    kept = []
    for example in examples if take == "first" else reversed(examples):
        keys = [(example.split, name) for name in example.names or ("",)]
        limit = getattr(limits, example.split)
        if limit is None or any(counts[key] < limit for key in keys):
            counts.update(keys)
            kept.append(example)
    return kept if take == "first" else kept[::-1]


def number_files(examples: Sequence[Example]) -> list[tuple[str, Example]]:
    """Examples with the files they become, <split>/<class>/<00000>.png, sorted by file."""
    counts: Counter[tuple[str, str]] = Counter()
    numbered = []
    for example in examples:
        key = (example.split, example.class_name)
        numbered.append((f"{example.split}/{example.class_name}/{counts[key]:05d}.png", example))
        counts[key] += 1
    return sorted(numbered, key=lambda pair: pair[0])


def encode_images(
    numbered: Sequence[tuple[str, Example]], size: int, rule: ResizeRule
) -> Iterator[tuple[ManifestRow, bytes]]:
    """Decode, resize and encode the examples in parallel, a chunk at a time, in their order.

    Raises InputError that lists every unreadable image, after the last example.
    """
    failures: list[str] = []

    def encode(pair: tuple[str, Example]) -> tuple[ManifestRow, bytes] | None:
        try:
            return encode_example(*pair, size, rule)
        except InputError as error:
            failures.append(str(error))
            return None

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(numbered), desc="images", unit=" images", disable=None) as bar,
    ):
        for start in range(0, len(numbered), CHUNK):
            for encoded in pool.map(encode, numbered[start : start + CHUNK]):
                bar.update()
                if encoded is not None:
                    yield encoded
    if failures:
        raise InputError(f"{len(failures)} unreadable images, repair or remove them: {'; '.join(sorted(failures))}")


def encode_example(file: str, example: Example, size: int, rule: ResizeRule) -> tuple[ManifestRow, bytes]:
    """The PNG file of one example and its row in the manifest. Raises InputError naming an unreadable image."""
    if isinstance(example.image, Path):
        array = load_image(example.image, size, rule)
    else:
        array = resize_image(Image.fromarray(example.image), size, rule)
    png = encode_png(array)
    digest = hashlib.sha256(png).hexdigest()
    return ManifestRow(example.split, example.class_name, file, example.source, digest, example.labels), png


if __name__ == "__main__":
    run_command(main)

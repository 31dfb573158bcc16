"""What a classifier says about image files, as a table: a row for each file, printed and written as CSV or JSON."""

import csv
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from loguru import logger
from tqdm import tqdm

from Resnet23.errors import InputError, one_line
from Resnet23.files import CsvLines, atomic_write, printable, require_writable, write_json
from Resnet23.images import IMAGE_SUFFIXES, is_image_file
from Resnet23.labels import join_labels
from Resnet23.modeling.inference import Classifier, FilePrediction, predict_files
from Resnet23.multilabel_predictions import answer_confidence

TOP = 5  # classes named for each file

OutputOption = Annotated[
    Path | None, typer.Option("--output", help="Also write the table to this .csv or .json file.", dir_okay=False)
]
StrictOption = Annotated[bool, typer.Option("--strict", help="End with exit code 2 when a file cannot be read.")]


def check_output(output: Path | None) -> None:
    """Raise InputError when the table cannot be written there, or in the format that the name of `output` asks for."""
    if output is None:
        return
    if output.suffix not in (".csv", ".json"):
        raise InputError(f"--output {printable(output)}: expected a name that ends in .csv or .json")
    require_writable(output.parent)


def classify(classifier: Classifier, paths: Sequence[Path], output: Path | None, strict: bool) -> None:
    """Print a row for every image file, write the table to `output`, and say how many could not be read.

    Raises InputError for a path that does not exist and, when `strict`, for an unreadable file.
    """
    files = find_images(paths)
    # A single class is a yes-or-no question, whatever the task.
    has_labels = classifier.checkpoint.task == "multilabel" and len(classifier.classes) > 1
    row_of = labels_row if has_labels else table_row
    rows = []
    for prediction in predict_files(classifier, files):
        rows.append(row_of(prediction, classifier.classes, classifier.thresholds))
        tqdm.write(_line(rows[-1], _most_probable(prediction, classifier.classes, without=rows[-1].get("labels", ()))))
    if output:
        _write_table(output, rows)
    failed = sum(bool(row["error"]) for row in rows)
    if failed:
        message = f"{failed} of {len(rows)} files could not be read; their rows say why"
        if strict:
            raise InputError(message)
        logger.warning(message)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as given, in order; folders are searched for image files, all the way down, in sorted order."""
    files: list[Path] = []
    for path in paths:
        if os.path.isdir(path):  # of pathlib's a name that is too long would be an error
            found = sorted(file for file in path.rglob("*") if is_image_file(file))
            if not found:
                raise InputError(f"{printable(path)}: no images in this folder; expected {', '.join(IMAGE_SUFFIXES)}")
            files += found
        elif os.path.exists(path):
            files.append(path)
        else:
            raise InputError(f"{printable(path)}: no such file or folder")
    return files


def labels_row(prediction: FilePrediction, classes: Sequence[str], thresholds: Sequence[float]) -> dict[str, Any]:
    """A row for a file with any number of labels: `labels` are those that reach their thresholds, the surest first.

    `class` is their names joined by `|`, in the classes' order as everywhere, and `confidence` the probability that all
    answers are right, if they are independent of each other. `top5` are the most probable labels, given or not.
    """
    file, probabilities = printable(prediction.file), prediction.probabilities
    if probabilities is None:
        return {"file": file, "class": "", "confidence": None, "labels": {}, "top5": {}, "error": prediction.error}
    given = probabilities >= np.array(thresholds)
    names = [name for name, is_given in zip(classes, given, strict=True) if is_given]
    others = [name for name in classes if name not in names]
    return {
        "file": file,
        "class": join_labels(names),
        "confidence": round(float(answer_confidence(probabilities, given)), 6),
        "labels": _most_probable(prediction, classes, without=others, most=len(classes)),
        "top5": _most_probable(prediction, classes),
        "error": "",
    }


def table_row(
    prediction: FilePrediction, classes: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """A row of the table: file, class, its probability, the five most probable classes, or the error.

    A single class is a yes-or-no question: the answer is NAME from the probability of its threshold on (0.5 where there
    is none), `not NAME` below, and the confidence is the probability of that answer.
    """
    file = printable(prediction.file)
    if prediction.probabilities is None:
        return {"file": file, "class": "", "confidence": None, "top5": {}, "error": prediction.error}
    probabilities = dict(zip(classes, prediction.probabilities.tolist(), strict=True))
    best = max(probabilities, key=probabilities.get)
    if len(classes) == 1:
        is_yes = probabilities[best] >= (thresholds or [0.5])[0]
        opposite = f"not {best}"
        probabilities[opposite] = 1 - probabilities[best]
        best = best if is_yes else opposite
    order = sorted(probabilities, key=probabilities.get, reverse=True)[:TOP]
    top = {name: round(probabilities[name], 6) for name in order}
    return {"file": file, "class": best, "confidence": top[best], "top5": top, "error": ""}


def _most_probable(
    prediction: FilePrediction, classes: Sequence[str], without: Collection[str] = (), most: int = TOP
) -> dict[str, float]:
    """The probabilities of the most probable classes, the highest first; none for a file that could not be read."""
    if prediction.probabilities is None:
        return {}
    shares = {name: round(value, 6) for name, value in zip(classes, prediction.probabilities.tolist(), strict=True)}
    order = sorted((name for name in classes if name not in without), key=shares.get, reverse=True)
    return {name: shares[name] for name in order[:most]}


def _line(row: dict[str, Any], others: Mapping[str, float]) -> str:
    """A row as people read it: one line, whatever the names hold.

    `others` are the most probable labels that are not given, of a classifier of labels.
    """
    if row["error"]:
        line = f"{row['file']}  error: {row['error']}"
    elif "labels" in row:
        brackets = f"  ({_listing(others)})" if others else ""
        line = f"{row['file']}  {_listing(row['labels']) or 'no label'}{brackets}"
    else:
        line = f"{row['file']}  {row['class']}  {row['confidence']:.1%}  ({_listing(row['top5'])})"
    return one_line(line)


def _listing(probabilities: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {probability:.1%}" for name, probability in probabilities.items())


def _write_table(output: Path, rows: list[dict[str, Any]]) -> None:
    if output.suffix == ".json":
        write_json(output, rows)
        return
    with atomic_write(output, newline="") as file:
        writer = csv.DictWriter(CsvLines(file), list(rows[0]))
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value

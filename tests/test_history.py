"""reports/history.csv: what is written is read again, and a wrong cell is named."""

import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from Resnet23.errors import InputError
from Resnet23.history import COLUMNS, EpochRecord, best_epoch, has_validation, read_history, write_history

RECORD = EpochRecord(1, 1.0986122886681098, 1 / 3, 0.1 + 0.2, 0.5, 1e-05, 12.5, 7200.123456789, 0.04)
RECORDS = [RECORD, replace(RECORD, epoch=2, train_loss=1e-300, val_accuracy=1.0), replace(RECORD, epoch=3)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.csv"


def test_every_number_comes_back_with_all_its_digits(file):
    write_history(RECORDS, file)
    columns = read_history(file)
    assert list(columns) == list(COLUMNS)
    for row, record in enumerate(RECORDS):
        written = asdict(record)
        assert {name: values[row] for name, values in columns.items()} == {name: written[name] for name in COLUMNS}
    assert has_validation(columns)


def test_without_validation_its_columns_are_empty(file):
    write_history([replace(record, val_loss=None, val_accuracy=None) for record in RECORDS], file)
    assert re.fullmatch(r"1,1\.0986\d+,0\.3\d+,,,1e-05,12\.5,7200\.123456789,0\.04", file.read_text().splitlines()[1])
    columns = read_history(file)
    assert np.isnan(columns["val_loss"]).all() and np.isnan(columns["val_accuracy"]).all()
    assert columns["epoch"].tolist() == [1, 2, 3]
    assert not has_validation(columns)


def test_a_line_ends_alike_on_every_system(file):
    write_history(RECORDS, file)
    assert file.read_bytes().count(b"\n") == 4 and b"\r" not in file.read_bytes()


@pytest.mark.parametrize(
    ("accuracies", "losses", "best"),
    [
        ([0.5, 0.7, 0.6], [1.0, 3.0, 0.1], 1),
        ([0.7, 0.7, 0.7], [1.0, 0.8, 0.9], 1),
        ([0.7, 0.7, 0.1], [0.8, 0.8, 0.1], 0),
        ([math.nan] * 3, [math.nan] * 3, 2),
    ],
)
def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss_then_is_the_first(accuracies, losses, best):
    assert best_epoch({"train_loss": [1, 1, 1], "val_accuracy": accuracies, "val_loss": losses}) == best


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("0.04", "fast", 1), "line 2: could not convert string to float: 'fast'; expected 9"),
        (lambda text: text.replace("0.04\n3", "0.04,7\n3"), "line 3: .*expected 9 numbers"),
        (lambda text: text.replace("0.04\n3", "\n3"), "line 3: could not convert string to float: ''"),
        (lambda text: text.replace("train_loss", "loss"), "expected the columns epoch,train_loss"),
        (lambda text: text.splitlines()[0] + "\n", "expected the columns .* and a row for each epoch"),
        (lambda text: "", "expected the columns"),
        (lambda text: text + '"', "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(file, spoil, message):
    write_history(RECORDS, file)
    file.write_text(spoil(file.read_text()))
    with pytest.raises(InputError, match=f"history.csv: {message}") as caught:
        read_history(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_who_writes_it(file):
    with pytest.raises(InputError, match="no such file; `make train` writes it"):
        read_history(file)


def test_a_file_that_is_no_text_is_refused(file):
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read .*UTF-8"):
        read_history(file)

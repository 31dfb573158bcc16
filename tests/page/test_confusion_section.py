"""The data of the confusion matrix, its largest mistakes, and the table of the classes."""

import numpy as np

from Resnet23.page.classes import describe_classes
from Resnet23.page.confusion import describe_confusion, largest_confusions
from Resnet23.predictions import Predictions

COUNTS = np.array([[7, 3, 0], [3, 3, 0], [1, 1, 8]])
CLASSES = ["cat", "dog", "ship"]


def predictions() -> Predictions:
    """Test images that give COUNTS."""
    pairs = [(true, taken) for true in range(3) for taken in range(3) for _ in range(COUNTS[true, taken])]
    labels, taken = np.array(pairs).T
    return Predictions([f"{row}.png" for row in range(len(pairs))], CLASSES, labels, np.eye(3)[taken])


def test_the_largest_come_first_and_of_equal_ones_the_larger_share():
    found = largest_confusions(COUNTS, CLASSES)
    assert [(pair["true"], pair["taken"], pair["count"]) for pair in found] == [
        ("dog", "cat", 3), ("cat", "dog", 3), ("ship", "cat", 1), ("ship", "dog", 1),
    ]  # fmt: skip
    assert [pair["share"] for pair in found] == [0.5, 0.3, 0.1, 0.1]
    assert len(largest_confusions(COUNTS, CLASSES, most=2)) == 2
    assert largest_confusions(np.diag([3, 4]), CLASSES[:2]) == []


def test_the_script_gets_the_cells_that_are_not_empty():
    described = describe_confusion(predictions(), {"cat": "animal", "dog": "animal", "ship": "vehicle"})
    assert described["script"]["families"] == ["animal", "animal", "vehicle"]
    assert described["script"]["cells"] == [[0, 0, 7], [0, 1, 3], [1, 0, 3], [1, 1, 3], [2, 0, 1], [2, 1, 1], [2, 2, 8]]
    assert described["table"] == COUNTS.tolist()
    assert described["mistakes"] == 8
    assert describe_confusion(predictions(), {})["script"]["families"] == []


def test_the_table_is_left_out_where_nobody_could_read_it():
    many = [f"class {number}" for number in range(101)]
    sparse = Predictions(["a.png"], many, np.array([0]), np.eye(101)[[5]])
    assert describe_confusion(sparse, {})["table"] == []


def test_each_class_says_what_it_is_taken_for():
    rows = describe_classes({name: {"f1": 0.5} for name in CLASSES}, predictions(), {})
    assert [row["taken_for"] for row in rows] == [
        {"name": "dog", "count": 3}, {"name": "cat", "count": 3}, {"name": "cat", "count": 1},
    ]  # fmt: skip
    perfect = Predictions(["a.png"], ["x", "y"], np.array([1]), np.array([[0.2, 0.8]]))
    assert [row["taken_for"] for row in describe_classes({"x": {}, "y": {}}, perfect, {})] == [None, None]

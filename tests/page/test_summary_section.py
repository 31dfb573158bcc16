"""The result beside chance, and beside the published figures where the task is theirs."""

import pytest

from Resnet23.page.summary import compare_with_baselines, compare_with_random_order, is_published_task

CIFAR = [f"class {number}" for number in range(10)]


def info(classes=CIFAR, dataset="cifar10", train=450, val=50):
    """What features.json says of the classes."""
    counts = {"train": dict.fromkeys(classes, train), "val": dict.fromkeys(classes, val)}
    return {"dataset": dataset, "classes": classes, "class_counts": counts}


def test_the_published_figures_stand_beside_their_own_task_only():
    assert is_published_task(info())
    assert is_published_task(info(train=500, val=0))
    for other in (info(dataset="digits"), info(train=4500, val=500), info(CIFAR[:9])):
        assert not is_published_task(other)


def test_rows_are_ordered_by_what_was_reached():
    per_class = {name: {"support": 100 + 100 * (name == CIFAR[0])} for name in CIFAR}
    rows = compare_with_baselines({"accuracy": 0.5, "per_class": per_class}, info())
    assert [(row["name"], round(row["share"], 4)) for row in rows] == [
        ("ResNet-23", 0.58),
        ("This model", 0.5),
        ("ResNet-18", 0.4),
        ("Always the most frequent class", round(200 / 1100, 4)),
        ("Guessing among 10 classes", 0.1),
    ]
    assert "published" not in {
        row["kind"] for row in compare_with_baselines({"accuracy": 0.5, "per_class": per_class}, info(dataset="folder"))
    }


def test_labels_are_compared_with_a_random_order():
    per_class = {"a": {"support": 10}, "b": {"support": 30}, "absent": {"support": 0}}
    rows = compare_with_random_order({"mAP": 0.8, "per_class": per_class}, 100)
    assert [row["share"] for row in rows] == pytest.approx([0.8, 0.2])

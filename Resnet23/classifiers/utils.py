"""Many classes as one question: is it this one, or any other?"""

from typing import Any

from torch.utils.data import Dataset

from Resnet23.errors import InputError


def one_vs_rest(dataset: Dataset, target_class: int) -> Dataset:
    """`dataset` with labels 1.0 for `target_class` and 0.0 for every other; the given data set is not changed.

    It needs `.targets`, a label for each of its items (image, label), and the result has such, too. Raises InputError
    when it has none, or when no item is of that class.
    """
    if not hasattr(dataset, "targets"):
        raise InputError(
            f"one_vs_rest: {type(dataset).__name__} has no `.targets`; expected a data set that lists its labels there"
        )
    return _OneVsRest(dataset, target_class)


class _OneVsRest(Dataset[tuple[Any, float]]):
    """The images of another data set, each with 1.0 or 0.0."""

    def __init__(self, dataset: Dataset, target_class: int) -> None:
        labels = [int(label) for label in dataset.targets]  # of a list, an array or a tensor
        if target_class not in labels:
            known = ", ".join(str(label) for label in sorted(set(labels)))
            raise InputError(
                f"target_class: found {target_class!r}, which no image has; the classes are {known or 'none'}"
            )
        self.dataset = dataset
        self.targets = [float(label == target_class) for label in labels]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, float]:
        return self.dataset[index][0], self.targets[index]

"""How familiar an image is to a network, and the rule by which the page warns that it has seen nothing like it.

The score of a network that chooses one class is the logarithm of the sum of the exponentials of its logits: the
negative of what Liu et al., "Energy-based Out-of-distribution Detection" (2020, arXiv:2010.03759), call the energy, at
their temperature of 1. With several labels it is the sum of that of each label: Wang et al., "Can multi-label
classification networks know what they don't know?" (2021, arXiv:2109.14162). High scores are familiar.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from Resnet23.arrays import Features, read_features
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.exporting.parity import spread
from Resnet23.modeling.inference import Classifier, predict_logits

WARNED = 0.05  # share of the project's own images that are warned about
MOST_IMAGES = 1000  # of the project, to fit the threshold on; more would only make the page start later
FEWEST_IMAGES = 20  # fewer do not show where their lowest 5% begin
UNSURE_LABEL = 0.5  # of several labels, without a project: the largest probability below which there is a warning


@dataclass(frozen=True)
class Rule:
    """An image is unfamiliar when its score is below the threshold; `origin` says where that comes from."""

    score: Literal["energy", "probability"]
    threshold: float
    origin: str

    def find_unfamiliar(self, task: str, logits: Tensor, probabilities: np.ndarray) -> np.ndarray:
        """Which images to warn about, (N,) bool; logits and probabilities (N, C)."""
        scores = energy_score(task, logits) if self.score == "energy" else largest_probability(probabilities)
        return scores < self.threshold


def energy_score(task: str, logits: Tensor) -> np.ndarray:
    """The negative energy of each image, (N,) float32, of its logits (N, C) on the CPU."""
    if logits.shape[1] == 1:  # yes or no: the two classes whose softmax gives the same probabilities, none preferred
        logits, task = torch.cat([logits / 2, -logits / 2], dim=1), "multiclass"
    scores = F.softplus(logits).sum(dim=1) if task == "multilabel" else logits.logsumexp(dim=1)
    return scores.numpy()


def largest_probability(probabilities: np.ndarray) -> np.ndarray:
    """The probability of the surest class of each image, (N,); a single class is answered by yes or no."""
    if probabilities.shape[1] == 1:
        probabilities = np.concatenate([probabilities, 1 - probabilities], axis=1)
    return probabilities.max(axis=1)


def choose_rule(classifier: Classifier) -> Rule:
    """Warn below the energy score that 95% of the images of the project in the current directory reach.

    Those are its validation images, or its training images where there are few. Without a project of the classifier's
    classes the rule is about the largest probability.
    """
    try:
        features = read_features()
        check_project(classifier, features)
        split, rows = own_images(features)
        scores = energy_score(classifier.checkpoint.task, own_logits(classifier, features, rows))
    except Resnet23Error as error:
        return rule_without_project(classifier, str(error))
    threshold = float(np.quantile(scores, WARNED))
    return Rule("energy", threshold, f"{WARNED:.0%} of {len(rows):,} {split} images of this project are below it")


def rule_without_project(classifier: Classifier, reason: str) -> Rule:
    """Warn where the largest probability is nearer to chance than to certainty, or of several labels below one half.

    How large energies are depends on the network, so that without others to compare with they say nothing.
    """
    classes = max(len(classifier.classes), 2)  # a single class is answered by yes or no
    has_labels = classifier.checkpoint.task == "multilabel" and len(classifier.classes) > 1
    threshold = UNSURE_LABEL if has_labels else (1 + 1 / classes) / 2
    return Rule("probability", threshold, f"a fixed rule, because there are no images to fit it on: {reason}")


def check_project(classifier: Classifier, features: Features) -> None:
    """Raise InputError unless the project's images are labelled for what the classifier answers."""
    if (classifier.checkpoint.task, classifier.classes) != (features.task, features.classes):
        raise InputError("data/features is of other classes than the checkpoint")


def own_images(features: Features) -> tuple[str, np.ndarray]:
    """The rows of `features.train` to fit on, and which images they are: validation or training.

    Raises InputError when there are too few of both.
    """
    for split, rows in {"validation": features.val_indices, "training": features.train_indices}.items():
        if len(rows) >= FEWEST_IMAGES:
            return split, rows[spread(len(rows), MOST_IMAGES)]
    raise InputError(f"data/features has fewer than {FEWEST_IMAGES} images")


def own_logits(classifier: Classifier, features: Features, rows: np.ndarray) -> Tensor:
    """The logits (N, C) of training or validation images."""
    return logits_of(classifier, classifier.dataset(features.train.images, features.train.targets, rows))


def logits_of(classifier: Classifier, images: FeatureDataset) -> Tensor:
    """The logits (N, C) from which the classifier computes its probabilities, on the CPU."""
    return predict_logits(classifier.predictor, images, classifier.batch_size, classifier.device)

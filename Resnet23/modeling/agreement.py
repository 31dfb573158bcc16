"""Whether stored predictions are those of a classifier: its answers to a few test images are compared with them."""

import numpy as np

from Resnet23.arrays import Split
from Resnet23.modeling.inference import Classifier
from Resnet23.multilabel_predictions import MultilabelPredictions
from Resnet23.predictions import Predictions

COMPARED = 8  # test images, so that it is quick
CLOSE = 0.05  # what one model's probabilities of doubtful images may differ by between a GPU with TF32 and a processor


def agrees(classifier: Classifier, test: Split, predictions: Predictions | MultilabelPredictions) -> bool:
    """Whether the classifier gives the images of `test` the probabilities that `predictions` of the same images has.

    The images compared are the most doubtful ones: there two models differ most, while both may be sure of the others.
    """
    stored = predictions.probabilities
    doubt = (stored * (1 - stored)).sum(axis=1)  # 0 where every probability is 0 or 1
    rows = np.sort(np.argsort(doubt)[-COMPARED:])
    said = classifier.probabilities(classifier.dataset(test.images, test.targets, rows))
    return bool(np.abs(said - stored[rows]).max() < CLOSE)

"""What stands at the top of the page: which model it is, what it knows, and how good it is."""

from dataclasses import dataclass

from loguru import logger

from Resnet23.arrays import read_features
from Resnet23.config import METRICS_FILE
from Resnet23.errors import InputError, Resnet23Error
from Resnet23.figures.findings import counted, percent
from Resnet23.modeling.agreement import agrees
from Resnet23.modeling.inference import Classifier
from Resnet23.outputs import PYTORCH
from Resnet23.results import ACCURACY, READ_PREDICTIONS, read_metrics
from Resnet23.webapp.novelty import check_project


@dataclass(frozen=True)
class Facts:
    """A model in words; `quality` is empty where it is not known."""

    model: str
    side: int  # pixels, of the square that the network looks at
    classes: list[str]
    quality: str


def describe(classifier: Classifier) -> Facts:
    """The facts about a classifier, with what the project in the current directory has measured of it."""
    quality = ""
    if METRICS_FILE.exists():
        try:
            quality = read_quality(classifier)
        except Resnet23Error as error:
            logger.info(f"the page shows no accuracy: {error}")
    checkpoint = classifier.checkpoint
    return Facts(checkpoint.model["name"], checkpoint.preprocessing.image_size, checkpoint.classes, quality)


def read_quality(classifier: Classifier) -> str:
    """How good the classifier is on the test images. Raises InputError when that was measured of another one."""
    features = read_features()
    check_project(classifier, features)
    task = features.task
    metrics, predictions = read_metrics(METRICS_FILE, task), READ_PREDICTIONS[task](PYTORCH.predictions)
    is_same = (
        predictions.files == features.test.files
        and abs(predictions.right.mean() - metrics[ACCURACY[task]]) < 1e-6
        and agrees(classifier, features.test, predictions)
    )
    if not is_same:
        raise InputError(f"{METRICS_FILE} is of another model; `{PYTORCH.command('predict')}` measures this one")
    images = counted(len(features.test), "test image")
    if task == "multilabel":
        return f"every label right on {percent(metrics['subset_accuracy'])} of {images}"
    return f"right on {percent(metrics['accuracy'])} of {images}"

"""The YAML at the top of a card, as Hugging Face's hub reads it, made and checked by Hugging Face's own library."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from Resnet23.errors import missing_package
from Resnet23.model_cards.datasets import DataSet
from Resnet23.model_cards.licenses import License

PIPELINE_TAG = "image-classification"
TASK_NAMES = {"multiclass": "Image classification", "multilabel": "Multi-label image classification"}
LIBRARY = "pytorch"
# key of metrics.json -> the type that the hub calls the metric by, and its name
HUB_METRICS = {
    "multiclass": {
        "accuracy": ("accuracy", "Accuracy"),
        "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
        "f1": ("f1", "F1 (mean of the classes)"),
        "precision": ("precision", "Precision (mean of the classes)"),
        "recall": ("recall", "Recall (mean of the classes)"),
        "loss": ("loss", "Cross-entropy"),
        "ece": ("expected_calibration_error", "Expected calibration error"),
    },
    "multilabel": {
        "mAP": ("mean_average_precision", "Mean average precision"),
        "f1_macro": ("f1", "F1 (mean of the labels)"),
        "f1_micro": ("f1", "F1 (all answers in one pot)"),
        "subset_accuracy": ("accuracy", "Images with every label right"),
        "hamming_loss": ("hamming_loss", "Wrong answers, of all"),
        "loss": ("loss", "Binary cross-entropy"),
        "ece": ("expected_calibration_error", "Expected calibration error"),
    },
}
DIGITS = 4  # behind the point


def import_hub() -> ModuleType:
    """Hugging Face's library. Raises InputError, with the extra to install, when it is missing."""
    try:
        import huggingface_hub
    except ImportError:
        raise missing_package("huggingface-hub", "zoo") from None
    return huggingface_hub


def with_front_matter(
    body: str, title: str, task: str, data: DataSet, license_: License, tags: Sequence[str], metrics: Mapping[str, Any]
) -> str:
    """The whole card: front matter, then `body`."""
    hub = import_hub()
    types = [type_ for key, (type_, _) in HUB_METRICS[task].items() if key in metrics]
    about = hub.ModelCardData(
        license=license_.identifier,
        license_name=license_.name,
        library_name=LIBRARY,
        pipeline_tag=PIPELINE_TAG,
        tags=[PIPELINE_TAG, *tags],
        datasets=[data.hub_id] if data.hub_id else None,
        metrics=list(dict.fromkeys(types)),
        model_name=title,
        eval_results=_results(hub, task, data, metrics),
    )
    text = f"---\n{about.to_yaml(line_break=chr(10))}\n---\n\n{body}"
    hub.ModelCard(text)  # raises ValueError unless the hub's library reads it again
    return text


def _results(hub: ModuleType, task: str, data: DataSet, metrics: Mapping[str, Any]) -> list[Any]:
    """An entry of the model-index for each metric on the test images."""
    return [
        hub.EvalResult(
            task_type=PIPELINE_TAG,
            task_name=TASK_NAMES[task],
            dataset_type=data.kind,
            dataset_name=data.name,
            dataset_split="test",
            metric_type=type_,
            metric_name=name,
            metric_value=round(metrics[key], DIGITS),
        )
        for key, (type_, name) in HUB_METRICS[task].items()
        if key in metrics
    ]

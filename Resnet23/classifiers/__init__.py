"""Small heads on frozen encoders: a yes-or-no question about one class, or a choice among all of them."""

from Resnet23.classifiers.encoders import load_encoder
from Resnet23.classifiers.heads import create_binary_classifier_head, create_multiclass_classifier_head
from Resnet23.classifiers.training import (
    train_binary_classifier,
    train_head,
    train_multiclass_classifier,
    train_one_vs_rest_heads,
)
from Resnet23.classifiers.utils import one_vs_rest
from Resnet23.classifiers.validation import validate_binary_classifier, validate_multiclass_classifier

__all__ = [
    "create_binary_classifier_head",
    "create_multiclass_classifier_head",
    "load_encoder",
    "one_vs_rest",
    "train_binary_classifier",
    "train_head",
    "train_multiclass_classifier",
    "train_one_vs_rest_heads",
    "validate_binary_classifier",
    "validate_multiclass_classifier",
]

"""Classifier heads: small networks that turn the features of a frozen encoder into logits."""

from torch import nn


def create_binary_classifier_head(
    input_features: int = 512, hidden_features: int = 256, dropout_rate: float = 0.1
) -> nn.Sequential:
    """A head for one question: features (N, input_features) -> logits (N, 1), above 0 for yes."""
    return _create_head(input_features, hidden_features, dropout_rate, 1)


def create_multiclass_classifier_head(
    input_features: int = 512, hidden_features: int = 256, dropout_rate: float = 0.1, num_classes: int = 10
) -> nn.Sequential:
    """A head that chooses one class: features (N, input_features) -> logits (N, num_classes)."""
    return _create_head(input_features, hidden_features, dropout_rate, num_classes)


def _create_head(input_features: int, hidden_features: int, dropout_rate: float, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(dropout_rate),
        nn.Linear(input_features, hidden_features),
        nn.LayerNorm(hidden_features),
        nn.Tanh(),
        nn.Linear(hidden_features, outputs),
    )

"""Logits as honest probabilities: one divisor for all of them, fitted on validation images."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

LOG_BOUNDS = (-3.0, 3.0)  # of the temperature, so that it is between 0.05 and 20


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The divisor of `logits` (N, C) that gives the lowest cross-entropy with the classes `targets` (N,).

    Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    logits = logits.astype(np.float64)
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, targets].mean()

    return float(np.exp(minimize_scalar(loss, bounds=LOG_BOUNDS, method="bounded").x))


def calibrated(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, C) float32, whose rows sum to 1, from logits (N, C)."""
    return softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)

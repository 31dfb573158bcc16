"""The experiment tracker: the only package that imports mlflow or dagshub, and that only inside functions."""

from Resnet23.tracking.tracker import NullTracker, Tracker, continue_run, start_run

__all__ = ["NullTracker", "Tracker", "continue_run", "start_run"]

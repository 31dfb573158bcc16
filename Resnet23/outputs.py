"""Where a pipeline keeps what its stages leave, and what it is called: the one of PyTorch, and its Keras twin."""

from dataclasses import dataclass
from pathlib import Path

from Resnet23.config import (
    CHECKPOINT_FILE,
    EXTRAS_DIR,
    FIGURES_DIR,
    HISTORY_FILE,
    INSPECTION_FILE,
    METRICS_FILE,
    MODELS_DIR,
    PAGE_FILE,
    PREDICTIONS_FILE,
    REPORTS_DIR,
    RUN_FILE,
    VAL_PREDICTIONS_FILE,
)

COMMON_PACKAGES = ("numpy", "scikit-learn", "dvc", "mlflow")


@dataclass(frozen=True)
class Outputs:
    """The files of one pipeline, relative to the project, and the names that messages and the page use."""

    framework: str
    suffix: str  # of its make targets, as in train-keras
    repro: str  # what runs all of it in the folder of a project, be that the repository or not
    plots_module: str
    packages: tuple[str, ...]  # whose versions the page shows
    checkpoint: Path
    inspection: Path
    history: Path
    run: Path
    val_predictions: Path
    predictions: Path
    metrics: Path
    figures: Path
    page: Path
    extras: Path

    def command(self, stage: str) -> str:
        """What to type to run one of its stages."""
        return f"make {stage}{self.suffix}"

    @property
    def makers(self) -> dict[Path, str]:
        """The stage that writes each file that the page is made from."""
        training = (self.checkpoint, self.history, self.inspection, self.val_predictions)
        return dict.fromkeys(training, "train") | dict.fromkeys((self.predictions, self.metrics), "predict")


PYTORCH = Outputs(
    framework="PyTorch",
    suffix="",
    repro="dvc repro",
    plots_module="Resnet23.plots",
    packages=("torch", "torchvision", *COMMON_PACKAGES),
    checkpoint=CHECKPOINT_FILE,
    inspection=INSPECTION_FILE,
    history=HISTORY_FILE,
    run=RUN_FILE,
    val_predictions=VAL_PREDICTIONS_FILE,
    predictions=PREDICTIONS_FILE,
    metrics=METRICS_FILE,
    figures=FIGURES_DIR,
    page=PAGE_FILE,
    extras=EXTRAS_DIR,
)

KERAS_MODELS, KERAS_REPORTS = MODELS_DIR / "keras", REPORTS_DIR / "keras"

KERAS = Outputs(
    framework="Keras",
    suffix="-keras",
    repro="dvc repro pipelines/keras/dvc.yaml",
    plots_module="Resnet23.keras_variant.plots",
    packages=("keras", "tensorflow", "tensorflow-cpu", *COMMON_PACKAGES),
    checkpoint=KERAS_MODELS / "model.keras",
    inspection=KERAS_MODELS / INSPECTION_FILE.name,
    history=KERAS_REPORTS / HISTORY_FILE.name,
    run=KERAS_REPORTS / RUN_FILE.name,
    val_predictions=KERAS_REPORTS / VAL_PREDICTIONS_FILE.name,
    predictions=KERAS_REPORTS / PREDICTIONS_FILE.name,
    metrics=KERAS_REPORTS / METRICS_FILE.name,
    figures=KERAS_REPORTS / FIGURES_DIR.name,
    page=KERAS_REPORTS / PAGE_FILE.name,
    extras=KERAS_REPORTS / EXTRAS_DIR.name,
)

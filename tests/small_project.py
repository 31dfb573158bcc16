"""The repository, and its params.yaml made small enough for a pipeline that takes seconds."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

SHRUNK = [
    "data.dataset=digits",
    "data.image_size=8",
    "data.max_per_class={train: 20, test: 5}",
    "model.width=4",
    "train.epochs=2",
    "train.batch_size=32",
    "train.device=cpu",
    "train.precision=fp32",
    "train.augment.crop_padding=1",
    "train.augment.cutout=2",
    "predict.device=cpu",
    "plots.dpi=50",
    "plots.examples=4",
]

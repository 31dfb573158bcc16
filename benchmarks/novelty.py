"""How well the warning of the page tells a project's own images from images of other kinds.

    python -m benchmarks.novelty --others ~/photos --others ~/scans

In the folder of a finished project it compares the test images with handwritten digits (unless the project is about
those), noise, and the images in the folders that are given. For each kind there is the AUROC of the energy score and
of the largest probability, the chance that an own image scores higher than one of the kind; and the share that `make
serve` warns about. The record goes to reports/benchmarks/novelty-DEVICE.json.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from loguru import logger
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks.record import describe_run, write_record
from Resnet23.arrays import Features, read_features
from Resnet23.command import DebugOption, run_command
from Resnet23.config import CHECKPOINT_FILE, DataParams
from Resnet23.exporting.parity import spread
from Resnet23.files import printable, sha256_file
from Resnet23.images import load_image, resize_image
from Resnet23.modeling.checkpoint import Preprocessing, load_checkpoint
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.inference import Classifier, calibrated
from Resnet23.modeling.prediction_table import find_images
from Resnet23.sources import digits
from Resnet23.webapp.novelty import Rule, check_project, choose_rule, energy_score, largest_probability, logits_of

BATCH_SIZE = 64
SEED = 0  # of the noise

ModelOption = Annotated[Path, typer.Option("--model", help="The checkpoint.")]
OthersOption = Annotated[
    list[Path] | None, typer.Option("--others", metavar="DIR", help="A folder of images of another kind. Repeatable.")
]
ImagesOption = Annotated[int, typer.Option("--images", min=1, help="The most images of each kind.")]


def main(
    model: ModelOption = CHECKPOINT_FILE,
    others: OthersOption = None,
    images: ImagesOption = 1000,
    debug: DebugOption = False,
) -> None:
    """Measure how well the warning tells the project's own test images from images of other kinds."""
    classifier = Classifier(load_checkpoint(model), choose_device("auto"), BATCH_SIZE)
    features = read_features()
    check_project(classifier, features)
    record = describe_run("benchmarks.novelty")
    rule = choose_rule(classifier)
    record["settings"] = {"sha256": sha256_file(model), "images": images, "score": rule.score}
    record["settings"] |= {"threshold": rule.threshold, "origin": rule.origin}
    own = measure(classifier, rule, features.test.images[spread(len(features.test), images)])
    record["own"] = {"images": len(own["unfamiliar"]), "warned": float(own["unfamiliar"].mean())}
    logger.info(f"own test images: {record['own']['warned']:.1%} of {record['own']['images']:,} warned about")
    kinds = other_images(features, classifier.checkpoint.preprocessing, others or [], images)
    record["kinds"] = {name: compare(own, measure(classifier, rule, found)) for name, found in kinds.items()}
    for name, found in record["kinds"].items():
        logger.info(line_of(name, found))
    logger.info(f"{write_record('novelty', classifier.device.type, record)}: the record")


def other_images(features: Features, how: Preprocessing, folders: Sequence[Path], most: int) -> dict[str, np.ndarray]:
    """At most so many images of each other kind, (N, S, S, 3) uint8 as the network takes them.

    Raises InputError for a folder without images, and for a file that cannot be read.
    """
    side = how.image_size
    kinds = {"noise": np.random.default_rng(SEED).integers(0, 256, (most, side, side, 3), np.uint8)}
    if not features.info["dataset"].startswith("digits"):
        found = digits.load(DataParams(dataset="digits"), SEED)
        chosen = [Image.fromarray(found[row].image) for row in spread(len(found), most)]
        kinds["digits"] = np.stack([resize_image(image, side, how.resize) for image in chosen])
    for folder in folders:
        files = find_images([folder])
        chosen = [files[row] for row in spread(len(files), most)]
        kinds[printable(folder)] = np.stack([load_image(file, side, how.resize) for file in chosen])
    return kinds


def measure(classifier: Classifier, rule: Rule, images: np.ndarray) -> dict[str, np.ndarray]:
    """Both scores of images (N, S, S, 3), and which of them are warned about; (N,) each."""
    task, decision = classifier.checkpoint.task, classifier.checkpoint.decision
    logits = logits_of(classifier, classifier.dataset(images, np.zeros(len(images), np.int64)))
    probabilities = calibrated(task, logits, decision.temperature)
    return {
        "energy": energy_score(task, logits),
        "probability": largest_probability(probabilities),
        "unfamiliar": rule.find_unfamiliar(task, logits, probabilities),
    }


def compare(own: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, Any]:
    """How the scores of another kind of images stand to those of the own."""
    is_own = np.concatenate([np.ones(len(own["energy"])), np.zeros(len(other["energy"]))])
    auroc = {
        score: float(roc_auc_score(is_own, np.concatenate([own[score], other[score]])))
        for score in ("energy", "probability")
    }
    return {"images": len(other["energy"]), "warned": float(other["unfamiliar"].mean()), "auroc": auroc}


def line_of(name: str, found: dict[str, Any]) -> str:
    """The result for a kind in a line."""
    auroc = found["auroc"]
    return (
        f"{name}: {found['warned']:.1%} of {found['images']:,} warned about; AUROC {auroc['energy']:.3f} by energy, "
        f"{auroc['probability']:.3f} by the largest probability"
    )


if __name__ == "__main__":
    run_command(main)

"""How fast the trained network answers: the project's classifier against a plain loop that calls the network.

    make bench-predict                    (or: python -m benchmarks.inference --width 16)

Plain means eager and contiguous in fp32 without gradients, on batches that lie normalised in memory; the classifier
gets bytes, prepares them itself and calibrates its answer. Both have the same weights, random ones, whose BatchNorm
statistics fit the images: weights change no speed. One stretch follows the other in turns. Both answer for the same
images; the largest difference of a probability and the share of equal classes are recorded. The record goes to
reports/benchmarks/inference-DEVICE.json.
"""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
import typer
from loguru import logger

from benchmarks.images import Images, images_to_train_on
from benchmarks.loop import DeviceOption, RepeatsOption, WidthOption
from benchmarks.record import describe_run, paired_ratios, summarize, write_record
from benchmarks.tables import Row, result_row, spread_of, update_table
from Resnet23.command import DebugOption, ParamsOption, SetOption, run_command
from Resnet23.config import PARAMS_FILE, Params, load_params
from Resnet23.dataset import FeatureDataset, normalize, to_unit_range
from Resnet23.modeling.checkpoint import Checkpoint, Decision, Preprocessing
from Resnet23.modeling.device import choose_device
from Resnet23.modeling.inference import Classifier
from Resnet23.modeling.zoo import create_model

WIDTHS = [16, 64]
FITTED_BATCHES = 20  # for BatchNorm's statistics
FITTED_IMAGES = 64  # of each

ImagesOption = Annotated[
    int, typer.Option(min=1, help="Images of a stretch at width 64; a narrower network takes more.")
]


def main(
    params_file: ParamsOption = PARAMS_FILE,
    assignments: SetOption = None,
    width: WidthOption = None,
    images: ImagesOption = 1024,
    repeats: RepeatsOption = 5,
    device: DeviceOption = "auto",
    debug: DebugOption = False,
) -> None:
    """Measure prediction against a plain loop that calls the network."""
    params, place = load_params(params_file, assignments=assignments), choose_device(device)
    record = describe_run("benchmarks.inference")
    record["settings"] = {
        "model": params.model.name,
        "seed": params.seed,
        "batch_size": params.predict.batch_size,
        "device": place.type,
        "threads": torch.get_num_threads(),
        "repeats": repeats,
    }
    with images_to_train_on(params_file) as found:
        record["data"] = {"dataset": found.features.info["dataset"], "origin": found.origin}
        record["results"] = [
            measure(found, params, number, images * 64 // number, repeats, place) for number in width or WIDTHS
        ]
    path = write_record("inference", place.type, record)
    for result in record["results"]:
        logger.info(summary_line(result))
    logger.info(f"{path}: every sample")
    update_table("inference", table_rows(record))


def measure(
    found: Images, params: Params, width: int, count: int, repeats: int, device: torch.device
) -> dict[str, Any]:
    """Both ways in turns on the same images, `repeats` times after a turn that does not count."""
    checkpoint, size = random_checkpoint(found, params, width), params.predict.batch_size
    started = time.perf_counter()
    classifier = Classifier(checkpoint, device, size)
    preparing = time.perf_counter() - started
    rows = np.resize(np.arange(len(found.features.test)), count)
    data = classifier.dataset(found.features.test.images, found.features.test.targets, rows)
    arms = {"classifier": lambda: classifier.probabilities(data), "plain": plain_loop(checkpoint, data, size, device)}
    turns = [{name: timed(arm, device) for name, arm in arms.items()} for _ in range(repeats + 1)]
    speeds = {name: [count / turn[name][0] for turn in turns[1:]] for name in arms}
    ours, theirs = (turns[-1][name][1] for name in ("classifier", "plain"))
    return {
        "width": width,
        "images": count,
        "images_per_second": {name: summarize(samples) for name, samples in speeds.items()},
        "classifier_divided_by_plain": paired_ratios(speeds["classifier"], speeds["plain"]),
        "largest_difference": float(np.abs(ours - theirs).max()),
        "equal_classes": float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        "seconds_of_preparing": preparing,
        "seconds_of_first_stretch": turns[0]["classifier"][0],
    }


def random_checkpoint(found: Images, params: Params, width: int) -> Checkpoint:
    """A network of this width with random weights, and BatchNorm statistics of the training images."""
    features = found.features
    how = Preprocessing(features.image_size, features.resize, list(features.mean), list(features.std))
    options = params.model.model_dump() | {"width": width, "pretrained": False}
    torch.manual_seed(params.seed)
    model = create_model(num_classes=len(features.classes), **options).train()
    for batch in range(FITTED_BATCHES):
        rows = np.resize(np.roll(features.train_indices, -batch * FITTED_IMAGES), FITTED_IMAGES)
        images = torch.from_numpy(features.train.images[rows]).permute(0, 3, 1, 2)
        with torch.no_grad():
            model(normalize(to_unit_range(images), how.mean, how.std))
    return Checkpoint(
        model.state_dict(), options, features.classes, how, Decision(), "multiclass", params.model_dump(), None
    )


def plain_loop(
    checkpoint: Checkpoint, data: FeatureDataset, size: int, device: torch.device
) -> Callable[[], np.ndarray]:
    """The textbook's loop over batches in memory; gives probabilities (N, C)."""
    model = checkpoint.build_model().to(device)
    images, _ = data.raw_batch(np.arange(len(data)))
    inputs = normalize(to_unit_range(images), data.mean, data.std).contiguous()
    batches = [batch.to(device) for batch in inputs.split(size)]

    def answer() -> np.ndarray:
        with torch.no_grad():
            return torch.cat([torch.softmax(model(batch), dim=1).cpu() for batch in batches]).numpy()

    return answer


def timed(answer: Callable[[], np.ndarray], device: torch.device) -> tuple[float, np.ndarray]:
    """The seconds of an answer, and the answer."""
    started = time.perf_counter()
    probabilities = answer()  # on the CPU, so that a GPU is done when it is here
    return time.perf_counter() - started, probabilities


def summary_line(result: Mapping[str, Any]) -> str:
    """One width in a line."""
    ratio = result["classifier_divided_by_plain"]
    spread = "" if ratio["spread"] is None else f" +- {ratio['spread']:.3f}"
    return (
        f"width {result['width']}: {ratio['mean']:.3f}{spread} (median {ratio['median']:.3f}) times the speed of the "
        f"plain loop; probabilities differ by at most {result['largest_difference']:.1e}, "
        f"{result['equal_classes']:.2%} of the classes are equal"
    )


def table_rows(record: Mapping[str, Any]) -> list[Row]:
    """A row for each width."""
    rows = []
    for result in record["results"]:
        ratio, speeds = result["classifier_divided_by_plain"], result["images_per_second"]
        columns = {
            "goal": "G10: at least 1.3",
            "reference": f"{speeds['plain']['mean']:,.0f} images/s",
            "ours": f"{speeds['classifier']['mean']:,.0f} images/s",
            "ratio": f"{ratio['mean']:.2f}",
            "n": ratio["n"],
            "spread": spread_of(ratio, ".2f"),
            "median": f"{ratio['median']:.2f}",
            "largest difference": f"{result['largest_difference']:.1e}",
            "equal classes": f"{result['equal_classes']:.2%}",
        }
        settings = record["settings"]
        what = f"{settings['model']}, width {result['width']}, batches of {settings['batch_size']}"
        rows.append(result_row(record, what, columns))
    return rows


if __name__ == "__main__":
    run_command(main)

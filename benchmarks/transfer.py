"""Few photos: what weights from elsewhere are worth, and what training more than the classifier adds.

    make bench-transfer PRESET=transfer-photos       (BODY=FILE, seen from runs/transfer-photos: another body)

Nine trainings, each with several seeds. The network of BODY, a checkpoint of this project: with random weights, with
its own weights frozen, and fine-tuned. The network of the parameters with its published weights: frozen below a new
classifier, and fine-tuned; and the same with the published classifier where this knows all classes by name, which is
also judged before any training, and after one at a low rate. All see the same photos, with the parameters' augmentation
and optimizer. Nothing is chosen on the test photos: each training is judged by its last epoch. The record goes to
reports/benchmarks/transfer-DEVICE.json.
"""

import json
import time
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from loguru import logger

from benchmarks.record import describe_run, summarize, write_record
from Resnet23.arrays import INFO_FILE, read_features
from Resnet23.command import DebugOption, ParamsOption, SetOption, run_command
from Resnet23.config import DATA_DIR, FEATURES_DIR, METRICS_FILE, PARAMS_FILE, Params, PhaseParams, load_params
from Resnet23.errors import InputError
from Resnet23.files import printable, sha256_file
from Resnet23.modeling import predict, train
from Resnet23.modeling.checkpoint import load_checkpoint
from Resnet23.modeling.device import choose_device

BODY_RESOLUTION = 32  # pixels: what a body trained on CIFAR-10 has seen
BODY_HEAD = PhaseParams(epochs=10, learning_rate=1e-3, trainable="head", resolution=BODY_RESOLUTION)
BODY_REST = PhaseParams(epochs=10, learning_rate=1e-3, rate_decay_by_depth=0.5, resolution=BODY_RESOLUTION)
GENTLY = 1e-4  # learning rate of a classifier that knows the classes already
UNTOUCHED = PhaseParams(epochs=1, learning_rate=1e-12, trainable="head")  # one epoch that changes nothing
FROM_SCRATCH = PhaseParams(epochs=20, learning_rate=1e-3, resolution=BODY_RESOLUTION)

BodyOption = Annotated[Path, typer.Option("--body", metavar="FILE", help="A checkpoint of this project: the body.")]
SeedsOption = Annotated[int, typer.Option(min=1, help="Trainings of each kind, with the seeds 0, 1, ...")]


def main(
    body: BodyOption,
    params_file: ParamsOption = PARAMS_FILE,
    assignments: SetOption = None,
    seeds: SeedsOption = 3,
    debug: DebugOption = False,
) -> None:
    """Train on a few photos from scratch and from two pretrained networks, frozen and fine-tuned."""
    params = load_params(params_file, assignments=assignments)
    if len(params.train.phases) < 2:
        raise InputError(f"{printable(params_file)}: train.phases: found 1, expected the head's and at least one more")
    if not (FEATURES_DIR / INFO_FILE).exists():
        raise InputError(f"{FEATURES_DIR}: no images to train on; make them with `make features`")
    record, kinds = describe_run("benchmarks.transfer"), variants(params, body.resolve())
    info = read_features().info
    record["data"] = {"dataset": info["dataset"], "counts": info["counts"]}
    record["settings"] = {"body": body.as_posix(), "body_sha256": sha256_file(body), "seeds": list(range(seeds))}
    record["params"] = params.model_dump()
    record["trainings"] = {}
    for name, variant in kinds.items():
        record["trainings"][name] = measured = measure(variant, seeds)
        logger.info(result_line(name, measured))
    path = write_record("transfer", choose_device(params.train.device).type, record)
    logger.info(f"{path}: every sample")


def variants(params: Params, body: Path) -> dict[str, Params]:
    """The parameters of each training, by its name in the record."""
    model, phases = load_checkpoint(body).model, params.train.phases
    network = params.model.model_dump()
    ours = {**model, "pretrained": str(body)}
    return {
        "body_from_scratch": change(params, {**model, "pretrained": False}, [FROM_SCRATCH]),
        "body_frozen": change(params, ours, [BODY_HEAD]),
        "body_fine_tuned": change(params, ours, [BODY_HEAD, BODY_REST]),
        "network_frozen": change(params, {**network, "reuse_classifier": False}, phases[:1]),
        "network_fine_tuned": change(params, {**network, "reuse_classifier": False}, phases),
        "classifier_untouched": change(params, network, [UNTOUCHED]),
        "classifier_gently": change(params, network, [phases[0].model_copy(update={"learning_rate": GENTLY})]),
        "classifier_frozen": change(params, network, phases[:1]),
        "classifier_fine_tuned": params,
    }


def change(params: Params, model: dict[str, Any], phases: list[PhaseParams]) -> Params:
    """The same parameters with another section `model` and other phases."""
    values = params.model_dump()
    values["model"], values["train"]["phases"] = model, [phase.model_dump() for phase in phases]
    return Params.model_validate(values)


def measure(params: Params, seeds: int) -> dict[str, Any]:
    """Accuracy on the test photos and seconds of the training command, of one training for each seed."""
    accuracies, seconds = [], []
    for seed in range(seeds):
        accuracy, duration = train_once(params.model_copy(update={"seed": seed}))
        logger.info(f"seed {seed}: {accuracy:.2%} in {duration:.0f} s")
        accuracies.append(accuracy)
        seconds.append(duration)
    return {"test_accuracy": summarize(accuracies), "seconds": summarize(seconds)}


def train_once(params: Params) -> tuple[float, float]:
    """Test accuracy from 0 to 1 and seconds of `train`, in a folder that then disappears."""
    data = DATA_DIR.resolve()
    with TemporaryDirectory(prefix="benchmark-") as folder, chdir(folder):
        DATA_DIR.symlink_to(data, target_is_directory=True)
        values = params.model_dump() | {"tracking": {"enabled": False}}
        PARAMS_FILE.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
        start = time.perf_counter()
        train.main()
        seconds = time.perf_counter() - start
        predict.main()
        return json.loads(METRICS_FILE.read_text(encoding="utf-8"))["accuracy"], seconds


def result_line(name: str, measured: dict[str, Any]) -> str:
    """A kind of training in a line."""
    accuracy, seconds = measured["test_accuracy"], measured["seconds"]
    spread = "" if accuracy["spread"] is None else f" +- {accuracy['spread']:.2%}"
    return f"{name}: test accuracy {accuracy['mean']:.2%}{spread}, {seconds['mean']:.0f} s of training"


if __name__ == "__main__":
    run_command(main)

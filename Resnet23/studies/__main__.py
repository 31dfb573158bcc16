"""Run a study: `python -m Resnet23.studies learning-rate --scale smoke`."""

from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock
from loguru import logger

from Resnet23.command import DebugOption, run_command
from Resnet23.errors import InputError
from Resnet23.files import require_writable
from Resnet23.modeling.consistency import check_consistency
from Resnet23.revision import git_revision
from Resnet23.studies.definition import SCALES, Study, read_study, study_names
from Resnet23.studies.publish import RESULTS_DIR, publish, write_page
from Resnet23.studies.runner import Run, check_study, gather, revisions, work_on
from Resnet23.studies.workplace import (
    DATABASE,
    database_url,
    folder_of,
    prepare_features,
    read_scale,
    scale_params,
)
from Resnet23.tracking import Tracker, continue_run, start_run

STORAGE_VARIABLE = "RESNET23_STUDY_STORAGE"

NameArgument = Annotated[
    str | None, typer.Argument(help="A file in studies/; none: list them. `all`: one after the other.")
]
ScaleOption = Annotated[str, typer.Option("--scale", help="smoke (under a minute), small or full.")]
WorkerOption = Annotated[
    bool, typer.Option("--worker", help="Do trials of the study, and leave the results to another.")
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage", envvar=STORAGE_VARIABLE, help="The database of trials, for workers elsewhere: postgresql://..."
    ),
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Forget the trials that are done in the local database.")]


def main(
    name: NameArgument = None,
    scale: ScaleOption = "smoke",
    worker: WorkerOption = False,
    storage: StorageOption = None,
    fresh: FreshOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a study, or go on with it: its trials, its figures, its conclusion, the page of all studies."""
    if name is None:
        print(list_studies())
        return
    if scale not in SCALES:
        raise InputError(f"--scale: found {scale!r}, expected one of {', '.join(SCALES)}")
    if fresh and (worker or storage):
        raise InputError(
            "--fresh: found with --worker or --storage, whose trials others may have in hand; leave it out"
        )
    names = study_names() if name == "all" else [name]
    studies = [read_scale(each, scale) for each in names]
    for study in studies:  # a mistake in the last is found before the first is run
        check_study(study, scale, scale_params(study, scale))
    for study in studies:
        run_study(study, scale, worker, storage, fresh)


def list_studies() -> str:
    """Every study with its question and the cost of each scale."""
    lines = []
    for study in map(read_study, study_names()):
        costs = "; ".join(f"{name}: {scale.cost}" for name, scale in study.scales.items())
        lines += [f"{study.name}: {study.question}", f"    {costs}"]
    return "\n".join([*lines, "run one: make study NAME=learning-rate SCALE=smoke; all: make studies"])


def run_study(study: Study, scale: str, worker: bool, storage: str | None, fresh: bool) -> None:
    """Do the trials that are left, then, unless only as a worker, write the results."""
    require_writable(RESULTS_DIR)
    folder, params = folder_of(study, scale), scale_params(study, scale)
    lock = FileLock(_lock_file(folder))
    with lock:  # workers that start together prepare the images once
        if fresh:
            for file in [*folder.glob(f"{DATABASE}*"), *folder.glob("run-*.json")]:
                file.unlink()
        features = prepare_features(study, scale)
        check_consistency(features, params)
        if features.task != "multiclass":
            raise InputError(f"studies compare accuracies of classes; found images labelled for {features.task}")
        run = Run(study, scale, params, features, storage or database_url(study, scale), git_revision())
        tracker = _open_run(run, folder / f"run-{run.key}.json")
    with tracker:
        work_on(run, tracker)
        if worker:
            return
        with lock:
            results = publish(gather(run), f"make study NAME={study.name} SCALE={scale}", revisions(run))
            page = write_page(scale)
        tracker.log_artifact(results)
    logger.info(f"{study.name}: figures and tables in {results}/, all studies on {page}")


def _open_run(run: Run, file: Path) -> Tracker:
    """The tracker's run of the study, above those of its trials; workers on one machine share it."""
    if file.exists():
        return continue_run(run.params.tracking, file)
    study = run.study
    logged = {"study": study.name, "scale": run.scale, "preset": study.scales[run.scale].preset}
    tracker = start_run(run.params.tracking, logged, {"study": study.name, "question": study.question})
    if tracker.run_id:
        tracker.write_run_file(file)
    return tracker


def _lock_file(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_name(f"{folder.name}.lock")


if __name__ == "__main__":
    run_command(main)

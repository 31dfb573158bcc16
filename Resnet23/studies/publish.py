"""What a study leaves in reports/studies: tables, figures, a conclusion, and one page for all studies."""

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from Resnet23.config import REPORTS_DIR
from Resnet23.errors import InputError
from Resnet23.figures.theme import draw_picture
from Resnet23.files import atomic_folder, atomic_write, printable, write_json
from Resnet23.machine import describe_machine
from Resnet23.studies.analyses import find_analysis
from Resnet23.studies.definition import SCALES
from Resnet23.studies.outcomes import Outcome, Results

RESULTS_DIR = REPORTS_DIR / "studies"
RESULTS_FILE, CURVES_FILE, SUMMARY_FILE = "results.csv", "curves.csv", "summary.json"
PAGES = {"smoke": RESULTS_DIR / "smoke.html", "small": RESULTS_DIR / "index.html", "full": RESULTS_DIR / "index.html"}


def publish(results: Results, command: str, revisions: list[str]) -> Path:
    """Write everything about a study at a scale into its folder, in place of what is there, and give the folder."""
    folder = RESULTS_DIR / results.study.name / results.scale
    draws = find_analysis(results.study.analysis).draw(results)
    with atomic_folder(folder) as new:
        _write_table(new / RESULTS_FILE, *_result_rows(results))
        _write_table(new / CURVES_FILE, *_curve_rows(results))
        figures = []
        for name, draw in draws.items():
            picture = draw_picture(name, draw, results.params.plots.dpi)
            figures.append({"name": name, "title": picture.title})
            (new / f"{name}.png").write_bytes(picture.light)
            (new / f"{name}.dark.png").write_bytes(picture.dark)
        write_json(new / SUMMARY_FILE, {**_summary(results, command, revisions), "figures": figures})
    return folder


def write_page(scale: str) -> Path:
    """Gather all studies that were run on one page, each at the largest scale there is, and give its path.

    What was run as a smoke test has a page of its own: it means nothing.
    """
    environment = Environment(
        loader=PackageLoader("Resnet23"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = PAGES[scale]
    text = environment.get_template("studies.html").render(studies=published(page))
    with atomic_write(page) as file:
        file.write(text)
    return page


def published(page: Path) -> list[dict[str, Any]]:
    """What there is of each study for a page, by name; raises InputError when a summary is damaged."""
    scales = [scale for scale in reversed(SCALES) if PAGES[scale] == page]
    found = []
    for folder in sorted(path for path in RESULTS_DIR.glob("*") if path.is_dir()):
        files = [folder / scale / SUMMARY_FILE for scale in scales]
        file = next((file for file in files if file.exists()), None)
        if file is not None:
            found.append({**_read_summary(file), "folder": file.parent.relative_to(RESULTS_DIR).as_posix()})
    return found


def _read_summary(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(file)}: not the summary of a study ({error}); run the study again") from None


def _summary(results: Results, command: str, revisions: list[str]) -> dict[str, Any]:
    study, everything = results.study, [*results.outcomes, *results.tuning]
    scale = study.scales[results.scale]
    seconds = sum(float(outcome.samples("seconds").sum()) for outcome in everything)
    return {
        "study": study.name,
        "question": study.question,
        "analysis": study.analysis,
        "scale": results.scale,
        "preset": scale.preset,
        "seeds": scale.seeds,
        "settings": len(results.outcomes),
        "trainings": sum(len(outcome.measured) for outcome in everything),
        "training_seconds": round(seconds, 1),
        "expected": study.expected,
        "conclusion": find_analysis(study.analysis).conclude(results),
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "git_revisions": revisions,
    }


def _result_rows(results: Results) -> tuple[list[str], Iterable[list[Any]]]:
    """A row for each training; those by which values were tuned come last."""
    everything = [("compared", each) for each in results.outcomes] + [("tuning", each) for each in results.tuning]
    keys = sorted({key for _, outcome in everything for key in outcome.setting.values})
    numbers = _names(outcome for _, outcome in everything)
    rows = (
        [part, outcome.setting.name, *(outcome.setting.values.get(key) for key in keys), outcome.state, seed]
        + [measurement.numbers.get(name) for name in numbers]
        for part, outcome in everything
        for seed, measurement in outcome.measured.items()
    )
    return ["part", "setting", *keys, "state", "seed", *numbers], rows


def _curve_rows(results: Results) -> tuple[list[str], Iterable[list[Any]]]:
    """A row for each epoch of each training that is compared."""
    names = sorted(
        {name for each in results.outcomes for training in each.measured.values() for name in training.curves}
    )
    rows = (
        [outcome.setting.name, seed, epoch, *values]
        for outcome in results.outcomes
        for seed, training in outcome.measured.items()
        for epoch, values in enumerate(zip(*(training.curves.get(name, []) for name in names), strict=True), start=1)
    )
    return ["setting", "seed", "epoch", *names], rows


def _names(outcomes: Iterable[Outcome]) -> list[str]:
    """The numbers that any training has, in the order in which they first appear."""
    found = (name for outcome in outcomes for training in outcome.measured.values() for name in training.numbers)
    return list(dict.fromkeys(found))


def _write_table(file: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    with atomic_write(file, newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([format(cell, ".6g") if isinstance(cell, float) else cell for cell in row] for row in rows)

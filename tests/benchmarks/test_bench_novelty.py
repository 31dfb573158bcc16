"""The benchmark of the warning, on made-up results and an untrained network: what it writes and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_results import write_results
from small_checkpoint import CLASSES, small_checkpoint

from Resnet23.config import CHECKPOINT_FILE
from Resnet23.errors import InputError
from Resnet23.images import encode_png
from Resnet23.modeling.checkpoint import save_checkpoint


def write_project(folder: Path, classes: list[str]) -> None:
    """A project whose checkpoint is that of the small network."""
    write_results(folder, classes)
    save_checkpoint(folder / CHECKPOINT_FILE, small_checkpoint())


def test_every_kind_of_images_is_in_the_record(benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    novelty = benchmark("novelty")
    write_project(tmp_path, CLASSES)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / f"photos/{number}.png").write_bytes(encode_png(np.full((9, 9, 3), 80 * number, np.uint8)))
    novelty.main(others=[Path("photos")], images=7)
    record = json.loads((tmp_path / "reports/benchmarks/novelty-cpu.json").read_text(encoding="utf-8"))
    assert record["own"]["images"] == 7
    assert {name: kind["images"] for name, kind in record["kinds"].items()} == {"noise": 7, "digits": 7, "photos": 3}
    for kind in record["kinds"].values():
        assert all(0 <= value <= 1 for value in (kind["warned"], *kind["auroc"].values()))
    assert record["settings"]["score"] == "probability" and "fewer than 20 images" in record["settings"]["origin"]


def test_the_area_is_the_chance_that_an_own_image_scores_higher(benchmark):
    own = {"energy": np.array([3.0, 2.0]), "probability": np.array([0.9, 0.2]), "unfamiliar": np.array([False, False])}
    other = {"energy": np.array([1.0, 0.0]), "probability": np.array([0.5, 0.1]), "unfamiliar": np.array([True, False])}
    found = benchmark("novelty").compare(own, other)
    assert found == {"images": 2, "warned": 0.5, "auroc": {"energy": 1.0, "probability": 0.75}}


def test_a_project_of_other_classes_is_refused(benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    novelty = benchmark("novelty")
    write_project(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match="of other classes than the checkpoint"):
        novelty.main()

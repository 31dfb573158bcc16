"""The benchmark of what the data costs, with so few images that only its bookkeeping is measured."""

import json
import os
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest

from Resnet23.arrays import read_features
from Resnet23.errors import InputError, Resnet23Error

RECORD = Path("reports/benchmarks/data-cpu.json")


def test_noise_is_read_as_features_and_as_a_folder(benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = benchmark("noise")
    counts = noise.split_counts(600)
    assert counts == {"train": 500, "test": 100}
    noise.write_features(600)
    features = read_features()
    assert (len(features.train), len(features.test)) == (500, 100)
    assert len(features.val_indices) == 50
    assert (np.bincount(features.train.targets) == 50).all()
    assert len(np.unique(np.array(features.train.images).reshape(500, -1), axis=0)) == 500
    noise.write_source(Path("source"), 60)
    files = [path.relative_to("source").parts for path in Path("source").rglob("*.png")]
    assert sorted({split for split, *_ in files}) == ["test", "train"]
    assert len(files) == sum(noise.split_counts(60).values()) == 60
    assert len({name for _, name, _ in files}) == 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc")
def test_the_peak_of_a_process_and_its_children_is_seen(benchmark):
    measured = benchmark("measured_stage")
    before = measured.memory_of(os.getpid())
    with measured.PeakMemory() as memory:
        held = np.ones(200_000_000, np.uint8)
        time.sleep(1)  # seconds, for a machine that is busy with other tests
        del held
    assert memory.peak["anonymous"] > before["anonymous"] + 150_000_000
    assert measured.memory_of(2**22 + 1) == {"anonymous": 0, "file": 0}
    before = measured.memory_of(os.getpid())
    with measured.PeakMemory() as memory:
        benchmark("stages").run_program("-c", "import time; held = b'1' * 200_000_000; time.sleep(1)")
    assert memory.peak["anonymous"] > before["anonymous"] + 150_000_000


def test_a_program_that_fails_is_an_error_with_its_last_line(benchmark):
    with pytest.raises(Resnet23Error, match=r"-c .*ended with 3: and this"):
        benchmark("stages").run_program("-c", "import sys; print('this\\nand this', file=sys.stderr); sys.exit(3)")


def test_reading_is_recorded_beside_the_other_parts(benchmark, project):
    document = project / "docs/benchmarks.md"
    document.parent.mkdir()
    document.write_text("<!-- table: data -->\n\n<!-- end -->\n")
    RECORD.parent.mkdir(parents=True)
    RECORD.write_text('{"idle": "as it was"}')
    benchmark("data").main(parts=["reading"], repeats=1)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["idle"] == "as it was"
    found = record["reading"]["results"]
    speeds = {name: speed["samples"] for name, speed in found["images_per_second"].items()}
    folders = speeds[found["faster_folders"]]
    assert found["images"] == 1797, "training and test images"
    assert found["features_divided_by_folders"]["samples"] == pytest.approx(np.divide(speeds["features"], folders))
    assert sum("1,797 images" in line for line in document.read_text().splitlines()) == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc")
def test_growth_measures_stages_from_files_and_then_from_arrays(benchmark, bench):
    made, all_stages = ("datadownload", "features"), ("datadownload", "features", "train", "predict", "plots")
    benchmark("data").main(parts=["growth"], growth_sizes=[240, 120], most_files=120)
    found = json.loads(RECORD.read_text(encoding="utf-8"))["growth"]["results"]
    measured = [(each["stage"], each["images"]) for each in found]
    assert measured == [(stage, 120) for stage in all_stages] + [
        (stage, 240) for stage in all_stages if stage not in made
    ]
    for each in found:
        assert each["above_import_bytes"] == each["anonymous_bytes"] - each["imported_bytes"]
        assert min(each[name] for name in ("seconds", "imported_bytes", "imported_file_bytes", "disk_bytes")) > 0
    text = Path("docs/scale.md").read_text(encoding="utf-8")
    assert "| train, 100,000,000 images |" in text and "| features, 120 images |" in text
    assert "| features, 1,000,000 images |" not in text, "one point is no line"
    assert not list(Path("runs").iterdir())


def test_the_outlook_is_a_line_through_the_measurements(benchmark):
    points = [
        {"stage": "train", "images": n, "seconds": 5 + n / 1000, "disk_bytes": 0}
        | {"above_import_bytes": 100 * n, "above_import_file_bytes": 10}
        for n in (1000, 10_000)
    ]
    million, more = benchmark("growth").outlook(points)
    assert million["seconds"] == pytest.approx(1005)
    assert more["above_import_bytes"] == pytest.approx(1e10)
    assert million["disk_bytes"] == 0
    assert more["above_import_file_bytes"] == pytest.approx(10)
    assert benchmark("growth").outlook(points[:1]) == []
    assert [benchmark("data").duration(seconds) for seconds in (1.25, 600, 7200, 864_000)] == [
        "1.2 s",
        "10.0 minutes",
        "2.0 hours",
        "10.0 days",
    ]


@pytest.mark.slow
def test_an_idle_pipeline_is_timed(benchmark, bench):
    benchmark("data").main(parts=["idle"], idle_sizes=[120, 240], repeats=2)
    found = json.loads(RECORD.read_text(encoding="utf-8"))["idle"]["results"]
    seconds = {size: found["seconds"][size]["samples"] for size in ("120", "240")}
    assert found["largest_divided_by_smallest"]["samples"] == pytest.approx(np.divide(seconds["240"], seconds["120"]))
    assert not list(Path("runs").iterdir())


def test_an_idle_pipeline_that_works_is_an_error(benchmark, tmp_path, monkeypatch):
    idle = benchmark("idle")
    monkeypatch.setattr(idle, "run_program", lambda *_: "Running stage 'train'\nUse `dvc push`")
    with pytest.raises(Resnet23Error, match="found something to do"), chdir(tmp_path):
        idle.time_repro(tmp_path)


def test_a_part_that_there_is_not_is_refused(benchmark, project):
    with pytest.raises(InputError, match=r"--part: found 'readings', .*did you mean reading"):
        benchmark("data").main(parts=["readings"])


def test_a_single_size_has_nothing_to_be_compared_with(benchmark, project):
    with pytest.raises(InputError, match="--idle-size: found 60 only, expected at least two"):
        benchmark("data").main(parts=["idle"], idle_sizes=[60])
    with pytest.raises(InputError, match="--growth-size: found 60 only"):
        benchmark("data").main(parts=["growth"], growth_sizes=[60, 60])

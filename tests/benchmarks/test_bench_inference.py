"""The benchmark of prediction, on a small network and few images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from Resnet23.config import load_params


def test_both_ways_answer_for_the_same_images(benchmark, project):
    benchmark("inference").main(width=[16], images=16, repeats=2, device="cpu")
    record = json.loads(Path("reports/benchmarks/inference-cpu.json").read_text(encoding="utf-8"))
    (found,) = record["results"]
    assert found["images"] == 64, "a narrower network takes more"
    speeds = {name: speed["samples"] for name, speed in found["images_per_second"].items()}
    ratio = np.divide(speeds["classifier"], speeds["plain"])
    assert found["classifier_divided_by_plain"]["samples"] == pytest.approx(ratio)
    assert found["largest_difference"] < 1e-3
    assert found["equal_classes"] == 1
    assert record["settings"]["threads"] == torch.get_num_threads()


def test_a_wrong_answer_is_seen(benchmark, project, monkeypatch):
    inference = benchmark("inference")

    def shifted(*arguments):
        answer = plain_loop(*arguments)
        return lambda: np.roll(answer(), 1, axis=1)

    plain_loop = inference.plain_loop
    monkeypatch.setattr(inference, "plain_loop", shifted)
    with benchmark("images").images_to_train_on(Path("params.yaml")) as images:
        found = inference.measure(images, load_params(project / "params.yaml"), 4, 32, 1, torch.device("cpu"))
    assert found["equal_classes"] < 0.5
    assert found["largest_difference"] > 1e-3


def test_the_random_network_tells_images_apart(benchmark, project):
    inference = benchmark("inference")
    with benchmark("images").images_to_train_on(Path("params.yaml")) as images:
        checkpoint = inference.random_checkpoint(images, load_params(project / "params.yaml"), 4)
    assert checkpoint.model["width"] == 4
    statistics = [value for name, value in checkpoint.state_dict.items() if name.endswith("running_mean")]
    assert all(value.abs().sum() > 0 for value in statistics)

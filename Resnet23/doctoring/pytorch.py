"""PyTorch, what it computes on, and the packages around it.

PyTorch is imported in a process of its own: an installation that does not fit can end the interpreter without a word.
"""

import json
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from threading import Lock
from typing import Any

from Resnet23.doctoring.findings import Finding, ok, problem, warning
from Resnet23.doctoring.packages import install_core, installed_version
from Resnet23.doctoring.programs import answer_of

IMPORT_SECONDS = 120
PROBE = """
import json, torch, torchvision
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # in torchvision's own library, built for one torch
gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
known = torch.cpu.get_capabilities()
print(json.dumps({
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
    "threads": torch.get_num_threads(),
    "cuda": torch.version.cuda,
    "available": torch.cuda.is_available(),
    "gpus": [[gpu.name, gpu.total_memory] for gpu in gpus],
    "gpu_bf16": bool(gpus) and torch.cuda.is_bf16_supported(including_emulation=False),
    "cpu_bf16": bool(known.get("avx512_bf16") or known.get("amx_bf16")),
}))
"""
_asking = Lock()


class ImportFailed(Exception):
    """PyTorch cannot be imported; the text is the last line of what it said."""


def check_pytorch() -> Finding:
    """torch and torchvision can be imported and are a pair."""
    missing = [name for name in ("torch", "torchvision") if installed_version(name) is None]
    if missing:
        return problem(f"not installed: {', '.join(missing)}", install_core())
    versions = f"torch {installed_version('torch')}, torchvision {installed_version('torchvision')}"
    wanted = _partner()
    if wanted and installed_version("torch").partition("+")[0] != wanted:
        return problem(f"{versions}, which was built for torch {wanted}", install_core())
    try:
        return ok(f"{versions}, {_probe()['threads']} threads")
    except ImportFailed as error:
        return problem(f"{versions} cannot be imported: {error}", install_core())


def check_cuda() -> Finding:
    """The GPUs that PyTorch sees, their memory and the driver."""
    try:
        probe = _probe()
    except ImportFailed:
        return warning("not known, as PyTorch cannot be imported", "mend PyTorch first")
    driver = _driver()
    if probe["available"]:
        gpus = ", ".join(f"{name} with {memory / 2**30:.0f} GiB" for name, memory in probe["gpus"])
        return ok(f"{gpus}; driver {driver or 'unknown'}, CUDA {probe['cuda']}")
    if driver is None:
        return ok("no NVIDIA GPU, which is fine: everything runs on the CPU")
    if probe["cuda"] is None:
        return warning(
            f"an NVIDIA driver ({driver}), but this PyTorch was built without CUDA, so the CPU computes",
            "install the build of PyTorch for CUDA (https://pytorch.org/get-started/locally)",
        )
    return warning(
        f"driver {driver}, but PyTorch with CUDA {probe['cuda']} sees no GPU",
        "look at nvidia-smi and CUDA_VISIBLE_DEVICES; the driver may be too old for this CUDA",
    )


def check_precision() -> Finding:
    """Whether bf16, the precision that train.precision: auto prefers, is computed natively."""
    try:
        probe = _probe()
    except ImportFailed:
        return warning("not known, as PyTorch cannot be imported", "mend PyTorch first")
    device = "GPU" if probe["available"] else "CPU"
    native = probe["gpu_bf16"] if probe["available"] else probe["cpu_bf16"]
    if native:
        return ok(f"the {device} computes bf16 natively; train.precision: auto takes it")
    return ok(f"the {device} has no native bf16; train.precision: auto takes fp32")


def _probe() -> dict[str, Any]:
    """What PyTorch says of itself; several checks ask at once, one of them gets it. Raises ImportFailed."""
    with _asking:
        answer = _run_probe()
    if isinstance(answer, str):
        raise ImportFailed(answer)
    return answer


@cache
def _run_probe() -> dict[str, Any] | str:
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {IMPORT_SECONDS} s"
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return said[-1] if said else f"the interpreter ended with {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1])


def _partner() -> str | None:
    """The version of torch that the installed torchvision was built for."""
    try:
        wanted = [line for line in requires("torchvision") or () if line.startswith("torch==")]
    except PackageNotFoundError:
        return None
    return wanted[0].removeprefix("torch==").partition(";")[0].strip() if wanted else None


def _driver() -> str | None:
    """The version of the NVIDIA driver, None when there is none."""
    said = answer_of(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return said.splitlines()[0] if said else None

"""Where and how to compute, chosen by what the hardware can do."""

import os

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from Resnet23.config import TrainParams
from Resnet23.errors import InputError

FEWEST_CHANNELS = 12  # for convolutions in channels_last; 4 and 8 crash, 12 and 16 do not


def choose_device(setting: str) -> torch.device:
    """auto: a CUDA GPU when there is one, else the CPU. Raises InputError when cuda is asked for and absent."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise InputError("device: found cuda, but PyTorch sees no CUDA GPU here; use auto or cpu")
    use_cuda = setting != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if use_cuda else "cpu")


def choose_precision(setting: str, device: torch.device) -> tuple[str, str]:
    """The precision, fp32, bf16 or fp16, and the reason for it.

    auto takes bf16 only where the hardware multiplies it natively: elsewhere it is emulated, and many times slower
    than fp32. Raises InputError for fp16 on a CPU, which has no loss scaling there.
    """
    if setting == "fp16" and device.type == "cpu":
        raise InputError("train.precision: found fp16, which needs a GPU; use auto, fp32 or bf16 on a CPU")
    if setting != "auto":
        return setting, "as asked"
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "the GPU computes it natively") if native else ("fp32", "this GPU has no native bf16")
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return ("bf16", "the CPU computes it natively") if native else ("fp32", "this CPU has no native bf16")


def create_accelerator(params: TrainParams) -> tuple[Accelerator, str]:
    """Accelerate's handle on device, mixed precision and processes, and a line that says what was chosen and why."""
    device = choose_device(params.device)
    precision, reason = choose_precision(params.precision, device)
    _set_determinism(params.deterministic, device)
    # Accelerate keeps one state for the process and refuses a second training with another precision.
    AcceleratorState._reset_state()
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no" if precision == "fp32" else precision)
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    compiled = ", compiled" if uses_compilation(params, device) else ""
    return accelerator, f"{_device_name(device)}{processes} in {precision} ({reason}){compiled}"


def gpu_name() -> str | None:
    """The name of the first CUDA GPU, None without one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def uses_compilation(params: TrainParams, device: torch.device) -> bool:
    """Whether torch.compile is worth its minute or two: auto says on a GPU."""
    return device.type == "cuda" if params.compile == "auto" else params.compile


def without_crashes(params: TrainParams, model: nn.Module, device: torch.device) -> TrainParams:
    """The same parameters, without channels_last where PyTorch 2.14 would die of it without a message.

    Its oneDNN does on a CPU, in the backward pass of 1x1 convolutions with a stride that have 4 or 8 input channels,
    as those of a ResNet of width 4 or 8, from images of 48 pixels on. Such networks gain nothing from the order.
    """
    strided = (
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.stride != (1, 1)
    )
    if device.type != "cpu" or all(layer.in_channels >= FEWEST_CHANNELS for layer in strided):
        return params
    return params.model_copy(update={"channels_last": False})


def seed_dropout(device: torch.device, *numbers: int) -> None:
    """Start PyTorch's random numbers anew from whole numbers, such as seed, epoch and step.

    torch.manual_seed would do, and takes a hundred times as long.
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _set_determinism(deterministic: bool, device: torch.device) -> None:
    """Choose between the fastest kernels and those that give the same bits every time; on a CPU both are one."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = device.type == "cuda" and not deterministic


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"

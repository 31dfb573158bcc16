"""Where and how precisely to compute, chosen by what the hardware can do."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from Resnet23.errors import InputError


def choose_device(setting: str) -> torch.device:
    """auto: a CUDA GPU when there is one, else the CPU. Raises InputError when cuda is asked for and absent."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise InputError("device: found cuda, but PyTorch sees no CUDA GPU here; use auto or cpu")
    use_cuda = setting != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if use_cuda else "cpu")


def choose_precision(setting: str, device: torch.device) -> tuple[str, str]:
    """The precision, fp32 or bf16, and the reason for it.

    auto takes bf16 only where the hardware multiplies it natively: elsewhere it is emulated, and many times slower
    than fp32.
    """
    if setting != "auto":
        return setting, "as asked"
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "the GPU computes it natively") if native else ("fp32", "this GPU has no native bf16")
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return ("bf16", "the CPU computes it natively") if native else ("fp32", "this CPU has no native bf16")


def create_accelerator(device: torch.device, precision: str) -> Accelerator:
    """Accelerate's handle on device, mixed precision and processes."""
    # Accelerate keeps one state for the process and refuses a second training with another precision.
    AcceleratorState._reset_state()
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no" if precision == "fp32" else precision)

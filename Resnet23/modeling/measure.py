"""What a network costs: parameters, arithmetic and time."""

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

TIMED_IMAGES = 16
TIMED_RUNS = 5


def count_parameters(model: nn.Module) -> int:
    """The number of weights that training can change."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_accumulates(model: nn.Module, image_size: int) -> int:
    """Multiplications with an addition for one image of so many pixels a side; `model` loses its weights.

    Convolutions, linear layers and attention count, as in the published figures.
    """
    model = model.eval().to("meta")  # shapes are all that is needed
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, image_size, image_size, device="meta"))
    return counter.get_total_flops() // 2


@torch.inference_mode()
def images_per_second(model: nn.Module, image_size: int) -> float:
    """How many images a second the network classifies on the processor, in fp32 and batches of 16.

    The best of five runs, as other programs only ever slow one down.
    """
    model = model.eval().to(memory_format=torch.channels_last)
    images = torch.randn(TIMED_IMAGES, 3, image_size, image_size).to(memory_format=torch.channels_last)
    model(images)  # the first run chooses algorithms
    seconds = []
    for _ in range(TIMED_RUNS):
        started = time.perf_counter()
        model(images)
        seconds.append(time.perf_counter() - started)
    return TIMED_IMAGES / min(seconds)

"""What a test calls in the process of a training before that begins.

It imports nothing that the training does not import: its saved state is for the code that its process has imported.
"""

import torch

from Resnet23.modeling.fit import Training


def run_out_of_memory_in_the_21st_step() -> None:
    """Raise the error that PyTorch raises when a GPU is full."""
    train_batch, steps = Training.train_batch, []

    def train_batch_or_fail(*arguments: object) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 21:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return train_batch(*arguments)

    Training.train_batch = train_batch_or_fail


def leave_little_of_the_gpu() -> None:
    """Let PyTorch have a thousandth of the GPU's memory."""
    torch.cuda.set_per_process_memory_fraction(0.001)

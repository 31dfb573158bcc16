"""Device and precision follow what the hardware can do."""

import pytest
import torch

from Resnet23.errors import InputError
from Resnet23.modeling.device import choose_device, choose_precision, create_accelerator

CPU = torch.device("cpu")


def test_cuda_without_a_gpu_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA GPU"):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == CPU


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx2": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")],
)
def test_auto_takes_bf16_only_where_it_is_native(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_precision("auto", CPU)[0] == expected
    assert choose_precision("fp32", CPU)[0] == "fp32"


def test_two_trainings_of_different_precision_in_one_process():
    for precision, expected in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        accelerator = create_accelerator(CPU, precision)
        assert (accelerator.mixed_precision, accelerator.device) == (expected, CPU)

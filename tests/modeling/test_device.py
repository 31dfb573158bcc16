"""Device and precision follow what the hardware can do, and what was asked for."""

import pytest
import torch

from Resnet23.config import TrainParams
from Resnet23.errors import InputError
from Resnet23.modeling.device import (
    choose_device,
    choose_precision,
    create_accelerator,
    uses_compilation,
    without_crashes,
)
from Resnet23.modeling.zoo import create_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def usual_kernels():
    """Undoes what a test asks of PyTorch's kernels."""
    yield
    torch.use_deterministic_algorithms(False)


def settings(**changes) -> TrainParams:
    return TrainParams(**{"device": "cpu", "precision": "fp32", **changes})


def test_cuda_without_a_gpu_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device: found cuda, but PyTorch sees no CUDA GPU here; use auto or cpu"):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == CPU


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(name) for name in ("auto", "cuda", "cpu")] == [GPU, GPU, CPU]


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx2": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")],
)
def test_auto_takes_bf16_only_where_the_cpu_has_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    precision, reason = choose_precision("auto", CPU)
    assert precision == expected
    assert ("natively" in reason) == (expected == "bf16")


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_only_where_the_gpu_does_not_emulate_it(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert choose_precision("auto", GPU)[0] == expected


@pytest.mark.parametrize("native", [True, False])
def test_what_is_asked_for_is_taken_whatever_the_hardware(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    assert [choose_precision(name, CPU)[0] for name in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert choose_precision("fp16", GPU) == ("fp16", "as asked")


def test_fp16_on_a_cpu_is_refused():
    message = r"train\.precision: found fp16, which needs a GPU; use auto, fp32 or bf16 on a CPU"
    with pytest.raises(InputError, match=message):
        choose_precision("fp16", CPU)
    with pytest.raises(InputError, match=message):
        create_accelerator(settings(precision="fp16"))


def test_two_trainings_of_different_precision_in_one_process():
    for precision, expected in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        accelerator, _ = create_accelerator(settings(precision=precision))
        assert (accelerator.mixed_precision, accelerator.device) == (expected, CPU)


def test_one_line_says_what_was_chosen_and_why(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    _, line = create_accelerator(settings(precision="auto", compile=True))
    assert line == f"cpu, {torch.get_num_threads()} threads in fp32 (this CPU has no native bf16), compiled"
    _, line = create_accelerator(settings(precision="bf16"))
    assert line.endswith("threads in bf16 (as asked)")


@pytest.mark.parametrize(
    ("setting", "on_cpu", "on_gpu"), [("auto", False, True), (True, True, True), (False, False, False)]
)
def test_compilation_is_left_to_the_gpu_unless_asked_for(setting, on_cpu, on_gpu):
    assert [uses_compilation(settings(compile=setting), device) for device in (CPU, GPU)] == [on_cpu, on_gpu]


@pytest.mark.usefixtures("usual_kernels")
def test_deterministic_kernels_are_asked_for_and_given_up_again(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which the first of them sets for good otherwise
    for wanted in (True, False, True):
        create_accelerator(settings(deterministic=wanted))
        assert torch.are_deterministic_algorithms_enabled() == wanted


@pytest.mark.parametrize(
    ("name", "width", "device", "channels_last"),
    [
        ("resnet10", 4, CPU, False),
        ("resnet23", 8, CPU, False),
        ("resnet23", 16, CPU, True),
        ("resnet10", 4, GPU, True),
        ("mobilenet_v3_small", 64, CPU, True),  # has narrow 1x1 convolutions, but none with a stride
    ],
)
def test_narrow_networks_keep_the_order_in_which_they_do_not_crash(name, width, device, channels_last):
    model = create_model(name, num_classes=3, width=width)
    assert without_crashes(settings(), model, device).channels_last is channels_last
    assert without_crashes(settings(channels_last=False), model, device).channels_last is False

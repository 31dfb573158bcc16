"""How precisely to compute, chosen by what the hardware can do."""

from typing import NamedTuple

from Resnet23.errors import InputError
from Resnet23.keras_variant.library import import_keras

# Compute capabilities from which a GPU multiplies float16 and bfloat16 natively.
HALF_UNITS, BFLOAT_UNITS = (7, 0), (8, 0)


class Precision(NamedTuple):
    """The dtype policy, float32, mixed_bfloat16 or mixed_float16, what computes with it, and why so."""

    policy: str
    device: str
    reason: str


def choose_precision(setting: str) -> Precision:
    """The precision for a setting of train.precision on this machine.

    auto takes a mixed one only where a GPU multiplies it natively. Raises InputError for mixed_float16 without a GPU,
    where TensorFlow emulates it.
    """
    import_keras()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    device = details.get("device_name", "GPU") if gpus else "cpu"
    if setting == "mixed_float16" and not gpus:
        raise InputError("train.precision: found mixed_float16, which needs a GPU; use auto, float32 or mixed_bfloat16")
    if setting != "auto":
        return Precision(setting, device, "as asked")
    policy = native_policy(details.get("compute_capability"))
    reason = "without a GPU that computes less natively" if policy == "float32" else "the GPU computes it natively"
    return Precision(policy, device, reason)


def native_policy(capability: tuple[int, int] | None) -> str:
    """The dtype policy for a GPU of this compute capability; None stands for no GPU, or one that has none."""
    if capability is None or capability < HALF_UNITS:
        return "float32"
    return "mixed_bfloat16" if capability >= BFLOAT_UNITS else "mixed_float16"

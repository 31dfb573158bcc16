"""Encoders in the format of Hugging Face: the network, and how it wants its images."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import torch
from loguru import logger
from torch import nn

from Resnet23.errors import InputError, IntegrityError, missing_package
from Resnet23.files import printable
from Resnet23.modeling.checkpoint import Preprocessing

PIXEL = 1 / 255  # the factor by which pixels from 0 to 255 come to lie between 0 and 1


def import_transformers() -> ModuleType:
    """Hugging Face's library. Raises InputError, with the extra to install, when it is missing."""
    try:
        import transformers
    except ImportError:
        raise missing_package("transformers", "heads") from None
    return transformers


def load_auto_model(name_or_path: str, trust_remote_code: bool) -> tuple[nn.Module, Preprocessing | None]:
    """The AutoModel of a local folder or of a name on the hub in float32, and its preprocessing where it is known.

    Code that comes with a model runs only with `trust_remote_code`. Raises InputError when there is no such model, it
    cannot be loaded, weights are missing, or it wants images that this project does not make, and IntegrityError when
    its weights are a pickle that holds more than weights.
    """
    transformers = import_transformers()
    from safetensors import SafetensorError

    _check_path(name_or_path)
    try:
        with _quiet(transformers, Path(name_or_path).is_dir()):
            model, loaded = transformers.AutoModel.from_pretrained(
                name_or_path, trust_remote_code=trust_remote_code, dtype=torch.float32, output_loading_info=True
            )
    except UnpicklingError:
        raise IntegrityError(
            f"{printable(name_or_path)}: its weights are a pickle that is damaged or holds code, which did not run; "
            "get weights in safetensors"
        ) from None
    except SafetensorError as error:
        raise IntegrityError(
            f"{printable(name_or_path)}: its weights are truncated or damaged ({_first_line(error)})"
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise InputError(f"{printable(name_or_path)}: no encoder that loads ({_first_line(error)})") from None
    _drop_untrained_pooler(model, loaded["missing_keys"], name_or_path)
    preprocessing = _preprocessing(transformers, name_or_path, trust_remote_code)
    if preprocessing is None:
        logger.info(
            f"{printable(name_or_path)}: says not how it wants its images, so they come as the data's are stored"
        )
    return model, preprocessing


def _check_path(name: str) -> None:
    """Raise InputError for a path to nothing: as a name, it might be somebody's model on the hub."""
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{printable(name)}: no config.json in it; expected a folder of save_pretrained()")
    elif (
        name.startswith((".", "/", "~")) or name.endswith("/") or (len(path.parts) > 1 and Path(path.parts[0]).is_dir())
    ):
        raise InputError(f"{printable(name)}: no such folder; expected one of save_pretrained(), or a name on the hub")


def _drop_untrained_pooler(model: nn.Module, missing: Collection[str], name: str) -> None:
    """Take away a pooler that the file has no weights of, as where a classifier was saved: it would be random.

    Raises InputError when other weights are missing.
    """
    others = sorted(key for key in missing if not key.startswith("pooler."))
    if others:
        raise InputError(f"{printable(name)}: {len(missing)} weights are missing, {others[0]} among them")
    if missing:
        model.pooler = None


def _preprocessing(transformers: ModuleType, name_or_path: str, trust_remote_code: bool) -> Preprocessing | None:
    """What the model's image processor says; None where there is none, or it says no size, mean or deviation."""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError):
        return None
    crop, size = (dict(getattr(processor, name, None) or {}) for name in ("crop_size", "size"))
    sides = [crop.get("height"), size.get("height"), size.get("shortest_edge")]
    side = next((side for side in sides if side), None)
    statistics = _statistics(processor, name_or_path)
    if side is None or statistics is None:
        return None
    is_stretched = not crop.get("height") and bool(size.get("height"))
    return Preprocessing(int(side), "stretch" if is_stretched else "crop", *statistics)


def _statistics(processor: Any, name: str) -> tuple[list[float], list[float]] | None:
    """Mean and deviation of the channels for pixels in [0, 1]. Raises InputError for pixels of another kind."""
    factor = getattr(processor, "rescale_factor", None) or PIXEL
    is_usual = getattr(processor, "do_rescale", True) is not False and abs(factor / PIXEL - 1) < 1e-3
    if not is_usual or getattr(processor, "do_flip_channel_order", False):
        raise InputError(
            f"{printable(name)}: its image processor wants other pixels than RGB from 0 to 1, which are not made here"
        )
    if getattr(processor, "do_normalize", True) is False:
        return [0.0] * 3, [1.0] * 3
    mean, std = (getattr(processor, name, None) for name in ("image_mean", "image_std"))
    return None if mean is None or std is None else (list(mean), list(std))


@contextmanager
def _quiet(transformers: ModuleType, is_local: bool) -> Iterator[None]:
    """Leave out the report of weights that were not used, and the progress bar of a local folder."""
    log = transformers.utils.logging
    verbosity, hide = log.get_verbosity(), is_local and log.is_progress_bar_enabled()
    log.set_verbosity_error()
    if hide:
        log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if hide:
            log.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

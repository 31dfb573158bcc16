"""Encoders in the format of Hugging Face: the network, and how it wants its images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from Resnet23.errors import InputError
from Resnet23.files import printable
from Resnet23.modeling.checkpoint import Preprocessing


def import_transformers() -> ModuleType:
    """Hugging Face's library. Raises InputError, with the extra to install, when it is missing."""
    try:
        import transformers
    except ImportError:
        raise InputError(
            "the package transformers is not installed; in a clone: .venv/bin/pip install -r requirements-dev.txt, "
            'elsewhere: pip install "Resnet23[heads]"'
        ) from None
    return transformers


def load_auto_model(name_or_path: str, trust_remote_code: bool) -> tuple[nn.Module, Preprocessing | None]:
    """The AutoModel of a local folder or of a name on the hub, and its preprocessing where its author left it.

    Code that comes with a model runs only with `trust_remote_code`. Raises InputError when there is no such model, or
    it cannot be loaded.
    """
    transformers = import_transformers()
    if Path(name_or_path).is_dir() and not Path(name_or_path, "config.json").is_file():
        raise InputError(f"{printable(name_or_path)}: no config.json in it; expected a folder of save_pretrained()")
    try:
        with _without_bars(transformers, Path(name_or_path).is_dir()):
            model = transformers.AutoModel.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise InputError(f"{printable(name_or_path)}: no encoder that loads ({_first_line(error)})") from None
    return model, _preprocessing(transformers, name_or_path, trust_remote_code)


def _preprocessing(transformers: ModuleType, name_or_path: str, trust_remote_code: bool) -> Preprocessing | None:
    """What the model's image processor says; None where there is none, or it says no size, mean or deviation."""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError):
        return None
    crop, size = (dict(getattr(processor, name, None) or {}) for name in ("crop_size", "size"))
    sides = [crop.get("height"), size.get("height"), size.get("shortest_edge")]
    side = next((side for side in sides if side), None)
    mean, std = (getattr(processor, name, None) for name in ("image_mean", "image_std"))
    if side is None or mean is None or std is None:
        return None
    is_stretched = not crop.get("height") and bool(size.get("height"))
    return Preprocessing(int(side), "stretch" if is_stretched else "crop", list(mean), list(std))


@contextmanager
def _without_bars(transformers: ModuleType, is_local: bool) -> Iterator[None]:
    """Show no progress bars while a local folder is read, which takes no time; a download keeps its own."""
    bars = transformers.utils.logging
    hide = is_local and bars.is_progress_bar_enabled()
    if hide:
        bars.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            bars.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

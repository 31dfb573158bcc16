"""The only place that decodes and resizes images: files of any common kind in, RGB arrays out."""

from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from Resnet23.errors import InputError
from Resnet23.files import printable

# Checked in the header, before memory is taken; Pillow itself warns from 89 million and refuses from 179 million.
MAX_PIXELS = 64_000_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
# What the bytes may be, whatever the suffix says. A closed list, because some other decoders run outside programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

ResizeRule = Literal["crop", "pad", "stretch"]


def decode_image(source: Path | bytes, name: str | None = None) -> Image.Image:
    """Decode an image file, or its bytes, to RGB with its EXIF orientation applied; of several frames, the first.

    16-bit grey is scaled to 8 bits and transparency is composited on white. Raises InputError, naming `name` (the
    path by default), when the file is unreadable, damaged, larger than MAX_PIXELS or of a pixel type without a
    defined range.
    """
    name = name or _name_of(source)
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            _check_size(image, name)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), name)
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name}: not an image; expected one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name}: more than {MAX_PIXELS:,} pixels; make the image smaller") from None
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except Exception as error:  # damaged bytes lead decoders to anything, down to KeyError and struct.error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: damaged or unreadable image ({reason})") from None


def is_image_file(path: Path) -> bool:
    """Whether `path` is a visible file with the suffix of an image; its content is looked at when it is decoded."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def resize_image(image: Image.Image, size: int, rule: ResizeRule) -> np.ndarray:
    """Resize an RGB image to a square by antialiased bicubic interpolation.

    `crop` brings the shorter side to `size` and keeps the centre, `pad` keeps the whole image between black bars,
    `stretch` ignores proportions. Gives (size, size, 3) uint8.
    """
    square, bicubic = (size, size), Image.Resampling.BICUBIC
    if rule == "crop":
        resized = ImageOps.fit(image, square, bicubic)
    elif rule == "pad":
        resized = ImageOps.pad(image, square, bicubic, color="black")
    else:
        resized = image.resize(square, bicubic)
    return np.array(resized)  # (size, size, 3) uint8


def load_image(source: Path | bytes, size: int, rule: ResizeRule, name: str | None = None) -> np.ndarray:
    """Decode a file, or its bytes, and resize it: (size, size, 3) uint8. Raises InputError naming `name`, as above."""
    name = name or _name_of(source)
    image = decode_image(source, name)
    try:
        return resize_image(image, size, rule)
    except ValueError:  # padding an image of 1 x 1,000 pixels to a small square leaves it no width
        found = f"{image.width} x {image.height} pixels"
        raise InputError(f"{name}: {found}, too narrow to {rule} to {size} x {size}") from None


def encode_png(array: np.ndarray) -> bytes:
    """The PNG file of an (H, W, 3) uint8 array; the same pixels give the same bytes."""
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _name_of(source: Path | bytes) -> str:
    return printable(source) if isinstance(source, Path) else "image"


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(
            f"{name}: {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}; make the image smaller"
        )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _scale_grey16(image)
    if image.mode in ("I", "F"):
        raise InputError(f"{name}: 32-bit pixels, whose range is unknown; save the image with 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _scale_grey16(image: Image.Image) -> Image.Image:
    """Grey levels 0..65535 to 0..255, where Pillow's own conversion clips everything above 255 to white."""
    levels = np.asarray(image).astype(np.uint32)  # (H, W)
    grey = ((levels + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257; + 128 rounds to the nearest level
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey[levels == transparent] = 255
    return Image.fromarray(grey).convert("RGB")

"""Images as data: URLs, so that the page needs no file beside it."""

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from Resnet23.figures.theme import Picture
from Resnet23.images import encode_png, resize_image

THUMBNAIL_PIXELS = 96  # largest side of a picture of an image
PHOTO_QUALITY = 85  # of WebP, for the figures that hold photos
PHOTO_FIGURES = ("samples", "mistakes", "explanations")


def embed_thumbnail(image: np.ndarray) -> str:
    """An image (H, W, 3) uint8 as the data: URL of a PNG, no larger than THUMBNAIL_PIXELS."""
    if len(image) > THUMBNAIL_PIXELS:
        image = resize_image(Image.fromarray(image), THUMBNAIL_PIXELS, "stretch")
    return f"data:image/png;base64,{b64encode(encode_png(image)).decode('ascii')}"


def embed_figure(picture: Picture, explanation: str) -> dict[str, Any]:
    """A figure in both themes, with its size in pixels and how to read it."""
    lossless = picture.name not in PHOTO_FIGURES
    width, height = Image.open(BytesIO(picture.light)).size
    return {
        "name": picture.name,
        "title": picture.title,
        "explanation": explanation,
        "width": width,
        "height": height,
        "light": _embed_webp(picture.light, lossless),
        "dark": _embed_webp(picture.dark, lossless),
    }


def _embed_webp(png: bytes, lossless: bool) -> str:
    """A PNG as the data: URL of a WebP, a third to a tenth of its size."""
    buffer = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").save(buffer, "WEBP", lossless=lossless, quality=PHOTO_QUALITY)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode('ascii')}"

"""Image files in every mode that people have, each with the RGB pixels that it stands for."""

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from damaged_images import join_png
from PIL import Image

SIDE = 16  # pixels; blocks of 8 keep their colour in a JPEG file
BLACK, WHITE, RED, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0), (10, 20, 30)
LOSSY = 3  # levels by which JPEG and the conversion of its colours may differ

Color = tuple[int, int, int]


class Golden(NamedTuple):
    """A file of two halves, and the colours of the left and the right one."""

    content: bytes
    left: Color
    right: Color
    tolerance: int = 0  # levels

    @property
    def pixels(self) -> np.ndarray:
        """(SIDE, SIDE, 3) uint8."""
        pixels = np.empty((SIDE, SIDE, 3), np.uint8)
        pixels[:, : SIDE // 2], pixels[:, SIDE // 2 :] = self.left, self.right
        return pixels


def golden_files() -> dict[str, Golden]:
    """The files by their names, of which some say another format than that of the content."""
    return {**_grey_files(), **_palette_files(), **_color_files(), **_deep_files(), **_print_files()}


def refused_files() -> dict[str, bytes]:
    """Files of pixels whose range nobody knows."""
    return {f"{mode} 32 bits.tif": save(halves(mode, 0, 7), "TIFF") for mode in ("I", "F")}


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(mode: str, left: object, right: object) -> Image.Image:
    """An image of two colours."""
    image = Image.new(mode, (SIDE, SIDE), left)
    image.paste(right, (SIDE // 2, 0, SIDE, SIDE))
    return image


def _grey_files() -> dict[str, Golden]:
    binary, grey, alpha = halves("1", 0, 1), halves("L", 7, 200), halves("LA", (0, 255), (100, 51))
    seven, light, paler = (7, 7, 7), (200, 200, 200), (224, 224, 224)  # 224 = 100 * 0.2 + 255 * 0.8
    return {
        "binary.png": Golden(save(binary, "PNG"), BLACK, WHITE),
        "binary.bmp": Golden(save(binary, "BMP"), BLACK, WHITE),
        "binary fax.tif": Golden(save(binary, "TIFF", compression="group4"), BLACK, WHITE),
        "grey.png": Golden(save(grey, "PNG"), seven, light),
        "grey.jpg": Golden(save(grey, "JPEG", quality=100), seven, light, LOSSY),
        "grey with a key.png": Golden(save(grey, "PNG", transparency=7), WHITE, light),
        "grey with alpha.png": Golden(save(alpha, "PNG"), BLACK, paler),
        "grey with alpha.tif": Golden(save(alpha, "TIFF"), BLACK, paler),
    }


def _palette_files() -> dict[str, Golden]:
    palette = halves("P", 0, 1)
    palette.putpalette([*RED, *BLACK])
    return {
        "palette.png": Golden(save(palette, "PNG"), RED, BLACK),
        "palette.bmp": Golden(save(palette, "BMP"), RED, BLACK),
        "palette.tif": Golden(save(palette, "TIFF"), RED, BLACK),
        "palette with a key.png": Golden(save(palette, "PNG", transparency=0), WHITE, BLACK),
        "palette with alpha.png": Golden(save(palette, "PNG", transparency=bytes([255, 51])), RED, (204, 204, 204)),
    }


def _color_files() -> dict[str, Golden]:
    color, alpha = halves("RGB", RED, BLUE), halves("RGBA", (*RED, 255), (*BLACK, 51))
    pale = (204, 204, 204)
    turned = Image.Exif()
    turned[0x0112] = 3  # orientation: upside down
    return {
        "color.png": Golden(save(color, "PNG"), RED, BLUE),
        "color.bmp": Golden(save(color, "BMP"), RED, BLUE),
        "color.webp": Golden(save(color, "WEBP", lossless=True), RED, BLUE),
        "color.tif": Golden(save(color, "TIFF", compression="tiff_lzw"), RED, BLUE),
        "color.jpg": Golden(save(color, "JPEG", quality=100, subsampling=0), RED, BLUE, LOSSY),
        "color with a key.png": Golden(save(color, "PNG", transparency=RED), WHITE, BLUE),
        "upside down.png": Golden(save(color, "PNG", exif=turned), BLUE, RED),
        "alpha.png": Golden(save(alpha, "PNG"), RED, pale),
        "alpha.webp": Golden(save(alpha, "WEBP", lossless=True), RED, pale),
        "alpha.tif": Golden(save(alpha, "TIFF"), RED, pale),
        "JPEG in a.png": Golden(save(color, "JPEG", quality=100, subsampling=0), RED, BLUE, LOSSY),
        "PNG in a.jpg": Golden(save(color, "PNG"), RED, BLUE),
        "WebP in a.bmp": Golden(save(color, "WEBP", lossless=True), RED, BLUE),
    }


def _deep_files() -> dict[str, Golden]:
    """16 bits a channel: 65535 = 255 * 257."""
    levels = np.full((SIDE, SIDE), 32768, np.uint16)
    levels[:, SIDE // 2 :] = 65535
    grey, middle = Image.fromarray(levels), (128, 128, 128)
    deep_red, deep_blue = (65535, 0, 0), tuple(level * 257 for level in BLUE)
    return {
        "16 bits.png": Golden(save(grey, "PNG"), middle, WHITE),
        "16 bits.tif": Golden(save(grey, "TIFF"), middle, WHITE),
        "16 bits the other way round.tif": Golden(save(Image.fromarray(levels.astype(">u2")), "TIFF"), middle, WHITE),
        "16 bits with a key.png": Golden(save(grey, "PNG", transparency=32768), WHITE, WHITE),
        "16 bits of grey and alpha.png": Golden(_deep_png(4, (32768, 65535), (0, 51 * 257)), middle, (204, 204, 204)),
        "16 bits of color.png": Golden(_deep_png(2, deep_red, deep_blue), RED, BLUE),
        "16 bits of color and alpha.png": Golden(
            _deep_png(6, (*deep_red, 65535), (0, 0, 0, 51 * 257)), RED, (204, 204, 204)
        ),
    }


def _print_files() -> dict[str, Golden]:
    """The modes of presses and cameras."""
    cmyk = halves("CMYK", (0, 255, 255, 0), (0, 0, 0, 255))
    return {
        "cmyk.tif": Golden(save(cmyk, "TIFF"), RED, BLACK),
        "cmyk.jpg": Golden(save(cmyk, "JPEG", quality=100, subsampling=0), RED, BLACK, LOSSY),
        "ycbcr.tif": Golden(
            save(halves("RGB", RED, BLUE).convert("YCbCr"), "TIFF", compression="tiff_lzw"), RED, BLUE, LOSSY
        ),
    }


def _deep_png(kind: int, left: tuple[int, ...], right: tuple[int, ...]) -> bytes:
    """A PNG file with 16 bits a channel, which Pillow reads but does not write; `kind` is PNG's type of colour."""
    half = SIDE // 2
    row = (
        b"\0"
        + struct.pack(f">{half * len(left)}H", *left * half)
        + struct.pack(f">{half * len(right)}H", *right * half)
    )
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)
    return join_png([(b"IHDR", header), (b"IDAT", zlib.compress(row * SIDE)), (b"IEND", b"")])

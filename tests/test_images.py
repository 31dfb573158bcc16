"""Every kind of image becomes one defined RGB array, and every bad one becomes one clear error."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from Resnet23 import images
from Resnet23.errors import InputError
from Resnet23.images import decode_image, encode_png, load_image, resize_image

WHITE, RED, BLACK = (255, 255, 255), (255, 0, 0), (0, 0, 0)


def save(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> list[tuple[int, ...]]:
    image = decode_image(content)
    assert image.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()]


def grey_png_header(width: int, height: int) -> bytes:
    """The head of a PNG file that promises so many pixels and holds none."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


@pytest.mark.fault(8)
def test_grey_and_binary_become_rgb():
    assert pixels(save(Image.fromarray(np.array([[0, 7, 255]], np.uint8)))) == [BLACK, (7, 7, 7), WHITE]
    assert pixels(save(Image.fromarray(np.array([[True, False]])))) == [WHITE, BLACK]


@pytest.mark.fault(8)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    grey = Image.fromarray(np.array([[0, 128, 256, 257, 32768, 65535]], np.uint16))
    assert [pixel[0] for pixel in pixels(save(grey, kind))] == [0, 0, 1, 1, 128, 255]


@pytest.mark.fault(8)
def test_transparency_is_composited_on_white():
    rgba = Image.fromarray(np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8))
    assert pixels(save(rgba)) == [RED, WHITE, (204, 204, 204)]
    assert pixels(save(Image.fromarray(np.array([[[0, 255], [0, 0]]], np.uint8), "LA"))) == [BLACK, WHITE]


@pytest.mark.fault(8)
def test_transparent_palette_and_colour_keys_are_composited_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLACK])
    palette.putpixel((1, 0), 1)
    assert pixels(save(palette)) == [RED, BLACK]
    assert pixels(save(palette, transparency=1)) == [RED, WHITE]
    assert pixels(save(Image.new("RGB", (1, 1), RED), transparency=RED)) == [WHITE]
    deep = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert pixels(save(deep, transparency=0)) == [WHITE, WHITE]


@pytest.mark.fault(8)
def test_cmyk_becomes_rgb():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = pixels(save(cmyk, "JPEG", quality=100))[0]
    assert red > 250 and green < 5 and blue < 5


@pytest.mark.fault(8)
@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused(mode):
    with pytest.raises(InputError, match="photo: 32-bit pixels"):
        decode_image(save(Image.new(mode, (2, 2)), "TIFF"), "photo")


def test_exif_orientation_is_applied():
    image = Image.fromarray(np.array([[RED, BLACK, BLACK]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held at a right angle
    decoded = decode_image(save(image, exif=exif))
    assert decoded.size == (1, 3)
    assert decoded.getpixel((0, 0)) == RED


@pytest.mark.fault(8)
def test_content_decides_not_the_suffix(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(save(Image.new("RGB", (4, 4), RED), "JPEG"))
    assert load_image(path, 4, "crop").shape == (4, 4, 3)


@pytest.mark.fault(7)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8_001, 10_000, 40_000])  # at the last two Pillow itself warns and refuses
def test_huge_images_are_refused_from_the_header(side):
    with pytest.raises(InputError, match=r"bomb: .*64,000,000"):
        decode_image(grey_png_header(side, side), "bomb")


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    "damage",
    [
        lambda png: b"",
        lambda png: b"no image at all",
        lambda png: png[: len(png) // 2],
        lambda png: png[:60] + bytes([png[60] ^ 0xFF]) + png[61:],
        lambda png: png[:33],
        lambda png: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ],
    ids=["empty", "text", "half", "flipped", "header", "postscript"],
)
def test_damaged_files_are_named_in_one_line(tmp_path, damage):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    path = tmp_path / "broken.png"
    path.write_bytes(damage(encode_png(noise)))
    with pytest.raises(InputError, match=r"broken\.png: ") as caught:
        decode_image(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        decode_image(tmp_path / "gone.png")


def test_resize_rules():
    wide = Image.fromarray(np.repeat(np.array([[RED, RED, WHITE, WHITE, BLACK, BLACK]], np.uint8), 2, axis=0))  # 6 x 2
    assert resize_image(wide, 2, "crop").tolist() == [[list(WHITE)] * 2] * 2
    padded = resize_image(wide, 6, "pad")
    assert padded[[0, 1, 4, 5]].max() == 0 and padded[2:4].max() == 255
    assert np.array_equal(resize_image(wide, 3, "stretch"), np.asarray(wide.resize((3, 3), Image.Resampling.BICUBIC)))


def test_resizing_is_antialiased_and_leaves_the_right_size_alone():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image = Image.fromarray(noise)
    assert np.array_equal(resize_image(image, 64, "crop"), noise)
    expected = np.asarray(ImageOps.fit(image, (8, 8), Image.Resampling.BICUBIC))
    assert np.array_equal(resize_image(image, 8, "crop"), expected)
    assert resize_image(image, 8, "crop").std() < 0.3 * noise.std()  # without antialiasing it would stay as noisy


def test_an_image_too_narrow_to_pad_is_named(tmp_path):
    path = tmp_path / "line.png"
    Image.new("RGB", (1, 1000)).save(path)
    with pytest.raises(InputError, match=r"line\.png: 1 x 1000 pixels, too narrow"):
        load_image(path, 32, "pad")


def test_png_keeps_pixels_and_is_deterministic():
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert encode_png(noise) == encode_png(noise.copy())
    assert np.array_equal(np.asarray(decode_image(encode_png(noise))), noise)


def test_the_limit_is_below_pillows():
    assert images.MAX_PIXELS < Image.MAX_IMAGE_PIXELS

"""Image files with random damage, the same ones for the same number: seeds that Pillow writes, then changed."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image

SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tif", ".gif")
PNG_START = b"\x89PNG\r\n\x1a\n"
# What the fields of headers are set to: nothing, and the limits of one, two and four bytes.
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

TIFF_KINDS = (
    ("1", "raw"),
    ("1", "group4"),
    ("L", "packbits"),
    ("LA", "raw"),
    ("P", "raw"),
    ("RGB", "tiff_lzw"),
    ("RGB", "jpeg"),
    ("RGBA", "tiff_deflate"),
    ("CMYK", "raw"),
    ("YCbCr", "raw"),
    ("LAB", "raw"),
    ("I;16", "raw"),
    ("I", "raw"),
    ("F", "tiff_lzw"),
)


def picture(mode: str) -> Image.Image:
    """A picture of 23 x 17 pixels with some structure, in the mode."""
    generator = np.random.default_rng(0)
    pixels = (np.linspace(0, 180, 23)[None, :, None] + generator.integers(0, 70, (17, 1, 3))).astype(np.uint8)
    colors = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    if mode == "P":
        return colors.quantize(16)
    if mode == "LAB":
        return Image.merge("LAB", colors.split())
    return colors.convert(mode)


@cache
def seeds() -> tuple[bytes, ...]:
    """Small files of every format and mode that Pillow writes."""
    written = [_save("PNG", picture(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")]
    written.append(_save("PNG", picture("P"), transparency=bytes(range(0, 160, 10))))
    written.append(_save("PNG", picture("RGB"), transparency=(1, 2, 3), dpi=(72, 72), icc_profile=b"none" * 20))
    written += [_save("JPEG", picture(mode)) for mode in ("L", "RGB", "CMYK")]
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    written.append(_save("JPEG", picture("RGB"), progressive=True, exif=exif))
    written += [_save("WEBP", picture("RGB")), _save("WEBP", picture("RGBA")), _save("WEBP", picture("RGB"), exif=exif)]
    written.append(_save("WEBP", picture("RGB"), lossless=True))
    written.append(_save("WEBP", picture("RGB"), save_all=True, append_images=[picture("RGB").rotate(90)]))
    written += [_save("GIF", picture("P")), _save("GIF", picture("P"), save_all=True, append_images=[picture("P")])]
    written += [_save("BMP", picture(mode)) for mode in ("1", "L", "P", "RGB", "RGBA")]
    written += [_save("TIFF", picture(mode), compression=compression) for mode, compression in TIFF_KINDS]
    return tuple(written)


def damaged_file(number: int) -> tuple[str, bytes]:
    """The name and the content of the damaged file of this number; the name's suffix is often a wrong one."""
    generator = np.random.default_rng(number)
    content = seeds()[generator.integers(len(seeds()))]
    for _ in range(generator.choice([1, 1, 1, 2, 3])):
        damage = DAMAGES[generator.integers(len(DAMAGES))]
        content = damage(content, generator) if content else content
    return f"{number:05d}{SUFFIXES[generator.integers(len(SUFFIXES))]}", content


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the data of each chunk of a PNG file, as far as they are whole."""
    place = len(PNG_START)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        if place + 12 + length > len(content):
            return
        yield content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        place += 12 + length


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of these chunks, with the checksums that belong to them."""
    parts = (struct.pack(">I", len(data)) + kind + data + _checksum(kind + data) for kind, data in chunks)
    return PNG_START + b"".join(parts)


def flip_bits(content: bytes, generator: np.random.Generator) -> bytes:
    """Up to 32 bits the other way round."""
    changed = bytearray(content)
    for place in generator.integers(len(changed), size=generator.integers(1, 33)):
        changed[place] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def cut_end(content: bytes, generator: np.random.Generator) -> bytes:
    """Nothing but the first bytes."""
    return content[: generator.integers(len(content))]


def cut_out(content: bytes, generator: np.random.Generator) -> bytes:
    """Without a piece from somewhere."""
    begin, end = _range(content, generator)
    return content[:begin] + content[end:]


def repeat(content: bytes, generator: np.random.Generator) -> bytes:
    """A piece from somewhere once more, somewhere else."""
    begin, end = _range(content, generator)
    place = generator.integers(len(content))
    return content[:place] + content[begin:end] * int(generator.integers(1, 4)) + content[place:]


def insert_noise(content: bytes, generator: np.random.Generator) -> bytes:
    """Up to 64 random bytes, somewhere."""
    place = generator.integers(len(content))
    return content[:place] + generator.bytes(generator.integers(1, 65)) + content[place:]


def overwrite(content: bytes, generator: np.random.Generator) -> bytes:
    """Random bytes in the place of a piece."""
    begin, end = _range(content, generator)
    return content[:begin] + generator.bytes(end - begin) + content[end:]


def noise_after_start(content: bytes, generator: np.random.Generator) -> bytes:
    """Random bytes after the few by which the format is known."""
    return content[:16] + generator.bytes(generator.integers(512))


def splice(content: bytes, generator: np.random.Generator) -> bytes:
    """The beginning of this file and the end of another one."""
    other = seeds()[generator.integers(len(seeds()))]
    return content[: generator.integers(len(content))] + other[generator.integers(len(other)) :]


def change_field(content: bytes, generator: np.random.Generator) -> bytes:
    """One number of one, two or four bytes in the header, such as width and height, becomes extreme."""
    if content.startswith(PNG_START) and generator.random() < 0.5:
        return _change_png_header(content, generator)
    size = int(generator.choice([1, 2, 4]))
    value = EXTREMES[generator.integers(len(EXTREMES))] % 256**size
    order = "big" if generator.random() < 0.5 else "little"
    place = generator.integers(min(len(content), 200))
    return content[:place] + value.to_bytes(size, order) + content[place + size :]


def change_chunks(content: bytes, generator: np.random.Generator) -> bytes:
    """Chunks of a PNG file damaged, repeated, dropped or moved, all with right checksums; of other files a piece."""
    chunks = list(png_chunks(content)) if content.startswith(PNG_START) else []
    if not chunks:
        return repeat(content, generator)
    place = int(generator.integers(len(chunks)))
    kind, data = chunks[place]
    choice = generator.integers(4)
    if choice == 0 and data:
        chunks[place] = (kind, flip_bits(data, generator))
    elif choice == 1:
        chunks.insert(int(generator.integers(len(chunks))), (kind, data))
    elif choice == 2:
        del chunks[place]
    else:
        chunks[place] = (kind, generator.bytes(generator.integers(200)))
    return join_png(chunks)


DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    flip_bits,
    cut_end,
    cut_out,
    repeat,
    insert_noise,
    overwrite,
    noise_after_start,
    splice,
    change_field,
    change_field,
    change_chunks,
    change_chunks,
)


def _save(kind: str, image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _range(content: bytes, generator: np.random.Generator) -> tuple[int, int]:
    begin, end = sorted(generator.integers(len(content) + 1, size=2).tolist())
    return begin, end


def _checksum(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


def _change_png_header(content: bytes, generator: np.random.Generator) -> bytes:
    """Width, height, or one of the bytes that say what the pixels are, with the right checksum."""
    (kind, data), *others = list(png_chunks(content)) or [(b"IHDR", bytes(13))]
    header = bytearray(data.ljust(13, b"\0"))
    if generator.random() < 0.5:
        value = EXTREMES[generator.integers(len(EXTREMES))] if generator.random() < 0.5 else generator.integers(20_000)
        struct.pack_into(">I", header, int(generator.choice([0, 4])), int(value))
    else:
        header[generator.integers(8, 13)] = generator.integers(256)
    return join_png([(kind, bytes(header)), *others])

"""Photographs that were made to fill the memory, to take for ever, or to be no photograph at all.

Written byte by byte, so that it takes nothing to make what takes gigabytes to open.
"""

import io
import zlib
from struct import pack

from PIL import Image

# JPEG: segments, each a marker, its length and its content


def segment(marker: int, content: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + pack(">H", len(content) + 2) + content


def code(kind: int, symbol: int) -> bytes:
    "A Huffman table in which the bit 0 is a symbol, and nothing else is anything."
    return segment(0xC4, bytes([kind, 1, *[0] * 15, symbol]))


def frame(marker: int, width: int, height: int, components: int) -> bytes:
    about = b"".join(bytes([i + 1, 0x11, 0]) for i in range(components))
    return segment(marker, pack(">BHHB", 8, height, width, components) + about)


def scan(components, first: int = 0, last: int = 63) -> bytes:
    about = b"".join(bytes([c, 0]) for c in components)
    return segment(0xDA, bytes([len(components)]) + about + bytes([first, last, 0]))


def zero_bits(count: int) -> bytes:
    return bytes(-(-count // 8))


def blocks(width: int, height: int) -> int:
    return -(-width // 8) * -(-height // 8)


START, END = b"\xff\xd8", b"\xff\xd9"
TABLE = segment(0xDB, bytes([0] + [1] * 64))
GREY = TABLE + code(0, 0) + code(0x10, 0)  # one bit for a block's mean, and one for the rest


def jpeg(width, height, components=3, extra=b"", marker=0xC0, pixels=True) -> bytes:
    "A grey JPEG in one pass."
    every = range(1, components + 1)
    bits = 2 * components * blocks(width, height) if pixels else 0
    head = extra + GREY + frame(marker, width, height, components)
    return START + head + scan(every) + zero_bits(bits) + END


def jpeg_of_scans(width, height, components=3) -> bytes:
    "A JPEG that is not progressive, and has a pass for each component all the same."
    bits = zero_bits(2 * blocks(width, height))
    head = GREY + frame(0xC0, width, height, components)
    return START + head + b"".join(scan([c + 1]) + bits for c in range(components)) + END


def jpeg_progressive(width, height, components=3, passes=1, pixels=True) -> bytes:
    "A progressive JPEG; each further pass says of some 16,000 blocks at a time that nothing is new."
    n = blocks(width, height)
    first = scan(range(1, components + 1), 0, 0) + zero_bits(n * components if pixels else 0)
    more = code(0x10, 0xE0) + (scan([1], 1, 63) + zero_bits(15 * -(-n // (1 << 14)))) * (passes - 1)
    return START + TABLE + frame(0xC2, width, height, components) + code(0, 0) + first + more + END


def exif_segments(total: int) -> bytes:
    return segment(0xE1, b"Exif\0\0" + bytes(65_000)) * (total // 65_000)


# PNG: chunks, each its length, name, content and check sum


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return pack(">I", len(content)) + name + content + pack(">I", zlib.crc32(name + content))


def png(width, height, bits=8, before=b"", after=b"", interlaced=False) -> bytes:
    "Transparent black."
    packer = zlib.compressobj(9)
    row = bytes(1 + width * bits // 2)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", pack(">IIBBBBB", width, height, bits, 6, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", body) + after + chunk(b"IEND")


def text_bomb(count: int) -> bytes:
    "Texts of a million letters each."
    packed = zlib.compress(b"a" * 1_000_000, 9)
    return b"".join(chunk(b"zTXt", b"key%d\0\0" % i + packed) for i in range(count))


# TIFF, and EXIF: directories of tags


def directory(tags: list, after: bytes = b"", at: int = 8) -> bytes:
    """Tags (number, type, how many values, value), and bytes after them.

    A value that is a text such as "+8" is a place so many bytes into `after`.
    """
    end = at + 2 + 12 * len(tags) + 4
    rows = [(*t[:3], end + int(t[3]) if isinstance(t[3], str) else t[3]) for t in sorted(tags)]
    return pack("<H", len(rows)) + b"".join(pack("<HHII", *row) for row in rows) + bytes(4) + after


def tiff(tags: list, after: bytes = b"") -> bytes:
    return b"II*\0" + pack("<I", 8) + directory(tags, after)


def tiff_tags(width: int, height: int, packed: bool = False) -> list:
    "What every TIFF says: its sides, bits, compression, meaning, samples."
    of_all = {256: width, 257: height, 258: 8, 259: 8 if packed else 1, 262: 1, 277: 1}
    return [(tag, 4 if tag < 258 else 3, 1, value) for tag, value in of_all.items()]


def tiff_strips(count: int) -> bytes:
    "Far more strips than there are lines."
    tags = [(273, 4, count, "+0"), (278, 3, 1, 1), (279, 4, count, "+0")]
    return tiff(tiff_tags(64, 64) + tags, bytes(4 * count))


def tiff_tile(side: int) -> bytes:
    "A small picture in a large tile."
    packed = zlib.compress(bytes(side * side), 9)
    tags = [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, "+0"), (325, 4, 1, len(packed))]
    return tiff(tiff_tags(64, 64, packed=True) + tags, packed)


def tiff_turns(count: int) -> bytes:
    "So many orientations."
    tags = [(273, 4, 1, 8), (274, 3, count, "+0"), (278, 3, 1, 64), (279, 4, 1, 4096)]
    return tiff(tiff_tags(64, 64) + tags, b"\1\x70" * count + bytes(4096))


def tiff_inner(count: int) -> bytes:
    "A list of numbers in the directory of EXIF."
    tags = tiff_tags(64, 64) + [(273, 4, 1, 8), (278, 3, 1, 64), (279, 4, 1, 4096), (34665, 4, 1, "+0")]
    at = 8 + 2 + 12 * len(tags) + 4
    return tiff(tags, directory([(37500, 3, count, "+0")], b"\1\x70" * count, at))


def exif_turns(count: int) -> bytes:
    "A block of EXIF with so many orientations."
    return tiff([(274, 3, count, "+0")], b"\1\x70" * count)


# The others


def gif(width, height, left=0) -> bytes:
    "A GIF whose picture is larger than the screen that it is said to be for, or lies far beyond."
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "GIF")
    data = bytearray(file.getvalue())
    at = data.index(b",\0\0\0\0" + pack("<HH", width, height))
    data[6:10] = pack("<HH", 10, 10)
    data[at + 1 : at + 3] = pack("<H", left)
    return bytes(data)


def animation(side: int, frames: int, name: str) -> bytes:
    "A GIF or WebP that moves."
    file = io.BytesIO()
    shown = [Image.new("L", (side, side), 255 * (i % 2)) for i in range(frames)]
    shown[0].save(file, name, save_all=True, append_images=shown[1:], lossless=True)
    return file.getvalue()


def webp(width, height, exif: bytes = b"") -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (width, height), (9, 9, 9, 9)).save(file, "WEBP", lossless=True, method=0, exif=exif)
    return file.getvalue()


def bmp_runs() -> bytes:
    "The beginning of a BMP of runs; zeros after it are ends of lines, for ever."
    about = pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + pack("<IHHI", 0, 0, 0, 1078) + about + bytes(1024)

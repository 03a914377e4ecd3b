"Photographs that attack: each is refused with a word, or read, in bounded time and memory."

import io
import json
import os
import random
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import hostile
import numpy as np
import pytest
from PIL import Image
from processes import begin, finish, good

from landmark_nb.images import HEIC, PIXELS, BadImage, read_image

# Reads images in a process of its own, by `threads` at a time, several times over; says of each file what
# came of it, by how many megabytes the process grew over it, and how many seconds of a processor it took.
READ = """
import json, resource, sys, time, warnings
from concurrent.futures import ThreadPoolExecutor
from landmark_nb.images import read_image

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000

def outcome(path):
    try:
        return "read" if read_image(path, size=64).shape == (64, 64, 3) else "odd"
    except ValueError as e:
        return str(e)

warnings.simplefilter("ignore")
first, threads, *paths = sys.argv[1:]
outcome(first)
for path in paths:
    open("/proc/self/clear_refs", "w").write("5")
    before, began = peak(), time.process_time()
    with ThreadPoolExecutor(int(threads)) as pool:
        said = list(pool.map(outcome, [path] * int(threads)))
    print(json.dumps([said, peak() - before, time.process_time() - began]), flush=True)
"""
LIMITS = dict(LANDMARK_NB_MAX_PIXELS="1000000", LANDMARK_NB_MAX_BYTES="20000000")


def read_apart(paths: list, threads: int = 1, seconds: float = 120, **environment) -> list:
    "What `READ` says of each file: (outcomes, megabytes, seconds)."
    first = Path(paths[0]).with_name("first.png")
    Image.new("RGB", (9, 9)).save(first)
    p = begin(["-c", READ, first, threads, *paths], env=os.environ | dict(OMP_NUM_THREADS="1") | environment)
    return [json.loads(line) for line in good(p, seconds).splitlines()]


def written(folder: Path, name: str, data: bytes, length: int | None = None) -> Path:
    "A file; one with a length is as long as that without taking space."
    path = folder / name
    path.write_bytes(data)
    if length:
        os.truncate(path, length)
    return path


# What is no file


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(path))


def make_folder(path):
    path.mkdir()


def link_to(target):
    return lambda path: path.symlink_to(target)


NO_FILES = dict(
    pipe=(make_pipe, "is a pipe"),
    socket=(make_socket, "No such device"),
    folder=(make_folder, "is a folder"),
    endless=(link_to("/dev/zero"), "a device"),
    terminal=(link_to("/dev/tty"), "x.jpg"),
    loop=(link_to("x.jpg"), "symbolic links"),
    kernel=(link_to("/proc/self/pagemap"), "x.jpg"),
)


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    make, why = NO_FILES[name]
    path = tmp_path / "x.jpg"
    make(path)
    code = "import sys; from landmark_nb.images import read_image; read_image(sys.argv[1])"
    _, _, err = finish(begin(["-c", code, path]), 20)
    last = err.splitlines()[-1]
    assert "BadImage" in last and str(path) in last and why in last, err


def test_links_to_files_are_followed(tmp_path):
    picture = tmp_path / "elsewhere" / "picture.png"
    picture.parent.mkdir()
    Image.new("RGB", (9, 9), "red").save(picture)
    (tmp_path / "set").mkdir()
    link = tmp_path / "set" / "x.png"
    link.symlink_to(picture)
    assert read_image(link).shape == (9, 9, 3)


# What a file may ask for: name -> (bytes, length on the disk if it is sparse, what is said)

PIXELS_SAID, BYTES_SAID = "pixels, more than max_pixels=1,000,000", "bytes, more than max_bytes=20,000,000"
BOMBS = {
    "flat.png": lambda: (hostile.png(4000, 4000), PIXELS_SAID),
    "deep.png": lambda: (hostile.png(2000, 2000, bits=16, interlaced=True), PIXELS_SAID),
    "chunks.png": lambda: (hostile.png(9, 9, before=hostile.chunk(b"prVt") * 500_000), "pieces"),
    "tail.png": lambda: (hostile.png(9, 9, after=hostile.chunk(b"prVt") * 500_000), "pieces"),
    "texts.png": lambda: (hostile.png(9, 9, before=hostile.text_bomb(80)), "Too much memory used in text"),
    "turns.png": lambda: (
        hostile.png(9, 9, after=hostile.chunk(b"eXIf", hostile.exif_turns(8_000_000))),
        "read",
    ),
    "progressive.jpg": lambda: (hostile.jpeg_progressive(4000, 4000), PIXELS_SAID),
    "empty.jpg": lambda: (hostile.jpeg_progressive(4000, 4000, pixels=False), PIXELS_SAID),
    "scans.jpg": lambda: (hostile.jpeg_of_scans(4000, 4000), PIXELS_SAID),
    "passes.jpg": lambda: (hostile.jpeg_progressive(900, 900, passes=5000), "100 passes"),
    "large.jpg": lambda: (hostile.jpeg(8000, 8000), "read"),
    "arithmetic.jpg": lambda: (hostile.jpeg(8000, 8000, marker=0xC9, pixels=False), "read"),
    "whole.jpg": lambda: (hostile.jpeg(8008, 8008), PIXELS_SAID),
    "segments.jpg": lambda: (
        hostile.jpeg(64, 64, extra=hostile.segment(0xE5) * 2_000_000),
        "10,000 segments",
    ),
    "exif.jpg": lambda: (hostile.jpeg(64, 64, extra=hostile.exif_segments(15_000_000)), "bytes of EXIF"),
    "stray.jpg": lambda: (
        hostile.jpeg(64, 64, extra=hostile.segment(0xE5) + bytes(10_000_000)),
        "between its segments",
    ),
    "strips.tif": lambda: (hostile.tiff_strips(2_000_000), "bytes of numbers"),
    "tile.tif": lambda: (hostile.tiff_tile(4000), PIXELS_SAID),
    "turns.tif": lambda: (hostile.tiff_turns(8_000_000), "bytes of numbers"),
    "inner.tif": lambda: (hostile.tiff_inner(8_000_000), "bytes of numbers"),
    "larger.gif": lambda: (hostile.gif(4000, 4000), PIXELS_SAID),
    "far.gif": lambda: (hostile.gif(9, 9, left=65_000), "read"),
    "moves.gif": lambda: (hostile.animation(900, 300, "GIF"), "read"),
    "moves.webp": lambda: (hostile.animation(900, 60, "WEBP"), "read"),
    "flat.webp": lambda: (hostile.webp(2000, 2000), PIXELS_SAID),
    "turns.webp": lambda: (hostile.webp(9, 9, exif=hostile.exif_turns(8_000_000)), "read"),
}
SPARSE = {
    "sparse.webp": (b"RIFF" + struct.pack("<I", 0xFFFFFFF6) + b"WEBPVP8 ", 6 << 30, BYTES_SAID),
    "sparse.png": (hostile.png(9, 9), 1 << 40, BYTES_SAID),
    "runs.bmp": (hostile.bmp_runs(), 20_000_000, "pieces"),
    "nothing.jpg": (hostile.START + b"\xff", 20_000_000, "without pixels"),
}


def check_bomb(path: Path, want: str, **more):
    said, megabytes, seconds = read_apart([path], **LIMITS, **more)[0]
    assert want in said[0], said
    assert said[0] == "read" or str(path) in said[0]
    assert megabytes < 90 and seconds < 8, (megabytes, seconds)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path, name):
    data, want = BOMBS[name]()
    check_bomb(written(tmp_path, name, data), want)


@pytest.mark.parametrize("name", SPARSE)
def test_files_longer_than_the_disk(tmp_path, name):
    data, length, want = SPARSE[name]
    check_bomb(written(tmp_path, name, data, length), want)


def test_limits_are_arguments_too(tmp_path):
    path = written(tmp_path, "x.png", hostile.png(100, 50))
    assert read_image(path, max_pixels=5000).shape == (50, 100, 3)
    with pytest.raises(BadImage, match=r"x\.png.*5,000 pixels, more than max_pixels=4,999"):
        read_image(path, max_pixels=4999)
    size = path.stat().st_size
    with pytest.raises(BadImage, match=rf"x\.png.*{size} bytes, more than max_bytes={size - 1}"):
        read_image(path, max_bytes=size - 1)
    with open(path, "rb") as file, pytest.raises(BadImage, match=f"{size} bytes"):
        read_image(file, max_bytes=size - 1)


@pytest.mark.parametrize("text", ["0", "-5", "1e8", "many"])
def test_a_limit_that_is_none_is_named(text):
    p = begin(["-c", "import landmark_nb.images"], env=os.environ | dict(LANDMARK_NB_MAX_PIXELS=text))
    assert f"LANDMARK_NB_MAX_PIXELS={text}: must be a whole number" in finish(p)[2]


def test_a_panorama_is_read_at_a_fraction(tmp_path, recwarn):
    path = written(tmp_path, "x.jpg", hostile.jpeg(20_992, 10_496))
    assert read_image(path, size=384).shape == (384, 384, 3)
    assert read_image(path, longest=160).shape == (80, 160, 3)
    with pytest.raises(BadImage, match="220,332,032 pixels"):
        read_image(path)
    assert not recwarn.list


# Sixteen at once


def shared_peak(tmp_path, name: str, data: bytes, pixels: int, **environment) -> float:
    "Megabytes for sixteen threads that read a file at once, each of which may unpack so many pixels."
    path = written(tmp_path, name, data)
    environment |= dict(LANDMARK_NB_MAX_PIXELS=str(pixels))
    said, megabytes, _ = read_apart([path], 16, 500, **environment)[0]
    want = "truncated" if name == "cut.png" else "read"
    assert all(want in text for text in said), said
    return megabytes


def kinds_of(side: int) -> dict:
    "Pictures of side x side pixels, in the ways that take most memory."
    return {
        "flat.png": lambda: hostile.png(side, side),
        "cut.png": lambda: hostile.png(side, side)[:-40],
        "deep.png": lambda: hostile.png(side, side, bits=16),
        "flat.webp": lambda: hostile.webp(side, side),
        "progressive.jpg": lambda: hostile.jpeg_progressive(side, side, passes=3),
        "scans.jpg": lambda: hostile.jpeg_of_scans(side, side),
        "large.gif": lambda: hostile.gif(side, side),
    }


BYTES = 18  # that a pixel takes while it is unpacked, at the most: WebP
KEPT = 40  # megabytes that the C library may keep for each thread, instead of giving them back
GIVEN_BACK = dict(MALLOC_MMAP_THRESHOLD_="1000000")  # so that it does not, and what is in use can be measured


@pytest.mark.parametrize("name", kinds_of(1))
def test_threads_share_their_room(tmp_path, name):
    megabytes = shared_peak(tmp_path, name, kinds_of(2000)[name](), 4_000_000, **GIVEN_BACK)
    assert megabytes < 4 * BYTES + 30, "one image, and what sixteen threads take"


def test_a_fork_does_not_inherit_what_threads_take():
    with PIXELS.take(PIXELS.most):
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)
            with PIXELS.take(PIXELS.most):
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


def test_a_large_image_is_not_kept_waiting_by_small_ones():
    turns, stop = [], threading.Event()

    def small():
        while not stop.is_set():
            with PIXELS.take(PIXELS.most // 4):
                time.sleep(0.002)

    threads = [threading.Thread(target=small) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        began = time.perf_counter()
        with PIXELS.take(PIXELS.most * 2):
            turns.append(time.perf_counter() - began)
    stop.set()
    for thread in threads:
        thread.join()
    assert PIXELS.used == 0 and max(turns) < 2, turns


# Nothing of what is right is lost


def photograph(seed: int) -> Image.Image:
    draw = np.random.default_rng(seed)
    few = draw.integers(0, 256, (6, 8, 4), dtype=np.uint8)
    return Image.fromarray(few).resize((80, 60), Image.Resampling.BICUBIC)


def as_pillow_reads(data: bytes) -> np.ndarray:
    "A picture as `Image.open` and `exif_transpose` give it, over white."
    from PIL import ImageOps

    im = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if im.mode in ("LA", "RGBA") or "transparency" in im.info:
        im = im.convert("RGBA")
        im = Image.alpha_composite(Image.new("RGBA", im.size, "white"), im)
    return np.asarray(im.convert("RGB"))


WAYS = {
    "JPEG": dict(quality=90),
    "JPEG progressive": dict(progressive=True),
    "PNG": {},
    "PNG palette": {},
    "WEBP": dict(lossless=True),
    "WEBP lossy": dict(quality=80),
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "TIFF packed": dict(compression="tiff_lzw"),
    "TIFF jpeg": dict(compression="jpeg"),
}


@pytest.mark.parametrize("turn", [None, 1, 3, 6, 7])
@pytest.mark.parametrize("way", WAYS)
def test_the_same_pixels_as_pillow(tmp_path, way, turn):
    name, _, kind = way.partition(" ")
    im = photograph(len(way))
    if name in ("JPEG", "BMP") or kind == "jpeg":
        im = im.convert("RGB")
    elif kind == "palette":
        im = im.convert("RGB").quantize(40)
        im.info["transparency"] = 3
    exif = Image.Exif()
    more = {}
    if turn and name not in ("GIF", "BMP"):
        exif[0x0112] = turn
        more = dict(exif=exif)
    file = io.BytesIO()
    im.save(file, name, **WAYS[way], **more)
    path = written(tmp_path, "x", file.getvalue())
    assert np.array_equal(read_image(path), as_pillow_reads(file.getvalue()))
    assert np.array_equal(read_image(file), as_pillow_reads(file.getvalue()))


# Anything at all

NEWER = ("AVIF", "HEIF") if HEIC else ("AVIF",)


def saved(im: Image.Image, name: str) -> bytes:
    "A picture as a file of a kind that is an extra."
    file = io.BytesIO()
    if name == "HEIF":
        import pillow_heif

        pillow_heif.from_pillow(im.convert("RGB")).save(file)
    else:
        im.convert("RGB").save(file, name)
    return file.getvalue()


def samples() -> list[bytes]:
    "Small files of every kind, with all that can stand in their headers."
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    kept = []
    for way, how in WAYS.items():
        name = way.partition(" ")[0]
        im = photograph(1).convert("RGB" if name in ("JPEG", "BMP") or "jpeg" in way else "RGBA")
        more = dict(exif=exif) if name in ("JPEG", "PNG", "WEBP", "TIFF") else {}
        file = io.BytesIO()
        im.resize((24, 16)).save(file, name, **how, **more)
        kept.append(file.getvalue())
    kept += [saved(photograph(1), name) for name in NEWER]
    kept += [hostile.animation(16, 3, "GIF"), hostile.animation(16, 3, "WEBP"), hostile.tiff_tile(32)]
    return [*kept, hostile.jpeg_of_scans(24, 16), hostile.exif_turns(3), hostile.bmp_runs() + bytes(50)]


def mutated(data: bytes, draw: random.Random) -> bytes:
    "A file with some bytes changed, mostly of its header; cut, doubled, or joined with noise."
    out = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(min(len(out), draw.choice((40, 200, 10**6))))
        kind = draw.randrange(6)
        if kind < 3:
            out[at] = draw.choice((0, 1, 0x7F, 0xFF, draw.randrange(256)))
        elif kind == 3:
            out[at : at + 4] = draw.choice((b"\xff" * 4, b"\0\0\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
        elif kind == 4:
            del out[at : at + draw.randint(1, 30)]
        else:
            out[at:at] = out[at : at + draw.randint(1, 30)] * draw.choice((1, 1, 50))
        if not out:
            break
    return bytes(out)


def fuzz(count: int, seed: int) -> dict:
    "Read so many mutated files; returns how many were read and refused, and the longest time of a processor."
    draw, files = random.Random(seed), samples()
    tally = dict(read=0, refused=0, seconds=0.0)
    for _ in range(count):
        data = mutated(draw.choice(files), draw)
        began = time.thread_time()
        try:
            image = read_image(io.BytesIO(data), draw.choice((None, 32)), max_pixels=1_000_000)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            tally["read"] += 1
        except BadImage as e:
            assert "cannot be decoded" in str(e)
            tally["refused"] += 1
        tally["seconds"] = max(tally["seconds"], time.thread_time() - began)
    return tally


FUZZ = """
import json, sys, warnings
from test_images import fuzz
warnings.simplefilter("ignore")
print(json.dumps(fuzz(int(sys.argv[1]), int(sys.argv[2]))))
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def check_fuzz(count: int, seed: int, seconds: float = 300):
    tally, peak = good(begin(["-c", FUZZ, count, seed]), seconds).splitlines()
    tally = json.loads(tally)
    print(count, "mutated files:", tally, peak, "kB")
    assert tally["read"] > 0.1 * count and tally["refused"] > 0.1 * count
    assert tally["seconds"] < 5 and int(peak) < 400_000


def test_mutated_files_are_read_or_refused():
    check_fuzz(1000, 0)


# The long ones: pictures of a hundred million pixels


@pytest.mark.attack
@pytest.mark.parametrize("name", kinds_of(1))
def test_sixteen_of_a_hundred_million_pixels(tmp_path, name):
    megabytes = shared_peak(tmp_path, name, kinds_of(10_000)[name](), 100_000_000)
    print(f"{name}: {megabytes:.0f} MB")
    assert megabytes < 100 * BYTES + 16 * KEPT


@pytest.mark.attack
@pytest.mark.parametrize("name", ["flat.png", "flat.webp"])
def test_sixteen_beyond_the_limit_take_nothing(tmp_path, name):
    data = {"flat.png": lambda: hostile.png(16_000, 16_000), "flat.webp": lambda: hostile.webp(16_000, 6_300)}
    path = written(tmp_path, name, data[name]())
    said, megabytes, seconds = read_apart([path], 16)[0]
    assert all("pixels, more than max_pixels=100,000,000" in text for text in said)
    assert megabytes < 60 and seconds < 5, (megabytes, seconds)


@pytest.mark.attack
@pytest.mark.parametrize("marker", [0xC0, 0xC9])
def test_the_largest_jpeg(tmp_path, marker):
    path = written(tmp_path, "x.jpg", hostile.jpeg(65_500, 65_500, marker=marker, pixels=False))
    said, megabytes, seconds = read_apart([path])[0]
    assert said == ["read"] and megabytes < 400 and seconds < 60, (said, megabytes, seconds)


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutated_files(seed):
    check_fuzz(10_000, seed, 580)

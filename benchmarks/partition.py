"""From file names to CosGroups: ours against the loop, row by row, in plain Python.

python benchmarks/partition.py          1 million names both ways
python benchmarks/partition.py full     and, ours alone, 5.6 and 41.2 million (SF-XL's subset, and all of it)
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import child, peak_mb, resident_mb, save

SMALL = 1_000_000
LARGE = (5_600_000, 41_200_000)
VIEWS = 12  # of a panorama
PER_WRITE = 120_000  # names that are made at a time


def draw_places(
    r: np.random.Generator,
    n: int,  # names
    side: float,  # metres of the map's side
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # float64 [n] east, north (metres), heading (degrees)
    "Panoramas on the ground, and their views all around."
    panoramas = -(-n // VIEWS)
    east = 550_000 + r.integers(0, int(side), panoramas) + r.random(panoramas)
    north = 550_000 + r.integers(0, int(side), panoramas) + r.random(panoramas) + 3_630_000
    heading = np.tile(np.arange(VIEWS) * 30, panoramas)[:n] + r.random(n) * 30
    return np.repeat(east, VIEWS)[:n], np.repeat(north, VIEWS)[:n], heading % 360


def name_of(
    i: int,  # of the block, names a folder
    j: int,  # within the block
    east: float,
    north: float,
    heading: float,
) -> str:
    "A line of the list, as long as SF-XL's."
    view = j % VIEWS
    camera = f"10@S@037.77493@-122.41942@uXnTTSQ-e3CRyPXRMTPPpA@{view:02d}@{heading:.2f}"
    return f"37.7{i % 10}/@{east:010.2f}@{north:010.2f}@{camera}@@@@2014{view + 1:02d}@@.jpg\n"


def write_names(
    path: Path,  # of the list
    n: int,
):
    "A list of n SF-XL-like names, on a map that grows with n: some eight panoramas for each 10 m."
    r = np.random.default_rng(0)
    side = (n / VIEWS / 8) ** 0.5 * 10
    with open(path, "w") as f:
        for i in range(0, n, PER_WRITE):
            places = draw_places(r, min(PER_WRITE, n - i), side)
            rows = zip(*(values.tolist() for values in places))
            f.writelines(name_of(i, j, *place) for j, place in enumerate(rows))


def naive(
    folder,  # whose list stands beside it
) -> tuple[int, int, int]:  # classes, groups, images that have a class
    "What one writes first: names, a loop, dictionaries (M=10, alpha=30, N=5, L=2, classes of at least 10)."
    with open(f"{folder}_images_paths.txt") as f:
        names = f.read().splitlines()
    images = {}
    for name in names:
        f = name.split("@")
        east, north, heading = float(f[1]), float(f[2]), float(f[9])
        cell = int(east // 10), int(north // 10), int(heading % 360 // 30)
        images.setdefault(cell, []).append(name)
    images = {cell: found for cell, found in images.items() if len(found) >= 10}
    groups = {}
    for east, north, sector in images:
        groups.setdefault((east % 5, north % 5, sector % 2), []).append((east, north, sector))
    return len(images), len(groups), sum(map(len, images.values()))


def ours(
    folder,  # whose list stands beside it
) -> tuple[int, int, int]:  # classes, groups, images that have a class
    "The same by the library."
    from landmark_nb.data.partition import assign_folder

    p = assign_folder(folder)
    return len(p.cells), len(p.groups), int((p.class_of >= 0).sum())


def measure_one(how: Callable, folder) -> dict:
    "Time, memory and result of one way, in this process."
    before = resident_mb()
    began = time.perf_counter()
    result = how(folder)
    seconds = time.perf_counter() - began
    extra, peak = round(peak_mb() - before), round(peak_mb())
    return dict(seconds=round(seconds, 3), extra_mb=extra, peak_mb=peak, result=result)


def middle(runs: list[dict]) -> dict:
    "The run of the median time."
    return sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]


def compare(
    folder: Path,
    n: int,  # names in its list
    warm: Path,  # a folder with few names, with which code is compiled first
) -> dict:
    "Ours, and for a list that is not too long the plain loop too, each run in a process of its own."
    if n != SMALL:
        return dict(ours=child(__file__, "one", "ours", folder, warm))
    ours = middle([child(__file__, "one", "ours", folder, warm) for _ in range(5)])
    plain = middle([child(__file__, "one", "naive", folder) for _ in range(3)])
    assert ours["result"] == plain["result"], (ours, plain)
    return dict(
        ours=ours,
        plain_python=plain,
        times_faster=round(plain["seconds"] / ours["seconds"], 1),
        share_of_memory=round(ours["extra_mb"] / plain["extra_mb"], 3),
    )


def main(sizes: tuple[int, ...]):
    "Compare for lists of some sizes, and keep the result."
    rows = {}
    with tempfile.TemporaryDirectory() as d:
        warm, folder = Path(d) / "warm", Path(d) / "train"
        warm.mkdir()
        folder.mkdir()
        write_names(Path(f"{warm}_images_paths.txt"), 1000)
        for n in sizes:
            write_names(Path(f"{folder}_images_paths.txt"), n)
            rows[f"{n:,} names"] = compare(folder, n, warm)
    save(
        "partition",
        rows=rows,
        note="extra_mb: peak resident memory above that of the process before it began;"
        " the plain loop and ours find the same classes, groups and images",
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        how, folder, *warm = sys.argv[2:]
        if warm:
            ours(warm[0])  # imports and compiles
        print(json.dumps(measure_one(dict(naive=naive, ours=ours)[how], folder)))
    else:
        main((SMALL, *(LARGE if "full" in sys.argv else ())))

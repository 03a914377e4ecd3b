"""From file names to CosGroups: ours against the loop, row by row, in plain Python.

python benchmarks/partition.py          1 million names both ways
python benchmarks/partition.py full     and 5.6 and 41.2 million names (SF-XL's training subset, and all of it), ours alone
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import child, peak_mb, resident_mb, save


def write_names(path: Path, n: int):
    "A list of n SF-XL-like names: panoramas every few metres on a map that grows with n, 12 headings each, in many years."
    r = np.random.default_rng(0)
    side = (n / 12 / 8) ** 0.5 * 10  # some eight panoramas for each 10 m
    with open(path, "w") as f:
        for i in range(0, n, 120_000):
            k = min(120_000, n - i)
            e, m = (550_000 + r.integers(0, int(side), -(-k // 12)) + r.random(-(-k // 12)) for _ in range(2))
            e, m, h = (
                np.repeat(e, 12)[:k],
                np.repeat(m + 3_630_000, 12)[:k],
                (np.tile(np.arange(12) * 30, -(-k // 12))[:k] + r.random(k) * 30) % 360,
            )
            f.writelines(
                f"37.7{i % 10}/@{a:010.2f}@{b:010.2f}@10@S@037.77493@-122.41942@uXnTTSQ-e3CRyPXRMTPPpA@{j % 12:02d}@{c:.2f}@@@@2014{j % 12 + 1:02d}@@.jpg\n"
                for j, (a, b, c) in enumerate(zip(e.tolist(), m.tolist(), h.tolist()))
            )


def naive(folder):
    "What one writes first: a list of names, a loop, dictionaries (M=10, alpha=30, N=5, L=2, classes of at least 10)."
    with open(f"{folder}_images_paths.txt") as f:
        names = f.read().splitlines()
    images = {}
    for name in names:
        f = name.split("@")
        east, north, heading = float(f[1]), float(f[2]), float(f[9])
        images.setdefault((int(east // 10), int(north // 10), int(heading % 360 // 30)), []).append(name)
    images = {k: v for k, v in images.items() if len(v) >= 10}
    groups = {}
    for k in images:
        groups.setdefault((k[0] % 5, k[1] % 5, k[2] % 2), []).append(k)
    return len(images), len(groups), sum(map(len, images.values()))


def ours(folder):
    from landmark_nb.data.partition import assign_folder

    p = assign_folder(folder)
    return len(p.cells), len(p.groups), int((p.class_of >= 0).sum())


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        how, folder = {"naive": naive, "ours": ours}[sys.argv[2]], sys.argv[3]
        if how is ours:
            ours(sys.argv[4])  # imports and compiles
        before = resident_mb()
        t = time.perf_counter()
        result = how(folder)
        t = time.perf_counter() - t
        print(
            json.dumps(
                dict(
                    seconds=round(t, 3),
                    extra_mb=round(peak_mb() - before),
                    peak_mb=round(peak_mb()),
                    result=result,
                )
            )
        )
        raise SystemExit
    out = {}
    with tempfile.TemporaryDirectory() as d:
        warm = Path(d) / "warm"
        warm.mkdir()
        write_names(Path(f"{warm}_images_paths.txt"), 1000)
        for n in (1_000_000, *((5_600_000, 41_200_000) if "full" in sys.argv else ())):
            folder = Path(d) / "train"
            folder.mkdir(exist_ok=True)
            write_names(Path(f"{folder}_images_paths.txt"), n)
            a = [child(__file__, "one", "ours", folder, warm) for _ in range(5 if n == 1_000_000 else 1)]
            row = dict(ours=sorted(a, key=lambda r: r["seconds"])[len(a) // 2])
            if n == 1_000_000:
                b = [child(__file__, "one", "naive", folder) for _ in range(3)]
                row["plain_python"] = sorted(b, key=lambda r: r["seconds"])[1]
                assert row["ours"]["result"] == row["plain_python"]["result"], row
                row["times_faster"] = round(row["plain_python"]["seconds"] / row["ours"]["seconds"], 1)
                row["share_of_memory"] = round(row["ours"]["extra_mb"] / row["plain_python"]["extra_mb"], 3)
            out[f"{n:,} names"] = row
    save(
        "partition",
        rows=out,
        note="extra_mb: peak resident memory above that of the process before it began; the plain loop and ours find the same classes, groups and images",
    )

"""Search: exact by blocks against faiss' indexes, out of core, on descriptors of a realistic spectrum.

Descriptors of 512 numbers, float16 in a memory-mapped file: clusters (things seen several times) in
directions whose variance falls as 1 / rank, as PCA of real descriptors shows. For each index: seconds to
build, milliseconds a query, the share of the true 100 nearest found, and memory beyond the queries.

python benchmarks/knn.py          50,000, 100,000 and 200,000 descriptors
python benchmarks/knn.py N...     so many
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import child, peak_mb, resident_mb, save

DIM, QUERIES, K = 512, 500, 100
VIEWS = 20  # of each thing
NOISE = 0.8  # of a view, in units of the things' spread

# index -> how hard it looks
KINDS = {
    "exact": {},
    "Flat": {},
    "SQfp16": {},
    "IVF1024,Flat": dict(nprobe=32),
    "HNSW32": dict(ef=200),
}


def queries_of(path) -> Path:
    "Where the queries of a file of descriptors stand."
    return Path(f"{path}.queries.npy")


def found_by(
    path,  # of the descriptors
    kind: str,  # of index
) -> Path:
    "Where the rows that an index found stand."
    return Path(f"{path}.{kind.replace(',', '-')}.npy")


def write_descriptors(
    path,
    n: int,
):
    """n descriptors of n / 20 things, each seen twenty times, and queries of as many things.

    The spectrum falls as 1 / rank."""
    r = np.random.default_rng(0)
    spread = (np.arange(1, DIM + 1) ** -0.5).astype(np.float32)
    things = r.normal(size=(n // VIEWS, DIM)).astype(np.float32) * spread

    def views(rows):
        seen = things[rows] + NOISE * r.normal(size=(len(rows), DIM)).astype(np.float32) * spread
        return seen / np.linalg.norm(seen, axis=1, keepdims=True)

    out = np.lib.format.open_memmap(path, "w+", np.float16, (n, DIM))
    for start in range(0, n, 20_000):
        rows = np.arange(start, min(start + 20_000, n)) % len(things)
        out[start : start + len(rows)] = views(rows)
    asked = r.permutation(len(things))[:QUERIES]
    np.save(queries_of(path), views(asked).astype(np.float32))


def search_exact(queries, database) -> tuple:  # ids [q, K], seconds to build, seconds to search
    from landmark_nb.search.knn import knn

    start = time.perf_counter()
    ranking = knn(queries, database, K)
    return ranking.ids, 0.0, time.perf_counter() - start


def search_index(queries, database, kind: str) -> tuple:  # ids [q, K], seconds to build, seconds to search
    import faiss

    from landmark_nb.search.knn import build_index

    start = time.perf_counter()
    index = build_index(database, kind)
    built = time.perf_counter()
    effort = KINDS[kind]
    if "nprobe" in effort:
        faiss.extract_index_ivf(index).nprobe = effort["nprobe"]
    if "ef" in effort:
        index.hnsw.efSearch = effort["ef"]
    asked = time.perf_counter()
    _, ids = index.search(queries, K)
    return ids, built - start, time.perf_counter() - asked


def measure_one(
    kind: str,
    path,  # of the descriptors
) -> dict:
    "What one index costs; in a process of its own. The rows that it found go to a file."
    from landmark_nb.search.knn import knn

    database = np.load(path, mmap_mode="r")
    queries = np.load(queries_of(path))
    knn(queries[:4], database[:200], 5, "exact" if kind == "exact" else "Flat")  # imports
    before = resident_mb()
    if kind == "exact":
        ids, build, search = search_exact(queries, database)
    else:
        ids, build, search = search_index(queries, database, kind)
    np.save(found_by(path, kind), ids)
    return dict(
        build_seconds=round(build, 1),
        ms_a_query=round(1000 * search / len(queries), 2),
        extra_mb=round(peak_mb() - before),
    )


def share_found(
    true: np.ndarray,  # int [q, K]
    found: np.ndarray,  # int [q, K]
) -> float:
    "The share of the true nearest among those that were found."
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(true, found)]))


def measure_all(
    n: int,  # descriptors
) -> dict:  # "n, index" -> what it costs and finds
    "All indexes on one set of descriptors."
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.npy"
        write_descriptors(path, n)
        for kind in KINDS:
            if kind == "HNSW32" and n > 100_000:
                continue  # its building takes the longest by far
            row = child(__file__, "one", kind, path)
            true, found = np.load(found_by(path, "exact")), np.load(found_by(path, kind))
            row["recall"] = round(share_found(true, found), 4)
            rows[f"{n:,}, {kind}"] = row
            print(f"{n:,} {kind}: {row}", file=sys.stderr)
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(measure_one(*sys.argv[2:4])))
    else:
        rows = {}
        for n in map(int, sys.argv[1:] or (50_000, 100_000, 200_000)):
            rows |= measure_all(n)
        save("knn", dim=DIM, queries=QUERIES, k=K, rows=rows)

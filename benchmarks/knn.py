"""Search: exact by blocks against faiss' indexes, out of core, on descriptors of a realistic spectrum.

Descriptors of 512 numbers, float16 in a memory-mapped file: clusters (things seen several times) in directions whose variance falls as 1 / rank,
as PCA of real descriptors shows. For each index: seconds to build, milliseconds a query, the share of the true 100 nearest found, and memory beyond the queries.
python benchmarks/knn.py          50,000, 100,000 and 200,000 descriptors
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import child, peak_mb, resident_mb, save

DIM, QUERIES, K = 512, 500, 100
KINDS = {"exact": {}, "Flat": {}, "SQfp16": {}, "IVF1024,Flat": dict(nprobe=32), "HNSW32": dict(ef=200)}


def write(path, n):
    "n descriptors of n / 20 things, each seen twenty times, and queries of as many things; the spectrum falls as 1 / rank."
    r = np.random.default_rng(0)
    scale = (np.arange(1, DIM + 1) ** -0.5).astype(np.float32)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    out = np.lib.format.open_memmap(path, "w+", np.float16, (n, DIM))
    things = r.normal(size=(n // 20, DIM)).astype(np.float32) * scale
    for i in range(0, n, 20_000):
        t = np.arange(i, min(i + 20_000, n)) % len(things)
        out[i : i + len(t)] = unit(things[t] + 0.8 * r.normal(size=(len(t), DIM)).astype(np.float32) * scale)
    q = unit(
        things[r.permutation(len(things))[:QUERIES]]
        + 0.8 * r.normal(size=(QUERIES, DIM)).astype(np.float32) * scale
    )
    np.save(f"{path}.queries.npy", q.astype(np.float32))


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        kind, path = sys.argv[2:4]
        from landmark_nb.search.knn import build_index, knn

        database, queries = np.load(path, mmap_mode="r"), np.load(f"{path}.queries.npy")
        knn(queries[:4], database[:200], 5, "exact" if kind == "exact" else "Flat")  # imports
        before, build = resident_mb(), 0.0
        if kind == "exact":
            t = time.perf_counter()
            r = knn(queries, database, K)
            search = time.perf_counter() - t
            ids = r.ids
        else:
            import faiss

            t = time.perf_counter()
            ix = build_index(database, kind)
            build = time.perf_counter() - t
            how = KINDS[kind]
            if "nprobe" in how:
                faiss.extract_index_ivf(ix).nprobe = how["nprobe"]
            if "ef" in how:
                ix.hnsw.efSearch = how["ef"]
            t = time.perf_counter()
            _, ids = ix.search(queries, K)
            search = time.perf_counter() - t
        np.save(f"{path}.{kind.replace(',', '-')}.npy", ids)
        print(
            json.dumps(
                dict(
                    build_seconds=round(build, 1),
                    ms_a_query=round(1000 * search / len(queries), 2),
                    extra_mb=round(peak_mb() - before),
                )
            )
        )
        raise SystemExit
    rows = {}
    for n in map(int, sys.argv[1:] or (50_000, 100_000, 200_000)):
        with tempfile.TemporaryDirectory() as d:
            path = Path(d) / "v.npy"
            write(path, n)
            for kind in KINDS:
                if kind == "HNSW32" and n > 100_000:
                    continue  # its building takes the longest by far
                rows[f"{n:,}, {kind}"] = child(__file__, "one", kind, path)
                true, got = np.load(f"{path}.exact.npy"), np.load(f"{path}.{kind.replace(',', '-')}.npy")
                rows[f"{n:,}, {kind}"]["recall"] = round(
                    float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(true, got)])), 4
                )
                print(f"{n:,} {kind}: {rows[f'{n:,}, {kind}']}", file=sys.stderr)
    save("knn", dim=DIM, queries=QUERIES, k=K, rows=rows)

"""The table of an index of photographs: LanceDB against faiss beside a Parquet file.

Descriptors as in knn.py, with places, days and labels, float16. For each way: seconds to write all of them,
and a thousand more; milliseconds a question (median and slowest of 50), among all, by lists (twenty of them,
and a quarter, which is `nearest`'s default), by a graph (HNSW), and among those within 500 m; the share of
the true 10 nearest that is found; bytes on the disk, memory. faiss keeps vectors alone: its columns are a
Parquet file, a filter a list of rows, and what is added is on the disk when the file has been written again.

python benchmarks/index.py          10,000 and 100,000 photographs
python benchmarks/index.py N...     so many; 1000000 takes some ten minutes and 6 GB of disk
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from common import child, peak_mb, save
from knn import DIM, queries_of, write_descriptors

ASKED, K = 50, 10
PLACE, METRES = (47.5, 15.5), 500.0
GRAPH = 100_000  # photographs up to which a graph is built; a million take over a quarter of an hour


def columns(n: int) -> pl.DataFrame:
    "What is known of n photographs: some 50 within the circle of a million."
    from landmark_nb.locate.table import FILE
    from landmark_nb.locate.where import where_table

    r = np.random.default_rng(1)
    side = 0.0006 * n**0.5
    ids = [f"{i:08d}.jpg" for i in range(n)]
    lat, lon = PLACE[0] + side * r.uniform(-1, 1, n), PLACE[1] + side * r.uniform(-1, 1, n)
    table = where_table(
        ids, lat=lat, lon=lon, date=["2024-05-17"] * n, label=[f"l{i % 100}" for i in range(n)]
    )
    return table.with_columns(pl.Series(name, np.arange(n), pl.Int64) for name in FILE)


def inside(rows: pl.DataFrame) -> np.ndarray:  # int64
    "Rows within the circle, by numpy."
    from landmark_nb.locate.table import EARTH

    lat, lon, la, lo = (np.radians(x) for x in (rows["lat"], rows["lon"], *PLACE))
    high = np.sin((lat - la) / 2) ** 2 + np.cos(la) * np.cos(lat) * np.sin((lon - lo) / 2) ** 2
    return np.flatnonzero(2 * EARTH * np.arcsin(np.sqrt(high)) <= METRES)


def truth(vectors, queries, rows=None) -> np.ndarray:  # int64 [q, K], -1 where there are fewer
    "The nearest, by the library's exact search."
    from landmark_nb.search.knn import knn

    rows = np.arange(len(vectors)) if rows is None else rows
    ids = knn(queries, vectors[rows], K).ids
    return np.where(ids >= 0, rows[ids], -1)


def timed(ask, queries) -> tuple[list, dict]:  # what each question found, milliseconds
    "Ask one after the other, as people do."
    found, times = [], []
    ask(queries[0])
    for q in queries:
        start = time.perf_counter()
        found.append(ask(q))
        times.append(1e3 * (time.perf_counter() - start))
    return found, dict(ms=round(float(np.median(times)), 1), slowest_ms=round(max(times), 1))


def share(found: list, right: np.ndarray) -> float:
    "Of the true nearest, how many were found."
    hits = [len(set(f) & set(r[r >= 0].tolist())) / max(1, (r >= 0).sum()) for f, r in zip(found, right)]
    return round(float(np.mean(hits)), 4)


def on_disk(folder: Path) -> int:
    "Megabytes."
    return round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6)


def lance(vectors, rows, queries, right, near, folder: Path) -> dict:
    "The table of `landmark_nb.locate`, and the graph that it does not use."
    from lancedb.index import HnswSq

    from landmark_nb.locate.table import VectorTable, add_rows, make_lists, nearest, tidy, within

    result, start = {}, time.perf_counter()
    table = VectorTable.create(folder, DIM)
    for i in range(0, len(rows), 10_000):
        add_rows(table, rows[i : i + 10_000], vectors[i : i + 10_000])
    tidy(table, exact=1 << 60)
    result["write_s"] = round(time.perf_counter() - start, 1)

    def ask(q, where="", lists=20):  # as many as faiss visits
        return nearest(table, q, K, where, lists)[0]["size"].to_list()

    def ask_graph(q):
        query = table.table.search(q).distance_type("dot").limit(K).nprobes(20).ef(300).refine_factor(10)
        return query.select(["size", "_distance"]).to_arrow()["size"].to_pylist()

    found, result["all"] = timed(ask, queries)
    result["all"]["recall"] = share(found, right)
    found, result["near"] = timed(lambda q: ask(q, within(*PLACE, METRES)), queries)
    result["near"]["recall"] = share(found, near)
    start = time.perf_counter()
    make_lists(table)
    result["lists_s"] = round(time.perf_counter() - start, 1)
    found, result["lists"] = timed(ask, queries)
    result["lists"]["recall"] = share(found, right)
    found, result["quarter"] = timed(lambda q: ask(q, lists=0), queries)
    result["quarter"]["recall"] = share(found, right)
    found, result["near_with_lists"] = timed(lambda q: ask(q, within(*PLACE, METRES)), queries)
    result["near_with_lists"]["recall"] = share(found, near)
    more = rows[:1000].with_columns(("more/" + pl.col("id")).alias("id"))
    start = time.perf_counter()
    add_rows(table, more, vectors[:1000])
    result["add_1000_s"] = round(time.perf_counter() - start, 3)
    result["disk_mb"] = on_disk(folder)
    if len(rows) > GRAPH:
        return result
    table.table.delete("starts_with(id, 'more/')")
    start = time.perf_counter()
    table.table.create_index("vector", config=HnswSq(distance_type="dot"), replace=True)
    result["graph_s"] = round(time.perf_counter() - start, 1)
    found, result["graph"] = timed(ask_graph, queries)
    result["graph"]["recall"] = share(found, right)
    return result


def beside_parquet(vectors, rows, queries, right, near, folder: Path) -> dict:
    "faiss, and a Parquet file for the columns."
    import faiss

    folder.mkdir()
    result, start = {}, time.perf_counter()
    flat = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    flat.train(np.asarray(vectors[:1000], np.float32))
    for i in range(0, len(rows), 10_000):
        flat.add(np.asarray(vectors[i : i + 10_000], np.float32))
    faiss.write_index(flat, str(folder / "flat.faiss"))
    rows.write_parquet(folder / "rows.parquet")
    result["write_s"] = round(time.perf_counter() - start, 1)

    def ask(q, index=flat, some=None, **how):
        if some is not None:
            how["sel"] = faiss.IDSelectorBatch(some)
        kind = faiss.SearchParametersIVF if how.get("nprobe") else faiss.SearchParameters
        return index.search(q[None], K, params=kind(**how) if how else None)[1][0].tolist()

    def ask_near(q, index=flat, **how):
        box = pl.scan_parquet(folder / "rows.parquet").select("lat", "lon").collect()
        return ask(q, index, inside(box), **how)

    found, result["all"] = timed(ask, queries)
    result["all"]["recall"] = share(found, right)
    found, result["near"] = timed(ask_near, queries)
    result["near"]["recall"] = share(found, near)
    start = time.perf_counter()
    lists = round(len(rows) ** 0.5)
    index = faiss.index_factory(DIM, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(np.asarray(vectors[: 40 * lists], np.float32))
    for i in range(0, len(rows), 10_000):
        index.add(np.asarray(vectors[i : i + 10_000], np.float32))
    result["lists_s"] = round(time.perf_counter() - start, 1)

    def ask_lists(q):
        candidates = index.search(q[None], 10 * K, params=faiss.SearchParametersIVF(nprobe=20))[1][0]
        candidates = candidates[candidates >= 0]
        scores = np.asarray(vectors[np.sort(candidates)], np.float32) @ q
        return np.sort(candidates)[np.argsort(-scores)[:K]].tolist()

    found, result["lists"] = timed(ask_lists, queries)
    result["lists"]["recall"] = share(found, right)
    found, result["near_with_lists"] = timed(lambda q: ask_near(q, index, nprobe=20), queries)
    result["near_with_lists"]["recall"] = share(found, near)
    start = time.perf_counter()
    flat.add(np.asarray(vectors[:1000], np.float32))
    faiss.write_index(flat, str(folder / "flat.faiss"))
    pl.concat([rows, rows[:1000]]).write_parquet(folder / "rows.parquet")
    result["add_1000_s"] = round(time.perf_counter() - start, 3)
    result["disk_mb"] = on_disk(folder)
    return result


WAYS = dict(lancedb=lance, faiss_and_parquet=beside_parquet)


def way(path: str, name: str) -> dict:
    "One way, in a process of its own."
    vectors = np.load(path, mmap_mode="r")
    queries, rows = np.load(queries_of(path))[:ASKED], columns(len(vectors))
    right, near = truth(vectors, queries), truth(vectors, queries, inside(rows))
    folder = Path(f"{path}.{name}")
    result = WAYS[name](vectors, rows, queries, right, near, folder)
    return result | dict(peak_mb=round(peak_mb()), near_photographs=len(inside(rows)))


def main(sizes: list[int]):
    "All ways at all sizes."
    result = {}
    for n in sizes:
        with tempfile.TemporaryDirectory() as tmp:
            path = Path(tmp) / "vectors.npy"
            write_descriptors(path, n)
            result[f"{n}"] = {name: child(__file__, "way", path, name) for name in WAYS}
            print(n, json.dumps(result[f"{n}"], indent=1), flush=True)
        save("index", dim=DIM, k=K, questions=ASKED, sizes=result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["way"]:
        print(json.dumps(way(*sys.argv[2:])))
    else:
        main([int(n) for n in sys.argv[1:]] or [10_000, 100_000])

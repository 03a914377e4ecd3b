"""Soft labels at the challenge's full size, against the direct form: a loop over (j, k) with whole tensors.

117,577 queries with 1,000 candidates each, an index of 761,757 with 3 classes each, the best 100 out.
python benchmarks/rerank.py [queries]
"""

import json
import sys
import time

import numpy as np
from common import child, peak_mb, resident_mb, save

QUERIES, CANDIDATES, INDEX, CLASSES, TOP = 117_577, 1000, 761_757, 81_313, 100


def rankings(queries: int, rng) -> tuple:
    "Ids and falling scores [queries, CANDIDATES], drawn by blocks."
    ids = np.empty((queries, CANDIDATES), np.int64)
    scores = np.empty((queries, CANDIDATES), np.float32)
    for i in range(0, queries, 4096):
        n = min(4096, queries - i)
        ids[i : i + n] = rng.integers(0, INDEX, (n, CANDIDATES))
        scores[i : i + n] = -np.sort(-rng.random((n, CANDIDATES), dtype=np.float32), 1)
    return ids, scores


def inputs(queries: int) -> tuple:
    "What `soft_labels` is given: ids, scores, classes and confidences of queries and index, both tables."
    rng = np.random.default_rng(0)
    classes = lambda n: np.minimum((CLASSES * rng.random((n, 3)) ** 3).astype(np.int32), CLASSES - 1)
    conf = lambda n: -np.sort(-rng.random((n, 3), dtype=np.float32), 1)
    ids, scores = rankings(queries, rng)
    qc, ic = classes(queries), classes(INDEX)
    some = ids[:, ::7][:, :40].ravel()  # as in a real ranking, many candidates are of the query's class
    ic[some, 0] = np.repeat(qc[:, 0], 40)
    boost = rng.random((3, 3)).astype(np.float32)
    penalty = (0.2 * rng.random((3, 3))).astype(np.float32)
    return ids, scores, qc, conf(queries), ic, conf(INDEX), boost, penalty


def ours(ids, scores, qc, qp, ic, ip, g, h) -> tuple:
    "Ids and scores of the best, by the library."
    from landmark_nb.core import Ranking
    from landmark_nb.search.rerank import soft_labels

    r = soft_labels(Ranking(ids, scores), qc, qp, ic, ip, g, h, TOP)
    return r.ids, r.scores


def direct(ids, scores, qc, qp, ic, ip, g, h) -> tuple:
    "Ids and scores of the best, by PyTorch, one pair of classes at a time."
    import torch

    ids, s, qc, qp, ic, ip = map(torch.from_numpy, (ids, scores.copy(), qc, qp, ic, ip))
    for k in range(3):
        c, p = ic[:, k][ids], ip[:, k][ids]
        for j in range(3):
            pq = p * qp[:, j, None]
            s += torch.where(c == qc[:, j, None], float(g[j, k]) * pq, float(-h[j, k]) * pq)
    s, order = s.topk(TOP, 1)
    return ids.gather(1, order).numpy(), s.numpy()


def measure(how: str, queries: int) -> dict:
    "Seconds, memory and a checksum of one way, in this process."
    import numba
    import torch

    function, data = {"ours": ours, "direct": direct}[how], inputs(queries)
    function(*(a[:64] if i < 4 else a for i, a in enumerate(data)))  # imports and compiles
    before = resident_mb()
    began = time.perf_counter()
    _, scores = function(*data)
    seconds = time.perf_counter() - began
    sums = [float(a.sum(dtype=np.float64)) for a in (scores, scores[:, 0])]
    threads = numba.get_num_threads() if how == "ours" else torch.get_num_threads()
    return dict(seconds=round(seconds, 2), extra_mb=round(peak_mb() - before), threads=threads, check=sums)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
        raise SystemExit
    n = int(sys.argv[1]) if len(sys.argv) > 1 else QUERIES
    a, b = child(__file__, "one", "ours", n), child(__file__, "one", "direct", n)
    assert np.allclose(a.pop("check"), b.pop("check"), rtol=1e-5), "both find the same"
    save(
        "rerank",
        queries=n,
        candidates=CANDIDATES,
        index=INDEX,
        top=TOP,
        ours=a,
        direct=b,
        times_faster=round(b["seconds"] / a["seconds"], 1),
    )

"""Soft labels at the challenge's full size, against the direct form: a loop over (j, k) with whole tensors in PyTorch.

117,577 queries with 1,000 candidates each, an index of 761,757 with 3 classes each, the best 100 out.
python benchmarks/rerank.py [queries]
"""

import json
import sys
import time

import numpy as np
from common import child, peak_mb, resident_mb, save

QUERIES, CANDIDATES, INDEX, CLASSES, TOP = 117_577, 1000, 761_757, 81_313, 100


def inputs(queries):
    r = np.random.default_rng(0)
    classes = lambda n: np.minimum((CLASSES * r.random((n, 3)) ** 3).astype(np.int32), CLASSES - 1)
    conf = lambda n: -np.sort(-r.random((n, 3), dtype=np.float32), 1)
    ids = np.empty((queries, CANDIDATES), np.int64)
    scores = np.empty((queries, CANDIDATES), np.float32)
    for i in range(0, queries, 4096):
        n = min(4096, queries - i)
        ids[i : i + n] = r.integers(0, INDEX, (n, CANDIDATES))
        scores[i : i + n] = -np.sort(-r.random((n, CANDIDATES), dtype=np.float32), 1)
    qc, ic = classes(queries), classes(INDEX)
    ic[ids[:, ::7][:, :40].ravel(), 0] = np.repeat(
        qc[:, 0], 40
    )  # as in a real ranking, many candidates are of the query's class
    return (
        ids,
        scores,
        qc,
        conf(queries),
        ic,
        conf(INDEX),
        r.random((3, 3)).astype(np.float32),
        (0.2 * r.random((3, 3))).astype(np.float32),
    )


def ours(ids, scores, qc, qp, ic, ip, g, h):
    from landmark_nb.core import Ranking
    from landmark_nb.search.rerank import soft_labels

    r = soft_labels(Ranking(ids, scores), qc, qp, ic, ip, g, h, TOP)
    return r.ids, r.scores


def direct(ids, scores, qc, qp, ic, ip, g, h):
    import torch

    t = torch.from_numpy
    ids, s, qc, qp, ic, ip = t(ids), t(scores).clone(), t(qc), t(qp), t(ic), t(ip)
    for k in range(3):
        c, p = ic[:, k][ids], ip[:, k][ids]
        for j in range(3):
            pq = p * qp[:, j, None]
            s += torch.where(c == qc[:, j, None], float(g[j, k]) * pq, float(-h[j, k]) * pq)
    s, order = s.topk(TOP, 1)
    return ids.gather(1, order).numpy(), s.numpy()


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        how, data = {"ours": ours, "direct": direct}[sys.argv[2]], inputs(int(sys.argv[3]))
        import numba
        import torch

        how(*(a[:64] if i < 4 else a for i, a in enumerate(data)))  # imports and compiles
        before = resident_mb()
        t = time.perf_counter()
        ids, s = how(*data)
        t = time.perf_counter() - t
        print(
            json.dumps(
                dict(
                    seconds=round(t, 2),
                    extra_mb=round(peak_mb() - before),
                    threads=numba.get_num_threads() if how is ours else torch.get_num_threads(),
                    check=[float(s.sum(dtype=np.float64)), float(s[:, 0].sum(dtype=np.float64))],
                )
            )
        )
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

"""Trials a second: soft labels' eighteen knobs on 1,000 queries with 1,000 candidates each, against scoring every trial with `soft_labels` and `mean_ap`.

The same search (Optuna's CMA-ES with the same seed) over the same problem; only how a trial is scored differs.
"""

import time

import numpy as np
from common import save

from landmark_nb.core import Ranking
from landmark_nb.search.metrics import mean_ap
from landmark_nb.search.tune import SoftLabelConfig, SoftLabels, tune

Q, CANDIDATES, INDEX, CLASSES = 1000, 1000, 50_000, 2000


def problem():
    r = np.random.default_rng(0)
    q, i = r.integers(0, CLASSES, Q), r.integers(0, CLASSES, INDEX)
    ids = np.empty((Q, CANDIDATES), np.int64)
    for row, t in zip(ids, q):
        own = np.flatnonzero(i == t)
        row[:] = np.concatenate([own, np.setdiff1d(r.permutation(INDEX)[: CANDIDATES + len(own)], own)])[
            :CANDIDATES
        ]
    sim = 0.15 * (i[ids] == q[:, None]) + 0.6 * r.random(ids.shape)
    order = np.argsort(-sim, 1)
    ids, sim = np.take_along_axis(ids, order, 1), np.take_along_axis(sim, order, 1)

    def predict(true):
        c = r.integers(0, CLASSES, (len(true), 3))
        c[:, 0] = np.where(r.random(len(true)) < 0.7, true, c[:, 0])
        return c, -np.sort(-r.random((len(true), 3)), 1)

    return SoftLabels(Ranking(ids, sim), *predict(q), *predict(i), [np.flatnonzero(i == t) for t in q])


class Slow:
    "The same problem, scored by the public functions."

    name, Config, metric = "soft_labels", SoftLabelConfig, "mAP@100"

    def __init__(self, p):
        self.p, self.right = (
            p,
            {
                q: set(p.ranking.ids[q][p.right[q]].tolist())
                | {-2 - x for x in range(int(p.n_rel[q] - p.right[q].sum()))}
                for q in range(len(p))
            },
        )

    def __len__(self):
        return len(self.p)

    def score(self, cfg, rows=None):
        got = self.p.apply(cfg).ids
        rows = range(len(self.p)) if rows is None else rows
        return mean_ap({int(q): got[q].tolist() for q in rows}, {int(q): self.right[int(q)] for q in rows})


if __name__ == "__main__":
    p = problem()
    slow = Slow(p)
    cfg = SoftLabelConfig(boost_1_1=0.3, penalty_1_1=0.1)
    assert abs(p.score(cfg) - slow.score(cfg)) < 1e-6

    def trials(problem, n):
        t = time.perf_counter()
        found = tune(problem, n, held_out=np.arange(Q) % 2 == 1)
        return n / (time.perf_counter() - t), found

    def full(problem, n):
        "All thousand queries: the search alone."
        from landmark_nb.search.tune import _search

        t = time.perf_counter()
        _search(
            problem, np.arange(Q), n, 0, problem.starts, list(SoftLabelConfig.__dataclass_fields__), False
        )
        return n / (time.perf_counter() - t)

    full(p, 20)
    ours, theirs = full(p, 300), full(slow, 30)
    t = time.perf_counter()
    [p.score(cfg) for _ in range(20)]
    one = (time.perf_counter() - t) / 20
    _, found = trials(p, 300)
    save(
        "tune",
        queries=Q,
        candidates=CANDIDATES,
        knobs=18,
        trials_a_second=round(ours, 1),
        public_functions_trials_a_second=round(theirs, 1),
        ratio=round(ours / theirs, 1),
        score_ms=round(1000 * one, 2),
        found=dict(
            off=round(found.base, 4),
            tuned=round(found.tuned, 4),
            off_held_out=round(found.base_held_out, 4),
            held_out=round(found.held_out, 4),
        ),
    )

"""Trials a second: soft labels' eighteen knobs on 1,000 queries with 1,000 candidates each.

Against scoring every trial with `soft_labels` and `mean_ap`. The same search (Optuna's CMA-ES with the same
seed) over the same problem; only how a trial is scored differs.
"""

import time
from dataclasses import fields

import numpy as np
from common import save

from landmark_nb.core import Ranking
from landmark_nb.search.metrics import mean_ap
from landmark_nb.search.tune import SoftLabelConfig, SoftLabels, search_knobs, tune

Q, CANDIDATES, INDEX, CLASSES = 1000, 1000, 50_000, 2000
KNOBS = [f.name for f in fields(SoftLabelConfig)]


def candidates_of(asked: np.ndarray, shown: np.ndarray, r) -> np.ndarray:  # int64 [Q, CANDIDATES]
    "For each query all photographs of its class, then others."
    ids = np.empty((Q, CANDIDATES), np.int64)
    for row, t in zip(ids, asked):
        own = np.flatnonzero(shown == t)
        others = np.setdiff1d(r.permutation(INDEX)[: CANDIDATES + len(own)], own)
        row[:] = np.concatenate([own, others])[:CANDIDATES]
    return ids


def predictions(true: np.ndarray, r) -> tuple:
    "Three classes each, the first right for seven of ten, and falling confidences."
    c = r.integers(0, CLASSES, (len(true), 3))
    c[:, 0] = np.where(r.random(len(true)) < 0.7, true, c[:, 0])
    return c, -np.sort(-r.random((len(true), 3)), 1)


def problem() -> SoftLabels:
    "A search that is somewhat right, and a head that is right more often."
    r = np.random.default_rng(0)
    asked, shown = r.integers(0, CLASSES, Q), r.integers(0, CLASSES, INDEX)
    ids = candidates_of(asked, shown, r)
    sim = 0.15 * (shown[ids] == asked[:, None]) + 0.6 * r.random(ids.shape)
    order = np.argsort(-sim, 1)
    ranking = Ranking(np.take_along_axis(ids, order, 1), np.take_along_axis(sim, order, 1))
    labels = *predictions(asked, r), *predictions(shown, r)
    return SoftLabels(ranking, *labels, [np.flatnonzero(shown == t) for t in asked])


class Slow:
    "The same problem, scored by the public functions."

    name, Config, metric = "soft_labels", SoftLabelConfig, "mAP@100"

    def __init__(self, p: SoftLabels):
        self.p, self.solution = p, {q: set(right.tolist()) for q, right in enumerate(p.positives)}

    def __len__(self):
        return len(self.p)

    def score(self, cfg, rows=None) -> float:
        "mAP@100 over some of the queries."
        found = self.p.apply(cfg).ids
        rows = range(len(self.p)) if rows is None else [int(q) for q in rows]
        return mean_ap({q: found[q].tolist() for q in rows}, {q: self.solution[q] for q in rows})


def trials_a_second(problem, starts: list, n: int) -> float:
    "Of a search over all queries."
    began = time.perf_counter()
    search_knobs(problem, np.arange(Q), n, 0, starts, KNOBS)
    return n / (time.perf_counter() - began)


def score_seconds(problem, cfg, n: int = 20) -> float:
    "Of one score, the mean of n."
    began = time.perf_counter()
    for _ in range(n):
        problem.score(cfg)
    return (time.perf_counter() - began) / n


if __name__ == "__main__":
    p = problem()
    slow, cfg = Slow(p), SoftLabelConfig(boost_1_1=0.3, penalty_1_1=0.1)
    assert abs(p.score(cfg) - slow.score(cfg)) < 1e-6
    trials_a_second(p, p.starts, 20)  # compiles
    ours, theirs = trials_a_second(p, p.starts, 300), trials_a_second(slow, p.starts, 30)
    one = score_seconds(p, cfg)
    found = tune(p, 300, held_out=np.arange(Q) % 2 == 1)
    save(
        "tune",
        queries=Q,
        candidates=CANDIDATES,
        knobs=len(KNOBS),
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

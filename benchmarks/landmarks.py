"Google Landmarks' lists and the challenge's metrics at full size: 4,132,914 rows, 117,577 queries. Against csv by Python's module, and against the challenge's own way of counting, a loop over predictions."

import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from common import save

from landmark_nb.core import rng
from landmark_nb.data.landmarks import classes_of, make_folds, read_list
from landmark_nb.search.metrics import gap, mean_ap

ROWS, CLASSES, CLEAN, QUERIES, INDEX = 4_132_914, 203_094, 1_580_470, 117_577, 761_757


def timed(f):
    t = time.perf_counter()
    r = f()
    return r, round(time.perf_counter() - t, 2)


def write_lists(root):
    r = rng(0)
    label = np.minimum((CLASSES * r.random(ROWS) ** 2.2).astype(int), CLASSES - 1)
    ids = [f"{i:016x}" for i in range(ROWS)]
    with open(root / "train.csv", "w") as f:
        f.write(
            "id,url,landmark_id\n"
            + "".join(f"{i},http://example.invalid/{i}.jpg,{l}\n" for i, l in zip(ids, label))
        )
    by = {}
    for i, l in zip(ids[:CLEAN], label):
        by.setdefault(l, []).append(i)
    with open(root / "train_clean.csv", "w") as f:
        f.write("landmark_id,images\n" + "".join(f"{l},{' '.join(v)}\n" for l, v in by.items()))


def by_csv_module(path):
    "What a script would do: a dict of lists."
    out = {}
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            out.setdefault(row["landmark_id"], []).append("/".join([*row["id"][:3], row["id"]]) + ".jpg")
    return out


def loop_map(predictions, solution, k=100):
    total = 0.0
    for q, right in solution.items():
        seen, good, ap = set(), 0, 0.0
        for i, x in enumerate(predictions.get(q, [])[:k]):
            if x not in seen:
                if x in right:
                    good += 1
                    ap += good / (i + 1)
                seen.add(x)
        total += ap / min(len(right), k) if right else 0.0
    return total / len(solution)


def loop_gap(predictions, solution):
    good, total = 0, 0.0
    for i, (q, (label, _)) in enumerate(
        sorted(predictions.items(), key=lambda kv: (-kv[1][1], kv[0], kv[1][0]))
    ):
        if label in solution[q]:
            good += 1
            total += good / (i + 1)
    return total / sum(bool(s) for s in solution.values())


def main():
    r, out = rng(1), {}
    with tempfile.TemporaryDirectory() as tmp:
        root = Path(tmp)
        write_lists(root)
        full, ours = timed(lambda: read_list(root, "full"))
        theirs_, theirs = timed(lambda: by_csv_module(root / "train.csv"))
        assert len(full) == ROWS and len(theirs_) == len(classes_of(full))
        del theirs_
        clean, t_clean = timed(lambda: read_list(root, "clean"))
        c2x, t_c2x = timed(lambda: read_list(root, "c2x"))
        _, t_folds = timed(lambda: make_folds(clean, root / "folds.csv"))
        out["lists"] = dict(
            rows=ROWS,
            full_seconds=ours,
            csv_module_seconds=theirs,
            ratio=round(theirs / ours, 2),
            clean_seconds=t_clean,
            c2x_seconds=t_c2x,
            folds_seconds=t_folds,
        )
    names, index = [f"{i:016x}" for i in range(QUERIES)], [f"{i:016x}" for i in range(INDEX)]
    solution = {q: {index[j] for j in r.integers(0, INDEX, r.integers(1, 60))} for q in names}
    predictions = {
        q: [
            *list(right)[: int(r.integers(0, len(right) + 1))],
            *(index[j] for j in r.integers(0, INDEX, 100)),
        ][:100]
        for q, right in solution.items()
    }
    for p in predictions.values():
        r.shuffle(p)
    a, ours = timed(lambda: mean_ap(predictions, solution))
    b, theirs = timed(lambda: loop_map(predictions, solution))
    assert abs(a - b) < 1e-9, (a, b)
    out["mean_ap"] = dict(queries=QUERIES, seconds=ours, loop_seconds=theirs, ratio=round(theirs / ours, 2))
    labels = [str(x) for x in r.integers(0, CLASSES, QUERIES)]
    solution = {q: ({l} if r.random() < 0.02 else set()) for q, l in zip(names, labels)}
    predictions = {
        q: (l if r.random() < 0.7 else "0", float(c))
        for q, l, c in zip(names, labels, r.random(QUERIES).round(4))
    }
    a, ours = timed(lambda: gap(predictions, solution))
    b, theirs = timed(lambda: loop_gap(predictions, solution))
    assert abs(a - b) < 1e-9, (a, b)
    out["gap"] = dict(queries=QUERIES, seconds=ours, loop_seconds=theirs, ratio=round(theirs / ours, 2))
    save("landmarks", **out)


if __name__ == "__main__":
    main()

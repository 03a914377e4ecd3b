"""Google Landmarks' lists and the challenge's metrics at full size: 4,132,914 rows, 117,577 queries.

Against csv by Python's module, and against the challenge's own way of counting, a loop over predictions.
"""

import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import save

from landmark_nb.core import rng
from landmark_nb.data.landmarks import classes_of, make_folds, read_list
from landmark_nb.search.metrics import gap, mean_ap

ROWS, CLASSES, CLEAN = 4_132_914, 203_094, 1_580_470  # of train.csv, its landmarks, rows of train_clean.csv
QUERIES, INDEX = 117_577, 761_757


def timed(f: Callable) -> tuple:  # what f returned, seconds
    "Call a function and say how long it took."
    began = time.perf_counter()
    result = f()
    return result, round(time.perf_counter() - began, 2)


def versus(ours: float, loop: float) -> dict:
    "Seconds of ours and of the loop, and how many times slower the loop was."
    return dict(seconds=ours, loop_seconds=loop, ratio=round(loop / ours, 2))


def write_lists(root: Path):
    "train.csv and train_clean.csv with as many rows as the real ones, few landmarks having most images."
    r = rng(0)
    label = np.minimum((CLASSES * r.random(ROWS) ** 2.2).astype(int), CLASSES - 1)
    ids = [f"{i:016x}" for i in range(ROWS)]
    with open(root / "train.csv", "w") as f:
        f.write("id,url,landmark_id\n")
        f.writelines(f"{i},http://example.invalid/{i}.jpg,{c}\n" for i, c in zip(ids, label))
    images = {}
    for i, c in zip(ids[:CLEAN], label):
        images.setdefault(c, []).append(i)
    with open(root / "train_clean.csv", "w") as f:
        f.write("landmark_id,images\n")
        f.writelines(f"{c},{' '.join(some)}\n" for c, some in images.items())


def by_csv_module(path: Path) -> dict[str, list[str]]:  # landmark -> paths
    "What a script would do: a dict of lists."
    out = {}
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            path = "/".join([*row["id"][:3], row["id"]]) + ".jpg"
            out.setdefault(row["landmark_id"], []).append(path)
    return out


def time_lists() -> dict:
    "Reading and dealing the lists."
    with tempfile.TemporaryDirectory() as tmp:
        root = Path(tmp)
        write_lists(root)
        full, full_seconds = timed(lambda: read_list(root, "full"))
        plain, csv_seconds = timed(lambda: by_csv_module(root / "train.csv"))
        assert len(full) == ROWS and len(plain) == len(classes_of(full))
        del plain
        clean, clean_seconds = timed(lambda: read_list(root, "clean"))
        _, c2x_seconds = timed(lambda: read_list(root, "c2x"))
        _, folds_seconds = timed(lambda: make_folds(clean, root / "folds.csv"))
    return dict(
        rows=ROWS,
        full_seconds=full_seconds,
        csv_module_seconds=csv_seconds,
        ratio=round(csv_seconds / full_seconds, 2),
        clean_seconds=clean_seconds,
        c2x_seconds=c2x_seconds,
        folds_seconds=folds_seconds,
    )


def loop_map(
    predictions: dict,  # query -> images, best first
    solution: dict,  # query -> set of right images
    k: int = 100,
) -> float:
    "mAP@k as the challenge's code counts it."
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


def time_map(r: np.random.Generator, names: list[str]) -> dict:
    "mAP of a hundred images a query, some of them right."
    index = [f"{i:016x}" for i in range(INDEX)]
    solution = {q: {index[j] for j in r.integers(0, INDEX, r.integers(1, 60))} for q in names}
    predictions = {}
    for q, right in solution.items():
        found = list(right)[: int(r.integers(0, len(right) + 1))]
        others = [index[j] for j in r.integers(0, INDEX, 100)]
        predictions[q] = [*found, *others][:100]
    for some in predictions.values():
        r.shuffle(some)
    a, ours = timed(lambda: mean_ap(predictions, solution))
    b, loop = timed(lambda: loop_map(predictions, solution))
    assert abs(a - b) < 1e-9, (a, b)
    return dict(queries=QUERIES) | versus(ours, loop)


def loop_gap(
    predictions: dict,  # query -> (landmark, confidence)
    solution: dict,  # query -> set of right landmarks
) -> float:
    "GAP as the challenge's code counts it."
    good, total = 0, 0.0
    best_first = sorted(predictions.items(), key=lambda p: (-p[1][1], p[0], p[1][0]))
    for i, (q, (label, _)) in enumerate(best_first):
        if label in solution[q]:
            good += 1
            total += good / (i + 1)
    return total / sum(bool(right) for right in solution.values())


def time_gap(r: np.random.Generator, names: list[str]) -> dict:
    "GAP of one answer a query, where two in a hundred queries show a landmark."
    labels = [str(x) for x in r.integers(0, CLASSES, QUERIES)]
    solution = {q: ({label} if r.random() < 0.02 else set()) for q, label in zip(names, labels)}
    confidence = r.random(QUERIES).round(4)
    predictions = {
        q: (label if r.random() < 0.7 else "0", float(c)) for q, label, c in zip(names, labels, confidence)
    }
    a, ours = timed(lambda: gap(predictions, solution))
    b, loop = timed(lambda: loop_gap(predictions, solution))
    assert abs(a - b) < 1e-9, (a, b)
    return dict(queries=QUERIES) | versus(ours, loop)


if __name__ == "__main__":
    r, names = rng(1), [f"{i:016x}" for i in range(QUERIES)]
    save("landmarks", lists=time_lists(), mean_ap=time_map(r, names), gap=time_gap(r, names))

"""What an index of photographs answers, and whether it is as sure as it says.

python benchmarks/locate.py        some twenty minutes on two cores

The collection is the test part of a drawn city (of a seed that no default was chosen on), described by the
default model, which is not trained for places. The questions are its 400 queries, a quarter of each
condition, and 150 of another city, which the collection does not know. How sure an index is, it measures on
its own photographs; here it is held to that by questions from other days. Once without points, once with ten
matches compared point by point (the default).
"""

import json
import tempfile
import time
from itertools import islice

import numpy as np
from common import save

from landmark_nb.data.drawn.city import WorldConfig, write_world
from landmark_nb.data.layouts.tables import to_degrees
from landmark_nb.data.places import read_place_sets
from landmark_nb.data.positives import PlaceSet
from landmark_nb.experiments import home
from landmark_nb.locate.index import PlaceIndex
from landmark_nb.locate.where import points
from landmark_nb.recipes.places.measure import rows_by_note
from landmark_nb.search.metrics import area_under_roc
from landmark_nb.search.significance import wilson

PIXELS, RADIUS, STRANGERS = 224, 25.0, 150
PRECISIONS = (0.8, 0.9, 0.95)


def drawn(seed: int) -> PlaceSet:
    "The test part of a city."
    parts = dict(train_blocks=1, val_blocks=1, test_blocks=2, rows=3, years=1, spacing=1000.0, val_queries=1)
    world = write_world(WorldConfig(seed=seed, size=PIXELS, **parts), home() / "worlds")
    return read_place_sets(world / "test")[0]


def places_of(photographs) -> np.ndarray:  # float64 [n, 3] metres in space
    "Where the photographs of a manifest were taken."
    east, north, zone = (photographs.column(name) for name in ("east", "north", "zone"))
    return points(*to_degrees(east, north, zone))


def off_by(answers: list, true: np.ndarray) -> np.ndarray:  # float64 [n] metres, inf where there is none
    "How far estimates lie from the truth."
    lat, lon = (np.array([getattr(a, name) for a in answers], float) for name in ("lat", "lon"))
    return np.nan_to_num(np.linalg.norm(points(lat, lon) - true, axis=1), nan=np.inf)


def share(hits: np.ndarray) -> str:
    "A share with its interval."
    if not len(hits):
        return "none"
    low, high = wilson(int(hits.sum()), len(hits))
    return f"{100 * hits.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def promise(precision: float, sure: np.ndarray, right: np.ndarray, strangers: int) -> dict:
    "What is claimed at a precision, and how much of it is right. The last ones asked are strangers."
    known = sure >= precision
    return dict(
        claimed=int(known.sum()),
        right=share(right[known]),
        strangers_claimed=int(known[len(known) - strangers :].sum()),
    )


def measure(index: PlaceIndex, asked: PlaceSet, others: list, verify: int) -> dict:
    "Ask all questions."
    index.calibrate(verify=verify, say=str)
    paths = [asked.queries.path(row) for row in range(len(asked.queries))]
    began = time.process_time()
    answers = list(index.locate_all([*paths, *others]))
    ms = 1000 * (time.process_time() - began) / len(answers)
    off = off_by(answers[: len(paths)], places_of(asked.queries))
    right = np.append(off <= RADIUS, np.zeros(len(others), bool))
    sure = np.array([a.confidence or 0.0 for a in answers])
    notes = rows_by_note(asked.queries.note).items()
    return dict(
        within=share(off <= RADIUS),
        by_condition={note: share(off[rows] <= RADIUS) for note, rows in notes},
        median_m=round(float(np.median(off[off <= RADIUS])), 1),
        auc=round(area_under_roc(sure, right), 3),
        claims={f"{p:g}": promise(p, sure, right, len(others)) for p in PRECISIONS},
        cpu_ms=round(ms, 1),
    )


def main():
    "One collection, asked twice."
    asked, others = drawn(1), drawn(2).queries
    strangers = list(islice(map(others.path, range(0, len(others), len(others) // STRANGERS)), STRANGERS))
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        index = PlaceIndex.build(
            asked.database.root, f"{folder}/index", verify=0, size=PIXELS, progress=False
        )
        built = (time.process_time() - began) / len(index)
        ways = {}
        for name, verify in (("descriptors", 0), ("points", 10)):
            ways[name] = measure(index, asked, strangers, verify)
            print(name, json.dumps(ways[name], indent=1), flush=True)
    counts = dict(photographs=len(asked.database), questions=len(asked.queries), strangers=len(strangers))
    save("locate", **counts, build_cpu_ms=round(1000 * built, 1), ways=ways)


if __name__ == "__main__":
    main()

"""Geometric verification: what it gains over the search alone, and what a photograph and a pair cost.

python benchmarks/geometry.py [FOLDER] [--matchers sift,xfeat,lightglue] [--sets PART] [--threads]

Results that are there already stay, so that it can be measured in pieces; --threads measures one thread
against two, for which the machine has to be idle.

Descriptors are those of EfficientNet-Lite0 with GeM, not trained for places. Sets: the test part of a drawn
city (of a seed that no default was chosen on) with photographs of 128 and of 320 pixels, and, where a FOLDER
with sf-toy/, corridor/ and ie-tower/ is given, real photographs. LightGlue is asked on the small ones alone.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, save
from evidence import TOY

from landmark_nb.config import pick
from landmark_nb.data.drawn.city import WorldConfig, write_world
from landmark_nb.data.layouts.folder import read_folder
from landmark_nb.data.places import positives_by_label, positives_from_csv, read_label_csv, read_place_sets
from landmark_nb.data.positives import PlaceSet
from landmark_nb.experiments import home
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.recipes.places.measure import rows_by_note
from landmark_nb.search.extract import extract
from landmark_nb.search.geometry import Verification, Verifier, count_inliers, verified_first
from landmark_nb.search.knn import knn
from landmark_nb.search.local_features import MATCHERS
from landmark_nb.search.metrics import first_hit
from landmark_nb.search.rerank import Geometry
from landmark_nb.search.significance import mean_interval, paired_test

SMALL = ("corridor", "sf-toy")  # sets that a matcher is asked on which takes a CPU minutes
PIXELS = {
    "drawn city, 128 px": 128,
    "drawn city, 320 px": 320,
    "sf-toy": 384,
    "corridor": 224,
    "ie-tower": 224,
}


def drawn(size: int) -> PlaceSet:
    "The test part of a city: 976 photographs, 400 queries, a quarter of each condition."
    parts = dict(
        seed=1, train_blocks=1, val_blocks=1, test_blocks=2, rows=3, years=1, spacing=1000.0, val_queries=1
    )
    world = write_world(WorldConfig(size=size, **parts), home() / "worlds")
    return read_place_sets(world / "test")[0]


def toy(folder: Path) -> PlaceSet:
    "Five street photographs against seventeen."
    database, queries = read_folder(folder / "database"), read_folder(folder / "queries")
    rows = {name: i for i, name in enumerate(database.ids)}
    return PlaceSet("sf-toy", database, queries, [np.array([rows[f"{TOY[q[:2]]}.jpg"]]) for q in queries.ids])


def corridor(folder: Path) -> PlaceSet:
    "A corridor that a robot saw twice."
    database, queries = read_folder(folder / "ref"), read_folder(folder / "query")
    return PlaceSet(
        "corridor", database, queries, positives_from_csv(folder / "ground_truth.csv", database, queries)
    )


def tower(folder: Path) -> PlaceSet:
    "Frames of the floors of a building, every fourth query; right is the same floor."
    parts = read_label_csv(folder / "dataset.csv")
    database, queries = parts["gallery"], parts["query"][::4]
    return PlaceSet("ie-tower", database, queries, positives_by_label(database, queries))


def sets(folder: Path | None) -> dict[str, Callable[[], PlaceSet]]:
    "What is measured on, each made when it is asked for."
    found = {f"drawn city, {size} px": partial(drawn, size) for size in (128, 320)}
    if folder:
        real = {"sf-toy": toy, "corridor": corridor, "ie-tower": tower}
        found |= {name: partial(read, folder / name) for name, read in real.items()}
    return found


def search(net: Embedder, place: PlaceSet, name: str):
    "The ranking of the frozen trunk; descriptors are kept."
    folder, pixels = home() / "runs/benchmark-geometry" / name.replace(" ", "-"), PIXELS[name]
    sides = dict(database=place.database, queries=place.queries)
    vectors = {part: extract(net, m, pixels, folder / part, progress=False) for part, m in sides.items()}
    return knn(vectors["queries"], vectors["database"], min(100, len(place.database)))


def descriptor_ms(net: Embedder, place: PlaceSet, name: str, photographs: int = 64) -> float:
    "CPU milliseconds that a descriptor takes, file included."
    part = place.database[np.arange(min(photographs, len(place.database)))]
    began = time.process_time()
    extract(net, part, PIXELS[name], progress=False)
    return round(1000 * (time.process_time() - began) / len(part), 1)


def gain(before: np.ndarray, after: np.ndarray) -> dict:
    "R@1 before and after with intervals, and the difference query by query."
    return dict(
        queries=len(before),
        before=mean_interval(before).text,
        after=mean_interval(after).text,
        gain=paired_test(after, before).text,
    )


def measure(place: PlaceSet, ranking, matcher: str) -> dict:
    "What verification makes of a ranking, by condition, too; CPU milliseconds of a photograph and a pair."
    settings = Geometry(matcher=pick(MATCHERS, matcher), mb=4000)
    verifier = Verifier(settings, say=str)
    began = time.process_time()
    paths = [place.queries.path(i) for i in range(len(place.queries))]
    paths += [place.database.path(i) for i in np.unique(ranking.ids[:, : settings.m])]
    features = [verifier.kept(path) for path in paths]
    looked = time.process_time()
    verifier.features = verifier.kept  # queries, too: what follows is pairs alone
    inliers = count_inliers(ranking, (place.queries, place.database), settings.m, verifier)
    compared = time.process_time()
    hit = lambda r: (first_hit(r.ids, place.positives) == 0).astype(float)
    before, after = hit(ranking), hit(verified_first(ranking, inliers, settings.least))
    right = np.array([np.isin(row[: settings.m], p) for row, p in zip(ranking.ids, place.positives)])
    notes = rows_by_note(place.queries.note).items()
    return dict(
        all=gain(before, after),
        by_note={note: gain(before[rows], after[rows]) for note, rows in notes},
        inliers={
            name: np.quantile(inliers[which], (0.5, 0.9, 0.99)).round(1).tolist()
            for name, which in (("right", right), ("wrong", ~right))
        },
        points=round(float(np.mean([len(f) for f in features])), 1),
        kilobytes=round(float(np.mean([f.nbytes for f in features])) / 1000, 1),
        photograph_ms=round(1000 * (looked - began) / len(paths), 1),
        pair_ms=round(1000 * (compared - looked) / inliers.size, 2),
    )


def threads(place: PlaceSet, ranking, queries: int = 60) -> dict:  # threads -> seconds
    "How long the first queries take with one thread and with two, features included."
    part, asked = ranking.top(20), place.queries[np.arange(queries)]
    part = type(part)(part.ids[:queries], part.scores[:queries])
    seconds = {}
    for count in (1, 2, 1, 2):
        began = time.perf_counter()
        count_inliers(part, (asked, place.database), 20, Verifier(Verification(), count))
        seconds[count] = min(seconds.get(count, np.inf), round(time.perf_counter() - began, 2))
    return seconds


def measured_before() -> dict:
    "What the file of results holds."
    file = RESULTS / "geometry.json"
    return json.loads(file.read_text()) if file.exists() else dict(rows={}, threads={})


def arguments() -> argparse.Namespace:
    "The command line."
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--matchers", default="sift", type=lambda text: text.split(","))
    parser.add_argument("--sets", default="", help="a part of a name, such as 128 or corridor")
    parser.add_argument("--threads", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked, kept = arguments(), measured_before()
    net = Embedder(ModelConfig("tf_efficientnet_lite0", "imagenet", 0, 0))
    for name, make_set in sets(asked.folder).items():
        if asked.sets not in name:
            continue
        place = make_set()
        ranking, row = search(net, place, name), kept["rows"].setdefault(name, {})
        row |= dict(database=len(place.database), descriptor_ms=descriptor_ms(net, place, name))
        for matcher in asked.matchers:
            if matcher != "lightglue" or name in SMALL:
                row[matcher] = measure(place, ranking, matcher)
        if asked.threads:
            kept["threads"][name] = threads(place, ranking)
    save("geometry", settings=str(Geometry()), rows=kept["rows"], threads=kept["threads"])

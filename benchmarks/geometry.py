"""Geometric verification: what it gains over the search alone, and what a photograph and a pair cost.

python benchmarks/geometry.py [FOLDER] [sift,xfeat,lightglue]

Descriptors are those of EfficientNet-Lite0 with GeM, not trained for places. Sets: the test part of a drawn city
with photographs of 128 and of 320 pixels, and, where a folder with sf-toy/, corridor/ and ie-tower/ is given,
real photographs. Matchers that are not installed are left out; LightGlue is asked on the small sets alone.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from common import save
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
    parts = dict(train_blocks=1, val_blocks=1, test_blocks=2, rows=3, years=1, spacing=1000.0, val_queries=1)
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
    "Frames of the floors of a building; right is the same floor."
    parts = read_label_csv(folder / "dataset.csv")
    database, queries = parts["gallery"], parts["query"]
    return PlaceSet("ie-tower", database, queries, positives_by_label(database, queries))


def sets(folder: Path | None) -> dict[str, PlaceSet]:
    "What is measured on."
    found = {f"drawn city, {size} px": drawn(size) for size in (128, 320)}
    if folder:
        found |= {"sf-toy": toy(folder / "sf-toy"), "corridor": corridor(folder / "corridor")}
        found["ie-tower"] = tower(folder / "ie-tower")
    return found


def search(net: Embedder, place: PlaceSet, pixels: int):
    "The ranking of the frozen trunk, and CPU milliseconds a photograph."
    began = time.process_time()
    database, queries = (extract(net, m, pixels, progress=False) for m in (place.database, place.queries))
    spent = 1000 * (time.process_time() - began) / (len(database) + len(queries))
    return knn(queries, database, min(100, len(database))), spent


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


def wanted(argv: list[str]) -> tuple[Path | None, list[str]]:
    "The folder of real photographs, and the matchers that are installed."
    folder = next((Path(word) for word in argv if Path(word).is_dir()), None)
    names = next((word.split(",") for word in argv if not Path(word).is_dir()), ["sift"])
    return folder, names


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, names = wanted(sys.argv[1:])
    net = Embedder(ModelConfig("tf_efficientnet_lite0", "imagenet", 0, 0))
    rows, seconds = {}, {}
    for name, place in sets(folder).items():
        ranking, described = search(net, place, PIXELS[name])
        rows[name] = dict(database=len(place.database), descriptor_ms=round(described, 1))
        for matcher in names:
            if matcher != "lightglue" or name in SMALL:
                rows[name][matcher] = measure(place, ranking, matcher)
                print(name, matcher, rows[name][matcher]["all"], flush=True)
        if name == "drawn city, 320 px":
            seconds = threads(place, ranking)
    save("geometry", settings=str(Geometry()), rows=rows, threads=seconds)

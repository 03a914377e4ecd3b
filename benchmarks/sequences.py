"""Sequences: how many frames of a drive are found by the search alone, and by following the camera.

python benchmarks/sequences.py [FOLDER]

A drive through the drawn city (of a seed that no default was chosen on), every five metres, by day, at night
and in rain, against photographs ten metres apart; and, where a folder with corridor/ in it is given, a
corridor that a robot saw twice, whose database has an order and no places. Descriptors are those of
EfficientNet-Lite0 with GeM, not trained for places. Frames that follow one another are not independent: the
intervals are too narrow.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from common import save
from geometry import corridor, gain

from landmark_nb.core import Ranking
from landmark_nb.data.drawn.city import City, Poses, WorldConfig, build_city, draw_views, drive
from landmark_nb.data.drawn.draw import CELL
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.search.extract import describe, extract
from landmark_nb.search.knn import knn
from landmark_nb.search.metrics import first_hit
from landmark_nb.search.sequences import Following, follow

PARTS = dict(train_blocks=1, val_blocks=1, test_blocks=2, rows=3, years=1)
CITY = WorldConfig(seed=1, size=128, **PARTS)
EVERY, RIGHT = 5.0, 25.0  # metres from frame to frame; metres within which a photograph is right
LANE = 1.8  # metres to the right of the middle of the street


def middles(pos: np.ndarray, width: np.ndarray, low: float, high: float) -> list[float]:
    "Where the streets of one direction are, metres."
    found = [(i + width[i] / 2) * CELL for i in np.flatnonzero(pos == 0)]
    return [m for m in found if low <= m < high]


def way(city: City) -> np.ndarray:  # float64 [frames, 3] metres east and north, degrees
    "Up the first street of the test part, along one across, down the last, and back along another."
    (west, east), (south, north) = city.bounds["test"], city.span
    up = middles(city.col_pos, city.col_w, west, east)
    across = middles(city.row_pos, city.row_w, south, north)
    corners = [(up[0], south + 3), (up[0], across[-1]), (up[-1], across[-1]), (up[-1], across[0])]
    corners.append((up[0], across[0]))
    legs = []
    for (x, y), (u, v) in zip(corners, corners[1:]):
        along = np.arange(0, np.hypot(u - x, v - y), EVERY)[:, None]
        toward = np.array([u - x, v - y]) / np.hypot(u - x, v - y)
        heading = np.full((len(along), 1), np.degrees(np.arctan2(*toward)) % 360)
        legs.append(np.hstack([np.array([x, y]) + along * toward, heading]))
    return np.concatenate(legs)


def frames(path: np.ndarray, note: str) -> Poses:
    "The views of a car on its way, in a year that no photograph of the database is from."
    rng, n = np.random.default_rng(1), len(path)
    turn = np.deg2rad(path[:, 2])
    east = path[:, 0] + LANE * np.cos(turn) + rng.uniform(-0.3, 0.3, n)
    north = path[:, 1] - LANE * np.sin(turn) + rng.uniform(-0.3, 0.3, n)
    heading = (path[:, 2] + rng.uniform(-4, 4, n)) % 360
    lens = (np.full(n, value) for value in (74.0, 1.5, 0.66))
    shot = 900_000_000 + np.arange(n)
    return Poses(east, north, heading, *lens, np.full(n, 1), shot, np.full(n, note, dtype="U12"))


def described(net: Embedder, poses: Poses, city: City) -> np.ndarray:  # float32 [n, d]
    "Descriptors of views, drawn as they are needed."
    parts = (draw_views(CITY, city, poses[i : i + 32]) for i in range(0, len(poses), 32))
    return np.concatenate([describe(net, torch.from_numpy(x).permute(0, 3, 1, 2)) for x in parts])


def ways(found: Ranking, n: int, places, step: float, queries, database) -> dict[str, Ranking]:
    "A ranking before and after, forwards alone and both ways, with and without descriptors."
    how = dict(forwards=Following(step=step, smooth=False), both=Following(step=step))
    own = {name: follow(found, n, places, s, queries, database) for name, s in how.items()}
    return own | {"both, from the ranking alone": follow(found, n, places, how["both"])}


def measure(found: Ranking, positives: list, n: int, places, step: float, queries, database) -> dict:
    "R@1 of each way, with intervals, and milliseconds a frame of the last."
    before = (first_hit(found.ids, positives) == 0).astype(float)
    began = time.process_time()
    rankings = ways(found, n, places, step, queries, database)
    spent = 1000 * (time.process_time() - began) / len(rankings) / len(found)
    after = {name: (first_hit(r.ids, positives) == 0).astype(float) for name, r in rankings.items()}
    return {name: gain(before, hits) for name, hits in after.items()} | dict(frame_ms=round(spent, 2))


def drawn(net: Embedder) -> dict:
    "The drive by day, at night and in rain."
    city = build_city(CITY)
    stops = drive(CITY, city, "test", 0, 10.0)
    places, database = np.stack([stops.east, stops.north], 1), described(net, stops, city)
    rows = {}
    for name, note in (("day", ""), ("night", "night"), ("rain", "rain")):
        poses = frames(way(city), note)
        queries = described(net, poses, city)
        away = np.linalg.norm(np.stack([poses.east, poses.north], 1)[:, None] - places, axis=2)
        positives = [np.flatnonzero(row <= RIGHT) for row in away]
        found = knn(queries, database, 20)
        rows[f"drawn drive, {name}"] = measure(found, positives, len(stops), places, 10.0, queries, database)
    return rows


def seen_twice(net: Embedder, folder: Path) -> dict:
    "The corridor, by the order of its photographs."
    place = corridor(folder)
    queries, database = (extract(net, m, 224, progress=False) for m in (place.queries, place.database))
    found = knn(queries, database, 20)
    return {"corridor": measure(found, place.positives, len(database), None, 2.0, queries, database)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    net = Embedder(ModelConfig("tf_efficientnet_lite0", "imagenet", 0, 0)).eval()
    rows = drawn(net)
    if sys.argv[1:]:
        rows |= seen_twice(net, Path(sys.argv[1]) / "corridor")
    save("sequences", settings=str(Following()), rows=rows)

"""What fewer numbers cost: R@1 on the drawn city's test queries, beside all numbers of the same model.

`make demo` first. The trunk as it comes (1,280 numbers) and the demo's CosPlace model (512), each shortened
by PCA of its training photographs, not whitened, half and wholly. Another run's folder may be named.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import save

from landmark_nb.core import rng
from landmark_nb.experiments import home  # which registers the recipes
from landmark_nb.export import SAMPLE, model_of, shorten, some_of
from landmark_nb.log import config_of
from landmark_nb.recipes.places.measure import describe_set
from landmark_nb.runs.recipe import recipe_of
from landmark_nb.search.extract import extract
from landmark_nb.search.knn import knn
from landmark_nb.search.metrics import first_hit
from landmark_nb.search.significance import mean_interval, paired_test

DIMS = (512, 256, 128, 64, 32)
POWERS = (0.0, 0.25, 0.5)
FEWER = (200, 500, 1000, 2000)  # photographs that 128 numbers are learned from, beside all of them


def hits(model, described: tuple, positives: list) -> np.ndarray:  # bool [q]
    "Which queries are right, of descriptors that the model's last step makes of long ones."
    queries, database = (model.shorter(torch.from_numpy(x)).numpy() for x in described)
    return first_hit(knn(queries, database, 1).ids, positives) == 0


def row(found: np.ndarray, whole: np.ndarray) -> dict:
    "A table's row: R@1 with its interval, and the difference to all numbers of the same queries."
    score = mean_interval(found)
    gain = paired_test(found, whole)
    interval = [round(100 * v, 1) for v in (score.low, score.high)]
    change = [round(100 * v, 1) for v in (gain.gain, gain.low, gain.high)]
    return dict(recall=round(100 * score.mean, 1), interval=interval, change=change)


def measure(model, photographs, place_set, size: int, store: str) -> dict:
    "R@1 by numbers and power."
    described = describe_set(model, place_set, size, store=store)
    learned = extract(model, photographs, size, path=f"{store}/train")
    whole = hits(model, described, place_set.positives)
    rows = {f"{model.dim}": row(whole, whole)}
    for dim in DIMS:
        for power in POWERS if dim < model.dim else ():
            short = shorten(model, np.array(learned), dim, power)
            rows[f"{dim}, power {power}"] = row(hits(short, described, place_set.positives), whole)
    for n in FEWER:
        short = shorten(model, learned[rng(0, n).permutation(len(learned))[:n]], 128)
        rows[f"128, from {n}"] = row(hits(short, described, place_set.positives), whole)
    return rows


run = Path(sys.argv[1]) if len(sys.argv) > 1 else home() / "runs/demo-cosplace"
recipe = recipe_of(config_of(run))
place_set, train = recipe.sets("test")[0], recipe.prepare(test=False).train
photographs, size = some_of(train, SAMPLE), recipe.data.image_size
models = {f"{recipe.model.trunk} as it comes": recipe.model.trunk, "trained (the demo's CosPlace)": str(run)}
rows = {}
for what, name in models.items():
    with tempfile.TemporaryDirectory() as store, torch.inference_mode():
        rows[what] = measure(model_of(name), photographs, place_set, size, store)
save("shorten", learned_from=len(photographs), queries=len(place_set.queries), rows=rows)

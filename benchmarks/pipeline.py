"""The whole training loop, from files to optimiser, against a plain implementation of the same.

Plain: each image decoded whole, resized, jittered and cropped by itself with torchvision in the loader, Adam without a fused kernel.
Equal in both: trunk, frozen stages, memory format, batch, image size, files, loader processes, threads.
"""

import statistics
import tempfile
import time

import torch
from common import save
from torch.utils.data import DataLoader
from train_step import BATCH, SETTINGS, make, plain_step, setting

from landmark_nb.core import rng
from landmark_nb.data.augment import augment
from landmark_nb.data.loaders import batches
from landmark_nb.train.loop import train_step

WORKERS = 1


def block(make_run, n=20, warm=6):
    "Images a second of a generator with a loader that runs ahead: timed as a block, alone."
    g = make_run()
    for _ in range(warm):
        next(g)
    a = time.perf_counter()
    for _ in range(n):
        next(g)
    rate = n * BATCH / (time.perf_counter() - a)
    g.close()
    return rate


if __name__ == "__main__":
    out = {}
    with tempfile.TemporaryDirectory() as d:
        for trunk, file, size in SETTINGS:
            ds, pl = setting(d, file, size)

            def ours():
                s, h = make(trunk, False)
                for b in batches(ds, ((0, t) for t in range(10**9)), WORKERS):
                    train_step(s, h, augment(b["images"], rng(0, b["step"])), b["labels"])
                    yield

            def plain():
                s, h = make(trunk, True)
                for x, y in DataLoader(pl, BATCH, num_workers=WORKERS, prefetch_factor=4):
                    plain_step(s, h, x, y)
                    yield

            pairs = [
                (block(ours), block(plain)) for _ in range(3)
            ]  # in turn, so that a noisy machine is noisy for both
            ours_rate, plain_rate = (statistics.median(p[i] for p in pairs) for i in (0, 1))
            out[f"{trunk}, files of {file} px, trained at {size} px"] = dict(
                ours=round(ours_rate, 1),
                plain=round(plain_rate, 1),
                ratio=round(statistics.median(a / b for a, b in pairs), 2),
            )
    save(
        "pipeline",
        unit=f"images a second, batch {BATCH}, {torch.get_num_threads()} threads, {WORKERS} loader process",
        rows=out,
    )

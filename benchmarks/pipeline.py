"""The whole training loop, from files to optimiser, against a plain implementation of the same.

Plain: each image decoded whole, resized, jittered and cropped by itself with torchvision in the loader, Adam
without a fused kernel.
Equal in both: trunk, frozen stages, memory format, batch, image size, files, loader processes, threads.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import torch
from common import save
from torch.utils.data import DataLoader
from train_step import BATCH, SETTINGS, make, plain_step, setting

from landmark_nb.core import rng
from landmark_nb.data.augment import augment
from landmark_nb.data.loaders import batches
from landmark_nb.train.state import train_step

WORKERS = 1
ROUNDS = 3  # of either, in turn, so that a noisy machine is noisy for both


def our_steps(trunk: str, dataset) -> Iterator:
    "Endless training steps by the library, from files."
    state, head = make(trunk, False)
    steps = ((0, t) for t in range(10**9))
    for b in batches(dataset, steps, WORKERS):
        yield train_step(state, head, augment(b["images"], rng(0, b["step"])), b["labels"])


def plain_steps(trunk: str, dataset) -> Iterator:
    "The same with torchvision and a plain loader."
    state, head = make(trunk, True)
    for images, labels in DataLoader(dataset, BATCH, num_workers=WORKERS, prefetch_factor=4):
        yield plain_step(state, head, images, labels)


def rate(
    begin: Callable,  # makes an endless iterator of steps
    n: int = 20,  # steps that are timed
    warm: int = 6,  # steps before them
) -> float:
    "Images a second. The loader runs ahead, so the steps are timed as a block, alone."
    steps = begin()
    for _ in range(warm):
        next(steps)
    start = time.perf_counter()
    for _ in range(n):
        next(steps)
    per_second = n * BATCH / (time.perf_counter() - start)
    steps.close()
    return per_second


def compare(trunk: str, dataset, plain_dataset) -> dict:
    "Medians of both rates, and of their ratio."
    ours, plain = [], []
    for _ in range(ROUNDS):
        ours.append(rate(lambda: our_steps(trunk, dataset)))
        plain.append(rate(lambda: plain_steps(trunk, plain_dataset)))
    return dict(
        ours=round(statistics.median(ours), 1),
        plain=round(statistics.median(plain), 1),
        ratio=round(statistics.median(a / b for a, b in zip(ours, plain)), 2),
    )


if __name__ == "__main__":
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for trunk, file, size in SETTINGS:
            name = f"{trunk}, files of {file} px, trained at {size} px"
            rows[name] = compare(trunk, *setting(folder, file, size))
    save(
        "pipeline",
        unit=f"images a second, batch {BATCH}, {torch.get_num_threads()} threads, {WORKERS} loader process",
        rows=rows,
    )

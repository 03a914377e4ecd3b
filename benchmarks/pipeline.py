"""The whole training loop, from files to optimiser, against a plain implementation of the same.

Plain: each image decoded whole, resized, jittered and cropped by itself with torchvision in the loader,
frozen batch norms computed, Adam without a fused kernel. Kept: ours once all photographs are in memory
(`cache_gb`), without a loader process.
Equal in both: trunk, frozen stages, memory format, batch, image size, files, loader processes, threads.
"""

import copy
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
from landmark_nb.data.loaders import StepBatches, batches
from landmark_nb.data.squares import Squares, fill
from landmark_nb.train.state import train_step

WORKERS = 1
ROUNDS = 3  # of either, in turn, so that a noisy machine is noisy for both


def our_steps(trunk: str, dataset, workers: int = WORKERS) -> Iterator:
    "Endless training steps by the library."
    state, head = make(trunk, False)
    steps = ((0, t) for t in range(10**9))
    for b in batches(dataset, steps, workers):
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


def in_memory(dataset: StepBatches) -> StepBatches:
    "The same with all photographs decoded."
    kept = copy.copy(dataset)
    kept.squares = Squares(dataset.open, len(dataset.ids), dataset.size)
    fill(kept.squares, 2)
    return kept


def compare(trunk: str, dataset: StepBatches, plain_dataset) -> dict:
    "Medians of the rates, and of their ratios to the plain one, with the ratios' range."
    kept_dataset, rates = in_memory(dataset), []
    for _ in range(ROUNDS):
        ours = rate(lambda: our_steps(trunk, dataset))
        plain = rate(lambda: plain_steps(trunk, plain_dataset))
        kept = rate(lambda: our_steps(trunk, kept_dataset, 0))
        rates.append((ours, plain, kept))
    ours, plain, kept = (statistics.median(r) for r in zip(*rates))
    ratios, of_kept = [a / b for a, b, _ in rates], [c / b for _, b, c in rates]
    return dict(
        ours=round(ours, 1),
        plain=round(plain, 1),
        ratio=round(statistics.median(ratios), 2),
        from_to=[round(min(ratios), 2), round(max(ratios), 2)],
        kept=round(kept, 1),
        kept_ratio=round(statistics.median(of_kept), 2),
        kept_from_to=[round(min(of_kept), 2), round(max(of_kept), 2)],
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

"""A training step against a plain implementation of the same: augmentation, forward, backward, two optimisers; no files.

Plain: each image jittered and cropped by itself with torchvision, Adam without a fused kernel.
Equal in both: trunk, frozen stages, memory format, batch, image size, threads. `pipeline.py` adds files and the loader.
"""

import itertools
import statistics
import tempfile
import time

import numpy as np
import torch
from common import save
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import v2 as T

from landmark_nb.core import rng
from landmark_nb.data.augment import augment
from landmark_nb.data.drawn import city as w
from landmark_nb.data.loaders import StepBatches
from landmark_nb.data.places import read_sfxl
from landmark_nb.data.samplers import group_images
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.models.trunk import offline_lite0
from landmark_nb.train.loop import OptimConfig, new_state, train_step

BATCH, CLASSES = 32, 200


class Plain(Dataset):
    def __init__(self, paths, size):
        self.paths = paths
        self.jitter = T.Compose(
            [
                T.PILToTensor(),
                T.ToDtype(torch.float32, scale=True),
                T.Resize((size, size), antialias=True),
                T.ColorJitter(0.7, 0.7, 0.7, 0.5),
                T.RandomResizedCrop((size, size), scale=(0.5, 1.0), antialias=True),
            ]
        )

    def __len__(self):
        return 10**9

    def __getitem__(self, i):
        return self.jitter(Image.open(self.paths[i % len(self.paths)]).convert("RGB")), i % CLASSES


def plain_step(state, head, images, labels):
    loss = head.module(state.model.train()(images.contiguous(memory_format=torch.channels_last)), labels)
    state.opt.zero_grad()
    head.opt.zero_grad()
    loss.backward()
    state.opt.step()
    head.opt.step()
    return loss


def make(trunk, plain):
    torch.manual_seed(0)
    s = new_state(
        Embedder(
            ModelConfig(
                trunk, "imagenet" if trunk == "tf_efficientnet_lite0" and offline_lite0() else "none", 512, 3
            )
        ),
        OptimConfig(),
    )
    h = s.head(0, CLASSES)
    if plain:
        s.opt = torch.optim.Adam([p for p in s.model.parameters() if p.requires_grad], 1e-5, foreach=False)
        h.opt = torch.optim.Adam(h.module.parameters(), 1e-2, foreach=False)
    return s, h


def rates(runs, n, warm=3):
    "Images a second of several endless generators, a step each in turn, so that a noisy machine is noisy for all."
    t = {k: [] for k in runs}
    for i in range(n + warm):
        for k, g in runs.items():
            a = time.perf_counter()
            next(g)
            b = time.perf_counter()
            if i >= warm:
                t[k].append(b - a)
    return {k: round(BATCH / statistics.median(v), 1) for k, v in t.items()}


def setting(d, file, size):
    "Photographs of one size on disk, for ours and for the plain loader."
    cfg = w.WorldConfig(
        size=file,
        train_blocks=1,
        val_blocks=1,
        test_blocks=1,
        rows=1,
        years=1,
        spacing=6,
        val_queries=4,
        test_queries=4,
    )
    m = read_sfxl(w.write_world(cfg, d, progress=False) / "train")
    images = {0: group_images(np.arange(len(m)) % CLASSES, np.arange(CLASSES))}
    return StepBatches(m.root, m.ids, images, size, BATCH), Plain([m.path(i) for i in range(len(m))], size)


SETTINGS = (
    ("tf_efficientnet_lite0", 128, 128),
    ("resnet18", 128, 128),
    ("tf_efficientnet_lite0", 512, 128),
)  # trunk, files' size, training's size

if __name__ == "__main__":
    out = {}
    with tempfile.TemporaryDirectory() as d:
        for trunk, file, size in SETTINGS[:2]:
            ds, pl = setting(d, file, size)
            raw = [ds[0, t] for t in range(6)]
            floats = [b["images"].float() / 255 for b in raw]
            one = T.Compose(pl.jitter.transforms[3:])

            def ours(s, h):
                for i in itertools.count():
                    b = raw[i % 6]
                    train_step(s, h, augment(b["images"], rng(0, i)), b["labels"])
                    yield

            def plain(s, h):
                for i in itertools.count():
                    plain_step(s, h, torch.stack([one(x) for x in floats[i % 6]]), raw[i % 6]["labels"])
                    yield

            r = rates(dict(ours=ours(*make(trunk, False)), plain=plain(*make(trunk, True))), 15)
            out[f"{trunk}, {size} px"] = dict(r, ratio=round(r["ours"] / r["plain"], 2))
    save("train_step", unit=f"images a second, batch {BATCH}, {torch.get_num_threads()} threads", rows=out)

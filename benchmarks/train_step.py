"""A training step against a plain implementation: augmentation, forward, backward, two optimisers.

Plain: each image jittered and cropped by itself with torchvision, frozen batch norms computed, Adam without a
fused kernel.
Equal in both: trunk, frozen stages, memory format, batch, image size, threads.
No files are read; `pipeline.py` adds files and the loader.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import torch
from common import save
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import v2 as T

from landmark_nb.core import rng
from landmark_nb.data.augment import augment
from landmark_nb.data.drawn.city import WorldConfig, write_world
from landmark_nb.data.layouts.sfxl import read_sfxl
from landmark_nb.data.loaders import StepBatches
from landmark_nb.data.samplers import group_images
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.models.fold import unfold
from landmark_nb.models.trunk import offline_lite0
from landmark_nb.train.state import Head, OptimConfig, State, new_state, train_step

BATCH, CLASSES = 32, 200
SETTINGS = (  # trunk, files' size, training's size
    ("tf_efficientnet_lite0", 128, 128),
    ("resnet18", 128, 128),
    ("tf_efficientnet_lite0", 512, 128),
)
WORLD = WorldConfig(
    train_blocks=1,
    val_blocks=1,
    test_blocks=1,
    rows=1,
    years=1,
    spacing=6,
    val_queries=4,
    test_queries=4,
)


class Plain(Dataset):
    "Photographs decoded whole and augmented one by one; endless, for all purposes."

    def __init__(
        self,
        paths: list[str],
        size: int,  # pixels of the square that images are resized to
    ):
        self.paths = paths
        self.read = T.Compose(
            [
                T.PILToTensor(),
                T.ToDtype(torch.float32, scale=True),
                T.Resize((size, size), antialias=True),
            ]
        )
        self.jitter = T.Compose(
            [
                T.ColorJitter(0.7, 0.7, 0.7, 0.5),
                T.RandomResizedCrop((size, size), scale=(0.5, 1.0), antialias=True),
            ]
        )

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = Image.open(self.paths[i % len(self.paths)]).convert("RGB")
        return self.jitter(self.read(image)), i % CLASSES


def setting(
    folder: str,  # where photographs are drawn
    file: int,  # pixels of their side
    size: int,  # pixels that a model is trained with
) -> tuple[StepBatches, Plain]:
    "Photographs of one size on disk, for ours and for the plain loader."
    cfg = WorldConfig(**vars(WORLD) | dict(size=file))
    m = read_sfxl(write_world(cfg, folder, progress=False) / "train")
    images = {0: group_images(np.arange(len(m)) % CLASSES, np.arange(CLASSES))}
    ours = StepBatches(m.root, m.ids, images, size, BATCH)
    return ours, Plain([m.path(i) for i in range(len(m))], size)


def make(
    trunk: str,
    plain: bool,  # batch norms by themselves, Adam without a fused kernel
) -> tuple[State, Head]:
    "A model and a head at their beginning."
    torch.manual_seed(0)
    pretrained = trunk == "tf_efficientnet_lite0" and offline_lite0()
    model = ModelConfig(trunk, "imagenet" if pretrained else "none", dim=512, freeze=3)
    state = new_state(Embedder(model), OptimConfig())
    head = state.head(0, np.ones(CLASSES, np.int64))  # CosFace asks for the number of classes alone
    if plain:
        unfold(state.model)
        trained = [p for p in state.model.parameters() if p.requires_grad]
        state.opt = torch.optim.Adam(trained, 1e-5, foreach=False)
        head.opt = torch.optim.Adam(head.module.parameters(), 1e-2, foreach=False)
    return state, head


def plain_step(
    state: State,
    head: Head,
    images: torch.Tensor,  # float32 [b, 3, h, w], augmented
    labels: torch.Tensor,  # int64 [b]
) -> torch.Tensor:  # the loss
    "A step as one writes it first."
    x = images.contiguous(memory_format=torch.channels_last)
    loss = head.module(state.model.train()(x), labels)
    state.opt.zero_grad()
    head.opt.zero_grad()
    loss.backward()
    state.opt.step()
    head.opt.step()
    return loss


def our_steps(trunk: str, batches: list[dict]) -> Iterator[None]:
    "Endless training steps by the library, on images that are in memory."
    state, head = make(trunk, False)
    for i in itertools.count():
        b = batches[i % len(batches)]
        train_step(state, head, augment(b["images"], rng(0, i)), b["labels"])
        yield


def plain_steps(trunk: str, batches: list[dict], jitter: T.Compose) -> Iterator[None]:
    "The same with torchvision, an image at a time."
    state, head = make(trunk, True)
    images = [b["images"].float() / 255 for b in batches]
    for i in itertools.count():
        x = torch.stack([jitter(image) for image in images[i % len(batches)]])
        plain_step(state, head, x, batches[i % len(batches)]["labels"])
        yield


def rates(
    runs: dict[str, Iterator],  # endless
    n: int,  # steps that are timed
    warm: int = 3,  # steps before them
) -> dict[str, float]:
    "Images a second of several runs, a step each in turn, so that a noisy machine is noisy for all."
    seconds = {name: [] for name in runs}
    for i in range(n + warm):
        for name, steps in runs.items():
            began = time.perf_counter()
            next(steps)
            if i >= warm:
                seconds[name].append(time.perf_counter() - began)
    return {name: round(BATCH / statistics.median(s), 1) for name, s in seconds.items()}


def main():
    "Compare for two trunks, and keep the result."
    rows = {}
    with tempfile.TemporaryDirectory() as d:
        for trunk, file, size in SETTINGS[:2]:  # the third differs in its files alone
            dataset, plain = setting(d, file, size)
            batches = [dataset[0, t] for t in range(6)]
            runs = dict(ours=our_steps(trunk, batches), plain=plain_steps(trunk, batches, plain.jitter))
            r = rates(runs, 15)
            rows[f"{trunk}, {size} px"] = r | dict(ratio=round(r["ours"] / r["plain"], 2))
    save("train_step", unit=f"images a second, batch {BATCH}, {torch.get_num_threads()} threads", rows=rows)


if __name__ == "__main__":
    main()

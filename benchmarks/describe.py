"""Describing a folder of photographs, against the same trunk run plainly.

Plain: each file decoded whole and resized by itself in one loader process, batch norms computed.
Equal in both: trunk, memory format, batch, image size, files, threads. Descriptors differ by no more than the
decoder's draft does (the smallest cosine is printed).
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import save
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2 as T
from train_step import WORLD

from landmark_nb.data.drawn.city import WorldConfig, write_world
from landmark_nb.data.layouts.sfxl import read_sfxl
from landmark_nb.data.manifest import Manifest
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.models.fold import unfold
from landmark_nb.models.trunk import offline_lite0
from landmark_nb.search.extract import extract

BATCH, PHOTOGRAPHS, ROUNDS = 32, 320, 3
SETTINGS = (  # trunk, files' size, descriptors' size
    ("tf_efficientnet_lite0", 224, 224),
    ("tf_efficientnet_lite0", 512, 224),
    ("resnet18", 512, 224),
    ("resnet50", 512, 224),
)


class Files(Dataset):
    "Photographs decoded whole and resized one by one."

    def __init__(self, paths: list[str], size: int):
        self.paths = paths
        self.read = T.Compose(
            [
                T.PILToTensor(),
                T.ToDtype(torch.float32, scale=True),
                T.Resize((size, size), antialias=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.read(Image.open(self.paths[i]).convert("RGB"))


def photographs(folder: str, file: int) -> Manifest:
    "Photographs of one size on disk."
    cfg = WorldConfig(**vars(WORLD) | dict(size=file))
    found = read_sfxl(write_world(cfg, folder, progress=False) / "train")
    return found[np.arange(min(PHOTOGRAPHS, len(found)))]


def net_of(trunk: str) -> Embedder:
    "A model in evaluation."
    torch.manual_seed(0)
    pretrained = trunk == "tf_efficientnet_lite0" and offline_lite0()
    weights = "imagenet" if pretrained else "none"
    return Embedder(ModelConfig(trunk, weights, dim=512)).to(memory_format=torch.channels_last)


def plainly(net: Embedder, files: Manifest, size: int) -> np.ndarray:  # float32 [n, dim]
    "As one writes it first."
    paths = [files.path(row) for row in range(len(files))]
    with torch.no_grad():
        batches = DataLoader(Files(paths, size), BATCH, num_workers=1)
        return torch.cat([net(x.contiguous(memory_format=torch.channels_last)) for x in batches]).numpy()


def timed(describe: Callable) -> tuple[float, np.ndarray]:
    "Photographs a second, and their descriptors."
    began = time.perf_counter()
    vectors = describe()
    return len(vectors) / (time.perf_counter() - began), vectors


def compare(trunk: str, files: Manifest, size: int) -> dict:
    "Both rates, in turn; of each the median, and of their ratio the median and the range."
    ours, plain = net_of(trunk), net_of(trunk)
    unfold(plain)
    rates = []
    for _ in range(ROUNDS):
        fast, a = timed(lambda: extract(ours, files, size, batch=BATCH, progress=False))
        slow, b = timed(lambda: plainly(plain, files, size))
        rates.append((fast, slow))
    ratios = [fast / slow for fast, slow in rates]
    return dict(
        ours=round(statistics.median(fast for fast, _ in rates), 1),
        plain=round(statistics.median(slow for _, slow in rates), 1),
        ratio=round(statistics.median(ratios), 2),
        from_to=[round(min(ratios), 2), round(max(ratios), 2)],
        smallest_cosine=round(float((a * b).sum(1).min()), 5),
    )


def main():
    "All settings."
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for trunk, file, size in SETTINGS:
            name = f"{trunk}, files of {file} px, described at {size} px"
            rows[name] = compare(trunk, photographs(str(Path(folder)), file), size)
            print(name, rows[name], flush=True)
    save("describe", unit=f"photographs a second, {torch.get_num_threads()} threads", rows=rows)


if __name__ == "__main__":
    main()

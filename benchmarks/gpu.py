"""On a machine with a GPU: does it come to what the CPU comes to, and how long does a step take?

Everything is made from drawn numbers but the weights of EfficientNet-Lite0, where its package is installed.
The loop: photographs kept on the GPU, augmented there, in the order of the sequential trainer; the bare step:
the same forward, backward and optimisers on one batch that is there already.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from common import save
from train_step import WORLD

from landmark_nb.config import from_flat
from landmark_nb.core import rng
from landmark_nb.data.augment import augment
from landmark_nb.data.drawn.city import WorldConfig, write_world
from landmark_nb.data.layouts.sfxl import read_sfxl
from landmark_nb.data.loaders import StepBatches
from landmark_nb.data.samplers import group_images
from landmark_nb.data.squares import Squares, move
from landmark_nb.models.aggregate import AGGREGATIONS, make_aggregation
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.models.losses import LOSSES, make_loss
from landmark_nb.models.trunk import offline_lite0
from landmark_nb.search.knn import Ranking, knn_exact
from landmark_nb.search.labels_soft import soft_labels
from landmark_nb.train.state import OptimConfig, new_state, train_step

CLASSES = 200  # of a head
SETTINGS = (  # trunk, batch, pixels, precision
    ("tf_efficientnet_lite0", 32, 128, "float32"),
    ("tf_efficientnet_lite0", 256, 128, "float32"),
    ("resnet18", 32, 224, "float32"),
    ("resnet18", 256, 224, "float32"),
    ("resnet18", 256, 224, "bfloat16"),
    ("resnet50", 128, 224, "bfloat16"),
)


def model_of(trunk: str) -> Embedder:
    "A model whose first three stages are frozen, as CosPlace's are."
    pretrained = trunk == "tf_efficientnet_lite0" and offline_lite0()
    torch.manual_seed(0)
    return Embedder(ModelConfig(trunk, "imagenet" if pretrained else "none", dim=512, freeze=3))


def state_on(device: str, trunk: str = "tf_efficientnet_lite0", precision: str = "float32") -> tuple:
    "A state and a head at their beginning."
    state = new_state(model_of(trunk), OptimConfig(lr=1e-4, precision=precision), device)
    return state, state.head(0, np.ones(CLASSES, np.int64))


def batch_on(device: str, batch: int = 32, pixels: int = 128, step: int = 0) -> tuple:
    "uint8 images and labels, the same on each device."
    r = np.random.default_rng(step)
    images = torch.from_numpy(r.integers(0, 256, (batch, 3, pixels, pixels), np.uint8))
    return images.to(device), torch.from_numpy(r.integers(0, CLASSES, batch)).to(device)


def apart(a, b) -> float:
    "The largest difference, as a share of the largest number."
    a, b = (torch.as_tensor(x).detach().double().cpu() for x in (a, b))
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))


# Checks: a number that is how far the GPU is from the CPU, as a share


def descriptors() -> float:
    "Of a batch."
    outs = []
    for device in ("cuda", "cpu"):
        images, _ = batch_on(device)
        with torch.no_grad():
            outs.append(model_of("tf_efficientnet_lite0").eval().to(device)(images.float() / 255))
    return apart(*outs)


def augmented() -> float:
    "The same random numbers, the same photographs."
    return apart(*(augment(batch_on(d)[0], rng(0, 1)) for d in ("cuda", "cpu")))


def losses_of_steps() -> float:
    "The losses of four training steps, fused Adam and the head's way to host memory and back among them."
    found = []
    for device in ("cuda", "cpu"):
        state, head = state_on(device)
        own = []
        for step in range(4):
            images, labels = batch_on(device, step=step)
            own.append(train_step(state, head, augment(images, rng(0, step)), labels))
            state.park(0)
            head = state.head(0, np.ones(CLASSES, np.int64))
        found.append(torch.stack([x.cpu() for x in own]))
    return apart(*found)


def aggregation(name: str) -> float:
    "Forward, and the gradients of map and token."
    found = []
    more = dict(mixvpr_side=20) if name == "mixvpr" else {}
    chosen = from_flat(ModelConfig("resnet18", "none", 0), dict(aggregation=name) | more).aggregation
    for device in ("cuda", "cpu"):
        torch.manual_seed(0)
        pool = make_aggregation(chosen, 64).eval()
        x = torch.randn(4, 64, 20, 20)
        token = torch.randn(4, 64)
        own = [t.to(device).requires_grad_() for t in (x, token)]
        y = pool.to(device)(*own)
        (y * torch.linspace(0, 1, y.shape[1], device=device)).sum().backward()
        found.append(torch.cat([y.flatten(), *(t.grad.flatten() for t in own if t.grad is not None)]))
    return apart(*found)


def loss(name: str) -> float:
    "A loss's value and the gradient of the descriptors."
    found = []
    counts = np.full(8, 10)
    chosen = from_flat(OptimConfig(), dict(loss=name)).loss
    for device in ("cuda", "cpu"):
        torch.manual_seed(0)
        x = torch.nn.functional.normalize(torch.randn(32, 64), dim=1)
        labels = torch.arange(32) // 4
        x = x.to(device).requires_grad_()
        value = make_loss(chosen, 64, counts, 0).to(device)(x, labels.to(device))
        value.backward()
        found.append(torch.cat([value.flatten(), x.grad.flatten()]))
    return apart(*found)


def exact_search() -> float:
    "The share of other neighbours."
    r = np.random.default_rng(0)
    q, d = (r.standard_normal((n, 256)).astype(np.float32) for n in (200, 20_000))
    return float((knn_exact(q, d, 100, device="cuda").ids != knn_exact(q, d, 100).ids).mean())


def soft() -> float:
    "The share of other candidates after the challenge's post-processing."
    r = np.random.default_rng(0)
    n, q, k = 5_000, 100, 200
    ids = np.stack([r.permutation(n)[:k] for _ in range(q)])
    scores = -np.sort(-r.random((q, k)).astype(np.float32), 1)
    given = [(r.integers(0, 50, (m, 3)), r.random((m, 3)).astype(np.float32)) for m in (q, n)]
    run = lambda device: soft_labels(Ranking(ids, scores), *given[0], *given[1], 0.5, 0.2, device=device).ids
    return float((run("cuda") != run("cpu")).mean())


def checks() -> Iterator[tuple[str, float]]:
    "Each check's name and how far apart."
    yield "descriptors", descriptors()
    yield "augmentation", augmented()
    yield "losses of four steps", losses_of_steps()
    for name in AGGREGATIONS:
        yield f"aggregation {name}", aggregation(name)
    for name in LOSSES:
        yield f"loss {name}", loss(name)
    yield "exact search", exact_search()
    yield "soft labels", soft()


# Measuring


def milliseconds(step: Callable[[], None], n: int = 60, warm: int = 20) -> float:
    "The median of some blocks of steps, each waited for."
    for _ in range(warm):
        step()
    blocks = []
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(n // 5):
            step()
        torch.cuda.synchronize()
        blocks.append((time.perf_counter() - began) / (n // 5))
    return 1000 * statistics.median(blocks)


def bare(trunk: str, batch: int, pixels: int, precision: str) -> float:
    "Milliseconds of a step on a batch that is there."
    state, head = state_on("cuda", trunk, precision)
    images, labels = batch_on("cuda", batch, pixels)
    images = images.float() / 255
    return milliseconds(lambda: train_step(state, head, images, labels))


def photographs_on_gpu(folder: str, batch: int, pixels: int) -> StepBatches:
    "Drawn photographs in the GPU's memory, as batches with one photograph of each class."
    drawn = write_world(WorldConfig(**vars(WORLD) | dict(size=128)), folder, progress=False)
    m = read_sfxl(drawn / "train")
    images = group_images(np.arange(len(m)), np.arange(len(m)))
    squares = Squares(m.path, len(m), pixels)
    if not move(squares, "cuda", threads=8):
        raise SystemExit("error: the GPU's memory has no room for the photographs")
    return StepBatches(m.root, m.ids, {0: images}, pixels, batch, squares=squares)


def loop(trunk: str, batch: int, pixels: int, precision: str, folder: str) -> float:
    "Milliseconds of a step with its batch gathered on the GPU, and augmented."
    state, head = state_on("cuda", trunk, precision)
    dataset, numbers = photographs_on_gpu(folder, batch, pixels), itertools.count()

    def step():
        b = dataset[0, next(numbers)]
        images = augment(b["images"], rng(0, b["step"]))
        train_step(state, head, images, b["labels"].to("cuda") % CLASSES)

    return milliseconds(step)


def measure(folder: str) -> dict:
    "Of each setting, both, and the share of the bare rate that the loop reaches."
    rows = {}
    for trunk, batch, pixels, precision in SETTINGS:
        name = f"{trunk}, batch {batch}, {pixels} px, {precision}"
        alone = bare(trunk, batch, pixels, precision)
        whole = loop(trunk, batch, pixels, precision, folder)
        rows[name] = dict(bare=round(alone, 2), loop=round(whole, 2), share=round(alone / whole, 2))
        print(name, rows[name], flush=True)
    return rows


def main():
    "Check, measure, keep."
    if not torch.cuda.is_available():
        raise SystemExit("error: PyTorch finds no GPU here; benchmarks/train_step.py measures on a CPU")
    torch.backends.cudnn.allow_tf32 = False  # the checks compare with float32; measured as PyTorch has it
    found = {}
    for name, value in checks():
        found[name] = float(f"{value:.2g}")
        print(f"{name}: {value:.2g}", flush=True)
    torch.backends.cudnn.allow_tf32 = True
    what = dict(card=torch.cuda.get_device_name(), torch=torch.__version__, apart=found)
    save("gpu", **what)
    with tempfile.TemporaryDirectory() as folder:
        save("gpu", **what, unit="milliseconds a step", rows=measure(folder))


if __name__ == "__main__":
    main()

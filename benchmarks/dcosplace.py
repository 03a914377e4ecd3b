"""D-CosPlace: rounds a second with one and two workers of one thread each, what the average costs beside the trunk's size,
and the same average by PyTorch's own PeriodicModelAverager.

The averager does less: weights alone, each tensor's `.data` rebound, no moments, no batch-norm statistics, no outer step.
So it is compared where both do the same thing: the mean of the weights over two workers.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from common import save

from landmark_nb.core import rng
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.train.dcosplace import DCosPlaceConfig, Flat, dcosplace, schedule_of, shared_tensors
from landmark_nb.train.loop import OptimConfig, new_state
from landmark_nb.train.workers import connected

GROUPS, CLASSES, J, ROUNDS, SIZE, BATCH = [0, 1, 2, 3], 100, 5, 4, 64, 16
TRUNKS = ("tf_efficientnet_lite0", "resnet18", "resnet50")


def median(f, n):
    f()
    t = []
    for _ in range(n):
        a = time.perf_counter()
        f()
        t.append(time.perf_counter() - a)
    return statistics.median(t)


def batch(g, t):
    r = rng(g, t)
    return dict(
        group=g,
        step=t,
        images=torch.from_numpy(r.integers(0, 255, (BATCH, 3, SIZE, SIZE), dtype=np.uint8)),
        labels=torch.from_numpy(r.integers(0, CLASSES, BATCH)),
        bad=[],
    )


def training(w):
    "Seconds of a round in a run of some rounds."
    state = new_state(Embedder(ModelConfig("tf_efficientnet_lite0", "none", 512, 3)), OptimConfig())
    cfg = DCosPlaceConfig(
        groups=len(GROUPS), batch_size=BATCH, steps=J * (ROUNDS + 1), iterations=1, local_steps=J
    )
    loader = (batch(*k) for k in schedule_of(w.mine(GROUPS), cfg))
    times, waits, began = [], [], time.perf_counter()
    for r in dcosplace(state, loader, GROUPS, dict.fromkeys(GROUPS, CLASSES), cfg, workers=w):
        now = time.perf_counter()
        times.append(now - began)
        waits.append(r.seconds)
        began, size = now, r.bytes
    return dict(seconds=statistics.median(times[1:]), waited=statistics.median(waits[1:]), bytes=size)


def averaging(w, trunk):
    "Seconds of one average of everything that is shared, in both types; of the weights alone, and by PyTorch's averager."
    from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager

    state = new_state(Embedder(ModelConfig(trunk, "none", 512, 0)), OptimConfig())
    weights, moments, stats, _ = shared_tensors(state)
    out = dict(weights=sum(p.numel() for p in weights))

    def average(tensors, kind):
        flat = Flat(tensors)
        total = torch.zeros(flat.n, dtype=kind)

        def one():
            flat.read()
            total.zero_()
            flat.add_to(total)
            w.sum_(total)
            flat.write((total / w.world).float())

        return median(one, 7)

    out["all, float64"], out["all, float32"] = (
        average([*weights, *moments, *stats], k) for k in (torch.float64, torch.float32)
    )
    out["weights alone, float32"] = average(list(weights), torch.float32)
    state.model.train()
    head = state.head(0, CLASSES)
    x = torch.rand(BATCH, 3, SIZE, SIZE)
    y = torch.randint(0, CLASSES, (BATCH,))
    from landmark_nb.train.loop import train_step

    train_step(state, head, x, y)  # it averages what has a gradient
    mean = PeriodicModelAverager(period=10**9)

    def theirs():
        mean.step = 0
        mean.average_parameters(list(state.model.parameters()))  # it averages on its first call

    out["weights alone, PeriodicModelAverager"] = median(theirs, 7)
    out["local step"] = median(lambda: train_step(state, head, x, y), 5)
    return out


def worker(what):
    with connected(threads=1) as w:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        r = training(w) if what == "training" else averaging(w, what)
        if w.first:
            print(json.dumps(r))


def start(world, what):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    env = os.environ | dict(
        WORLD_SIZE=str(world),
        LOCAL_WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
        OMP_NUM_THREADS="1",
    )
    ps = [
        subprocess.Popen(
            [sys.executable, __file__, what],
            env=env | dict(RANK=str(r), LOCAL_RANK=str(r)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for r in range(world)
    ]
    outs = [p.communicate()[0] for p in ps]
    if any(p.returncode for p in ps):
        raise SystemExit("a worker failed")
    return json.loads(outs[0].splitlines()[-1])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(sys.argv[1])
        sys.exit()
    runs = [
        {w: start(w, "training") for w in (1, 2)} for _ in range(3)
    ]  # in turn, so that a noisy machine is noisy for both
    one, two = (min((r[w] for r in runs), key=lambda r: r["seconds"]) for w in (1, 2))
    rounds = dict(
        groups=len(GROUPS),
        local_steps=J,
        batch=BATCH,
        size=SIZE,
        trunk="tf_efficientnet_lite0, 3 stages frozen",
        rounds_a_second={"1 worker": round(1 / one["seconds"], 3), "2 workers": round(1 / two["seconds"], 3)},
        efficiency=round(one["seconds"] / two["seconds"] / 2, 3),
        bytes_a_round=two["bytes"],
        share_of_time_in_all_reduce=round(two["waited"] / two["seconds"], 4),
    )
    average = {t: {k: v if k == "weights" else round(v, 4) for k, v in start(2, t).items()} for t in TRUNKS}
    for v in average.values():
        v["speed, PeriodicModelAverager = 1"] = round(
            v["weights alone, PeriodicModelAverager"] / v["weights alone, float32"], 2
        )
        v["share of a round of 10 local steps"] = round(
            v["all, float64"] / (v["all, float64"] + 10 * v["local step"]), 3
        )
    save("dcosplace", rounds=rounds, average=average)

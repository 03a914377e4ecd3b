"""D-CosPlace: rounds a second with one and two workers of one thread each, and what the average costs.

The average stands beside the trunk's size, and beside the same average by PyTorch's PeriodicModelAverager.
The averager does less: weights alone, each tensor's `.data` rebound, no moments, no batch-norm statistics, no
outer step. So it is compared where both do the same thing: the mean of the weights over two workers.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from common import save

from landmark_nb.core import rng
from landmark_nb.models.embed import Embedder, ModelConfig
from landmark_nb.train.dcosplace import DCosPlaceConfig, Flat, dcosplace, schedule_of, shared_tensors
from landmark_nb.train.state import Head, OptimConfig, State, new_state, train_step
from landmark_nb.train.workers import Workers, connected

GROUPS, J, ROUNDS, SIZE, BATCH = [0, 1, 2, 3], 5, 4, 64, 16
COUNTS = np.ones(100, np.int64)  # images of each class of a group
TRUNKS = ("tf_efficientnet_lite0", "resnet18", "resnet50")
RUNS = 3  # with one worker and with two, in turn, so that a noisy machine is noisy for both


def median(f: Callable, n: int) -> float:
    "Median seconds of a call."
    f()
    seconds = []
    for _ in range(n):
        began = time.perf_counter()
        f()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def fresh_state(trunk: str, freeze: int) -> State:
    "An untrained model with its optimiser."
    return new_state(Embedder(ModelConfig(trunk, "none", 512, freeze)), OptimConfig())


def batch(group: int, step: int) -> dict:
    "A batch of noise, as a loader gives it."
    r = rng(group, step)
    images = torch.from_numpy(r.integers(0, 255, (BATCH, 3, SIZE, SIZE), dtype=np.uint8))
    labels = torch.from_numpy(r.integers(0, len(COUNTS), BATCH))
    return dict(group=group, step=step, images=images, labels=labels, bad=[])


def training(workers: Workers) -> dict:
    "Seconds of a round, and of waiting in its all-reduce, in a run of some rounds."
    state = fresh_state("tf_efficientnet_lite0", 3)
    steps = J * (ROUNDS + 1)
    cfg = DCosPlaceConfig(groups=len(GROUPS), batch_size=BATCH, steps=steps, iterations=1, local_steps=J)
    loader = (batch(*key) for key in schedule_of(workers.mine(GROUPS), cfg))
    seconds, traffic, began = [], [], time.perf_counter()
    for done in dcosplace(state, loader, GROUPS, dict.fromkeys(GROUPS, COUNTS), cfg, workers=workers):
        now = time.perf_counter()
        seconds.append(now - began)
        traffic.append(done.traffic)
        began = now
    waited = statistics.median(t["waited"] for t in traffic[1:])
    return dict(seconds=statistics.median(seconds[1:]), waited=waited, bytes=traffic[-1]["bytes"])


def seconds_of_average(workers: Workers, tensors: list, kind: torch.dtype) -> float:
    "One average of some tensors over the workers, as a round takes it."
    flat = Flat(tensors)
    total = torch.zeros(flat.n, dtype=kind)

    def average():
        flat.read()
        total.zero_()
        flat.add_to(total)
        workers.sum_(total)
        flat.write((total / workers.world).float())

    return median(average, 7)


def seconds_of_averager(state: State) -> float:
    "The same of the weights by PyTorch's averager."
    from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager

    averager = PeriodicModelAverager(period=10**9)

    def average():
        averager.step = 0  # it averages on its first call
        averager.average_parameters(list(state.model.parameters()))

    return median(average, 7)


def noise(head: Head, state: State) -> Callable:
    "A training step on one batch of noise."
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(0, len(COUNTS), (BATCH,))
    return lambda: train_step(state, head, images, labels)


def averaging(workers: Workers, trunk: str) -> dict:
    "Seconds of an average: of all that is shared, in both types; of the weights alone, ours and PyTorch's."
    state = fresh_state(trunk, 0)
    shared = shared_tensors(state)
    everything = shared.averaged
    out = dict(weights=sum(p.numel() for p in shared.weights))
    for kind in (torch.float64, torch.float32):
        name = f"all, {str(kind).removeprefix('torch.')}"
        out[name] = seconds_of_average(workers, everything, kind)
    out["weights alone, float32"] = seconds_of_average(workers, list(shared.weights), torch.float32)
    state.model.train()
    step = noise(state.head(0, COUNTS), state)
    step()  # the averager takes what has a gradient
    out["weights alone, PeriodicModelAverager"] = seconds_of_averager(state)
    out["local step"] = median(step, 5)
    return out


def worker(what: str):
    "What each process does: training, or the average of a trunk."
    with connected(threads=1) as workers:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        result = training(workers) if what == "training" else averaging(workers, what)
        if workers.first:
            print(json.dumps(result))


def free_port() -> int:
    "A port of this machine that nothing listens on."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(world: int, what: str) -> dict:
    "Run `worker` in some processes; what the first one found."
    shared = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), OMP_NUM_THREADS="1")
    shared |= dict(WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world))
    processes = []
    for rank in range(world):
        env = os.environ | shared | dict(RANK=str(rank), LOCAL_RANK=str(rank))
        command = [sys.executable, __file__, what]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a worker failed")
    return json.loads(outputs[0].splitlines()[-1])


def rounds() -> dict:
    "Rounds a second with one worker and with two, and what two send and wait."
    runs = [{world: start(world, "training") for world in (1, 2)} for _ in range(RUNS)]
    one, two = (min((run[world] for run in runs), key=lambda r: r["seconds"]) for world in (1, 2))
    rates = {"1 worker": round(1 / one["seconds"], 3), "2 workers": round(1 / two["seconds"], 3)}
    return dict(
        groups=len(GROUPS),
        local_steps=J,
        batch=BATCH,
        size=SIZE,
        trunk="tf_efficientnet_lite0, 3 stages frozen",
        rounds_a_second=rates,
        efficiency=round(one["seconds"] / two["seconds"] / 2, 3),
        bytes_a_round=two["bytes"],
        share_of_time_in_all_reduce=round(two["waited"] / two["seconds"], 4),
    )


def average_of(trunk: str) -> dict:
    "What the average of a trunk costs, beside PyTorch's, and beside ten local steps."
    found = {name: v if name == "weights" else round(v, 4) for name, v in start(2, trunk).items()}
    theirs, ours = found["weights alone, PeriodicModelAverager"], found["weights alone, float32"]
    both = found["all, float64"] + 10 * found["local step"]
    found["speed, PeriodicModelAverager = 1"] = round(theirs / ours, 2)
    found["share of a round of 10 local steps"] = round(found["all, float64"] / both, 3)
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(sys.argv[1])
    else:
        save("dcosplace", rounds=rounds(), average={trunk: average_of(trunk) for trunk in TRUNKS})

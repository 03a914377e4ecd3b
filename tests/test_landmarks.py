"The landmark recipe with real processes: a head shared by class, workers that are killed, the command line."

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from lab import free_port
from landmark_workers import setup, shared_head
from processes import descendants, finish, good, steps, train

from landmark_nb.log import read_events
from landmark_nb.models.arcface import SubCenterArcFace

SETTINGS = dict(
    recipe="landmark",
    data="smoke",
    device="cpu",
    loader_workers=0,
    log_every=1,
    before=False,
    jpeg=60,
    stages="full:64:2 clean:48:3",
    optimizer="adam",
    lr=1e-3,
    threads=1,
)


def start(out, worlds, **settings):
    return train(SETTINGS | dict(out=str(out), worlds=str(worlds)) | settings)


def flat(state: dict) -> torch.Tensor:
    "A model's tensors as one vector."
    return torch.cat([v.flatten() for _, v in sorted(state.items())])


def weights(run) -> tuple:
    "Trunk and head at the end, whatever number of pieces the head is in."
    from safetensors.torch import load_file

    last = sorted((run / "checkpoints").iterdir())[-1]
    trunk = load_file(last / "trunk.safetensors")
    parts = [load_file(f)["w.centers"] for f in sorted(last.glob("group-*.safetensors"))]
    return flat({k: v for k, v in trunk.items() if k.startswith("w.")}), torch.cat(parts)


def weights_at_start(one) -> tuple:
    "What training began with: the same seed, no step."
    from landmark_nb.experiments import configure
    from landmark_nb.recipes.landmark.recipe import first_model

    c = configure(**SETTINGS | dict(out=str(one / "one"), worlds=str(one / "worlds")))
    model = first_model(c.model, c.start, c.run.seed)
    model.resize(48)
    head = SubCenterArcFace(model.dim, [1] * len(weights(one / "one")[1]))
    return flat(model.state_dict()), head.centers.detach()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    "A folder with a run of one worker, `one`, and with the drawn collection."
    d = tmp_path_factory.mktemp("landmark")
    good(start(d / "one", d / "worlds", workers=1))
    return d


def same_but_for_order(one, run) -> bool:
    "Whether a run ends where one worker does, but for the order of additions: a small part of its way."
    trunk, head = (
        float((a - b).norm() / (a - began).norm())
        for a, b, began in zip(weights(one / "one"), weights(run), weights_at_start(one))
    )
    return trunk < 2e-2 and head < 2e-2


def test_shared_head(tmp_path):
    torch.multiprocessing.spawn(shared_head, (free_port(), str(tmp_path)), 2)
    trunk, x, y, head = setup((0, 1))
    loss = head(trunk(x), y)
    loss.backward()
    got = [torch.load(tmp_path / f"{r}.pt", weights_only=True) for r in range(2)]
    for g in got:
        assert torch.allclose(g["loss"], loss.detach(), atol=1e-5)
        mean = "DDP's average is the gradient of the whole batch's mean"
        assert torch.allclose(g["trunk"], trunk.weight.grad, atol=1e-5), mean
    assert torch.allclose(torch.cat([g["centers"] for g in got]), head.centers.grad, atol=1e-5)
    assert torch.allclose(torch.cat([g["logits"] for g in got], 1), head.logits(trunk(x)), atol=1e-5)


def test_two_workers_end_where_one_does(one, tmp_path):
    two = tmp_path / "two"
    good(start(two, one / "worlds", workers=2, folds=one / "folds-smoke.csv"))
    assert len(list(two.glob("head-*-of-002.safetensors"))) == 2
    assert weights(one / "one")[1].shape == weights(two)[1].shape
    assert same_but_for_order(one, two)
    first, second = (read_events(run, "test")[0]["scores"] for run in (one / "one", two))
    assert all(abs(first[k] - second[k]) < 0.08 for k in first), (first, second)


def test_a_worker_and_then_the_launcher_are_killed(one, tmp_path):
    run, how = tmp_path / "run", dict(folds=one / "folds-smoke.csv", checkpoint_minutes=0.0)
    p = start(run, one / "worlds", workers=2, **how)

    def wait_for_steps(wanted: int):
        while steps(run) < wanted:
            assert p.poll() is None, finish(p)[2][-3000:]
            time.sleep(0.02)

    def is_worker(pid: int) -> bool:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"forkserver" in line or b"spawn" in line

    wait_for_steps(3)
    os.kill(max(filter(is_worker, descendants(p.pid))), signal.SIGKILL)  # the others start again with it
    wait_for_steps(steps(run) + 4)
    p.kill()
    finish(p)  # the launcher
    good(start(run, one / "worlds", workers=1, **how))  # the same command, with one worker
    assert same_but_for_order(one, run)
    done = [e["step"] for e in read_events(run, "step")]
    assert done == sorted(set(done)), "no step is logged twice"


def test_two_machines(one, tmp_path):
    meet = dict(nodes=2, rendezvous=f"127.0.0.1:{free_port()}", join_minutes=2)
    more = dict(workers=1, folds=one / "folds-smoke.csv")
    machines = [start(tmp_path / "run", one / "worlds", **meet, **more) for _ in range(2)]
    for machine in machines:
        good(machine)
    assert same_but_for_order(one, tmp_path / "run")
    assert (tmp_path / "run/report.html").exists()


def test_wrong_starts(one, tmp_path):
    for settings, says in (
        (dict(batch_size=9, workers=2), "cannot share it evenly"),
        (dict(stages="clean:48"), "stage 1"),
        (dict(data=tmp_path, trunk="test_vit", weights="none"), "train_clean.csv"),
    ):
        code, _, err = finish(start(tmp_path / "x", one / "worlds", **settings))
        assert code != 0 and says in err, err[-2000:]
    assert not (tmp_path / "x" / "checkpoints").exists()

"The landmark recipe with real processes: a head shared by class, workers that are killed, the command line."

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from landmark_workers import setup, shared_head
from test_dcosplace import ENV, descendants, finish, steps

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
    p = SETTINGS | dict(out=str(out), worlds=str(worlds)) | settings
    return subprocess.Popen(
        [sys.executable, "-m", "landmark_nb.train", *(x for k, v in p.items() for x in ("-p", k, str(v)))],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def good(p):
    code, out, err = finish(p)
    assert code == 0, err[-4000:]


def weights(run):
    "Trunk and head at the end, whatever number of pieces the head is in."
    from safetensors.torch import load_file

    last = sorted((run / "checkpoints").iterdir())[-1]
    trunk = load_file(last / "trunk.safetensors")
    head = torch.cat([load_file(f)["w.centers"] for f in sorted(last.glob("group-*.safetensors"))])
    return torch.cat([v.flatten() for k, v in sorted(trunk.items()) if k.startswith("w.")]), head


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    d = tmp_path_factory.mktemp("landmark")
    good(start(d / "one", d / "worlds", workers=1))
    return d


def near(a, b, moved):
    "Equal but for the order of additions: a small part of the way that training went."
    return float((a - b).norm() / moved) < 2e-2


def test_shared_head(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(shared_head, (port, str(tmp_path)), 2)
    trunk, x, y, head = setup((0, 1))
    loss = head(trunk(x), y)
    loss.backward()
    got = [torch.load(tmp_path / f"{r}.pt", weights_only=True) for r in range(2)]
    for g in got:
        assert torch.allclose(g["loss"], loss.detach(), atol=1e-5)
        assert torch.allclose(g["trunk"], trunk.weight.grad, atol=1e-5), (
            "DDP's average is the gradient of the whole batch's mean"
        )
    assert torch.allclose(torch.cat([g["centers"] for g in got]), head.centers.grad, atol=1e-5)
    assert torch.allclose(torch.cat([g["logits"] for g in got], 1), head.logits(trunk(x)), atol=1e-5)


def test_two_workers_end_where_one_does(one, tmp_path):
    good(start(tmp_path / "two", one / "worlds", workers=2, folds=one / "folds-smoke.csv"))
    (t1, h1), (t2, h2) = weights(one / "one"), weights(tmp_path / "two")
    assert len(list((tmp_path / "two").glob("head-*-of-002.safetensors"))) == 2 and h1.shape == h2.shape
    start_t, start_h = weights_at_start(one)
    assert near(t1, t2, (t1 - start_t).norm()) and near(h1, h2, (h1 - start_h).norm())
    scores = [
        [e for e in map(json.loads, (f / "metrics.jsonl").read_text().splitlines()) if e["kind"] == "test"][
            0
        ]["scores"]
        for f in (one / "one", tmp_path / "two")
    ]
    assert all(abs(scores[0][k] - scores[1][k]) < 0.08 for k in scores[0]), scores


def weights_at_start(one):
    "What training began with: the same seed, no step."
    from landmark_nb.challenge import first_model
    from landmark_nb.experiments import configure

    m = first_model(configure(**SETTINGS | dict(out=str(one / "one"), worlds=str(one / "worlds"))))
    m.resize(48)
    head = SubCenterArcFace(m.dim, [1] * len(weights(one / "one")[1]))
    return torch.cat([v.flatten() for _, v in sorted(m.state_dict().items())]), head.centers.detach()


def test_a_worker_and_then_the_launcher_are_killed(one, tmp_path):
    run, how = tmp_path / "run", dict(folds=one / "folds-smoke.csv", checkpoint_minutes=0.0)
    p = start(run, one / "worlds", workers=2, **how)
    while steps(run) < 3:
        assert p.poll() is None, finish(p)[2][-3000:]
        time.sleep(0.02)
    named = lambda pid: Path(f"/proc/{pid}/cmdline").read_bytes()
    workers = [w for w in descendants(p.pid) if b"forkserver" in named(w) or b"spawn" in named(w)]
    os.kill(max(workers), signal.SIGKILL)  # a worker: the others are started again with it
    reached = steps(run)
    while steps(run) < reached + 4:
        assert p.poll() is None, finish(p)[2][-3000:]
        time.sleep(0.02)
    p.kill()
    finish(p)  # the launcher
    good(start(run, one / "worlds", workers=1, **how))  # the same command, with one worker
    (t1, h1), (t2, h2) = weights(one / "one"), weights(run)
    start_t, start_h = weights_at_start(one)
    assert near(t1, t2, (t1 - start_t).norm()) and near(h1, h2, (h1 - start_h).norm())
    done = [
        json.loads(line)["step"]
        for line in (run / "metrics.jsonl").read_text().splitlines()
        if '"kind": "step"' in line
    ]
    assert done == sorted(set(done)), "no step is logged twice"


def test_two_machines(one, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    ps = [
        start(
            tmp_path / "run",
            one / "worlds",
            workers=1,
            nodes=2,
            rendezvous=f"127.0.0.1:{port}",
            join_minutes=2,
            folds=one / "folds-smoke.csv",
        )
        for _ in range(2)
    ]
    for p in ps:
        good(p)
    (t1, h1), (t2, h2) = weights(one / "one"), weights(tmp_path / "run")
    start_t, start_h = weights_at_start(one)
    assert (
        near(t1, t2, (t1 - start_t).norm())
        and near(h1, h2, (h1 - start_h).norm())
        and (tmp_path / "run/report.html").exists()
    )


def test_wrong_starts(one, tmp_path):
    for settings, says in (
        (dict(batch_size=9, workers=2), "cannot share it evenly"),
        (dict(stages="clean:48"), "stage 1"),
        (dict(data=tmp_path, trunk="test_vit", weights="none"), "train_clean.csv"),
    ):
        code, _, err = finish(start(tmp_path / "x", one / "worlds", **settings))
        assert code != 0 and says in err, err[-2000:]
    assert not (tmp_path / "x" / "checkpoints").exists()

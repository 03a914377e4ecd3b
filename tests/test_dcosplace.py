"D-CosPlace with real processes: workers and launchers that are killed, two machines, shards, and what is refused."

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kill_workers import SETTINGS, final, same

ENV = os.environ | dict(
    OMP_NUM_THREADS="1",
    PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
)


def command(out, worlds, **settings):
    p = SETTINGS | dict(out=str(out), worlds=str(worlds)) | settings
    return [sys.executable, "-m", "landmark_nb.train", *(x for k, v in p.items() for x in ("-p", k, str(v)))]


def start(*args, **settings):
    return subprocess.Popen(
        command(*args, **settings), env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(p, seconds=240):
    try:
        out, err = p.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        p.kill()
        raise
    return p.returncode, out, err


def good(p):
    code, out, err = finish(p)
    assert code == 0, err[-4000:]


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory):
    "The run that all others are compared with: one worker, undisturbed."
    d = tmp_path_factory.mktemp("one")
    good(start(d / "run", d / "worlds", workers=1))
    return d / "worlds", final(d / "run"), d / "run"


def test_twenty_killed_workers(one_worker, tmp_path):
    (tmp_path / "worlds").symlink_to(one_worker[0])
    p = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "kill_workers.py"), str(tmp_path), "20"],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    code, out, err = finish(p, 900)
    assert code == 0, err[-4000:]
    runs = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(runs) == 20 and all(r["same"] for r in runs), runs
    assert sum(r["killed"] for r in runs) >= 15, "a delayed kill may come after the end; most must not"
    assert {r["phase"] for r in runs if r["killed"]} == {"local steps", "average", "checkpoint"}
    assert same(final(tmp_path / "undisturbed"), one_worker[1]), "two workers end as one does"
    print("\n".join(map(str, runs)))


def descendants(pid):
    "Process ids below a process."
    below = {}
    for f in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = f.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append(int(f.parent.name))
    out, todo = [], [pid]
    while todo:
        todo += (new := below.get(todo.pop(), []))
        out += new
    return out


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def steps(run):
    f = run / "metrics.jsonl"
    return (
        max(
            [
                json.loads(line)["step"]
                for line in f.read_text().splitlines()
                if line.endswith("}") and '"step"' in line
            ],
            default=0,
        )
        if f.exists()
        else 0
    )


def test_the_launcher_is_killed_and_the_same_command_resumes_with_other_workers(one_worker, tmp_path):
    worlds, want, _ = one_worker
    run = tmp_path / "run"
    p = start(run, worlds)
    while steps(run) < 4:
        assert p.poll() is None, finish(p)[2][-3000:]
        time.sleep(0.02)
    workers = descendants(p.pid)
    assert len(workers) >= 2
    p.send_signal(signal.SIGKILL)
    finish(p)
    deadline = time.time() + 20
    while any(map(alive, workers)) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers)), "nobody trains on without a launcher"
    assert steps(run) < 12
    good(start(run, worlds, workers=4))
    assert same(final(run), want)
    assert sorted(
        (e["step"], e["group"], e["loss"])
        for e in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        if e["kind"] == "step"
    ) == sorted(
        (e["step"], e["group"], e["loss"])
        for e in map(json.loads, (one_worker[2] / "metrics.jsonl").read_text().splitlines())
        if e["kind"] == "step"
    ), "and the log tells the same story"


def test_two_launchers_on_loopback(one_worker, tmp_path):
    worlds, want, _ = one_worker
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    ps = [
        start(tmp_path / "run", worlds, workers=1, nodes=2, rendezvous=f"127.0.0.1:{port}", join_minutes=2)
        for _ in range(2)
    ]
    for p in ps:
        good(p)
    assert same(final(tmp_path / "run"), want) and (tmp_path / "run/report.html").exists()


def test_torchrun_and_a_worker_that_is_killed(one_worker, tmp_path):
    worlds, want, _ = one_worker
    run, c = (
        tmp_path / "run",
        command(tmp_path / "run", worlds, loader_workers=1),
    )  # whose process outlives the killed one a little
    p = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "--max-restarts",
            "3",
            *c[1:],
        ],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while steps(run) < 4:
        assert p.poll() is None, finish(p)[2][-3000:]
        time.sleep(0.02)
    workers = [
        w
        for w in descendants(p.pid)
        if Path(f"/proc/{w}/stat").read_text().rpartition(")")[2].split()[1] == str(p.pid)
    ]
    assert len(workers) == 2 and steps(run) < 12
    first = next(w for w in workers if b"\0RANK=0\0" in Path(f"/proc/{w}/environ").read_bytes())
    os.kill(first, signal.SIGKILL)  # the one that holds the run folder
    good(p)
    assert same(final(run), want)


def test_from_shards(one_worker, tmp_path):
    from landmark_nb.data.shards import place_groups
    from landmark_nb.experiments import configure, locate, prepare

    worlds, want, _ = one_worker
    recipe = configure(**SETTINGS, out=str(tmp_path / "run"), worlds=str(worlds))
    c = recipe.partition
    place_groups(
        locate(recipe) / "train",
        tmp_path / "placed",
        prepare(recipe).groups,
        c.M,
        c.alpha,
        c.N,
        c.L,
        c.min_images,
        progress=False,
    )
    good(start(tmp_path / "run", worlds, shards=tmp_path / "placed"))
    assert same(final(tmp_path / "run"), want)
    with pytest.raises(ValueError, match="shards of another partition .M=20 now, 16 there"):
        prepare(configure(**SETTINGS, M=20.0, shards=str(tmp_path / "placed"), worlds=str(worlds)))


def test_nan_names_group_round_and_checkpoint(one_worker, tmp_path):
    code, _, err = finish(start(tmp_path / "run", one_worker[0], lr=1e30, head_lr=1e30, restarts=1))
    assert (
        code
        and "FloatingPointError: the loss of group" in err.splitlines()[-1]
        and "in the round of 2 local steps" in err
        and "last good checkpoint" in err
    )


def test_a_run_folder_that_is_held(one_worker, tmp_path):
    from landmark_nb.train.loop import RunFolder

    held = RunFolder(tmp_path / "run", {})
    held.hold()
    code, _, err = finish(start(tmp_path / "run", one_worker[0], workers=1))
    assert code and f"held by a run that is still going (process {os.getpid()}" in err.splitlines()[-1]


def test_more_workers_than_gpus(monkeypatch):
    import torch

    from landmark_nb.experiments import configure

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="workers=2: this machine has 1 GPU"):
        configure(**SETTINGS | dict(device="cuda"))


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(local_steps=-1), "local_steps=-1"),
        (dict(slow_momentum=1.0), "slow_momentum=1.0"),
        (dict(workers=5), "at most 4 workers"),
        (dict(groups=99, workers=1), "groups=99"),
        (dict(nodes=2, rendezvous="no-such-host.invalid:29400"), "cannot be found"),
        (dict(nodes=2), "rendezvous=host:port"),
    ],
)
def test_refused(one_worker, tmp_path, settings, words):
    from landmark_nb.experiments import configure, run

    with pytest.raises((ValueError, ConnectionError), match=words):
        run(
            configure(**SETTINGS | settings, out=str(tmp_path / "run"), worlds=str(one_worker[0])),
            progress=False,
        )
    assert not (tmp_path / "run/config.json").exists()


def test_a_machine_that_never_comes(one_worker, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    code, _, err = finish(
        start(
            tmp_path / "run",
            one_worker[0],
            nodes=2,
            workers=1,
            rendezvous=f"127.0.0.1:{port}",
            join_minutes=0.05,
        )
    )
    assert code and "did not meet" in err.strip().splitlines()[-1], err[-2000:]

"D-CosPlace with real processes: killed workers and launchers, two machines, shards, and what is refused."

import json
import os
import signal
import time
from pathlib import Path

import pytest
from kill_workers import SETTINGS, final, same
from lab import free_port
from processes import (
    HERE,
    alive,
    begin,
    descendants,
    fields_of,
    finish,
    good,
    last_line,
    settings_on_line,
    steps,
    train,
)

from landmark_nb.experiments import configure, pick_device, run
from landmark_nb.log import read_events


def places(out, worlds, **settings) -> dict:
    "The settings of a run into a folder."
    return SETTINGS | dict(out=str(out), worlds=str(worlds)) | settings


def start(out, worlds, **settings):
    return train(places(out, worlds, **settings))


def wait_for_steps(process, run_folder, wanted: int):
    "Until a run has done some steps."
    while steps(run_folder) < wanted:
        assert process.poll() is None, finish(process)[2][-3000:]
        time.sleep(0.02)


def losses(run_folder) -> list:
    "(step, group, loss) of all that a run has logged, sorted."
    return sorted((e["step"], e["group"], e["loss"]) for e in read_events(run_folder, "step"))


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory):
    "The run that all others are compared with: one worker, undisturbed. Its worlds, its weights, its folder."
    d = tmp_path_factory.mktemp("one")
    good(start(d / "run", d / "worlds", workers=1))
    return d / "worlds", final(d / "run"), d / "run"


KILLS = 20 if int(os.environ.get("ATTACKS", "1")) > 1 else 3  # each costs some 20 seconds


def test_killed_workers(one_worker, tmp_path):
    (tmp_path / "worlds").symlink_to(one_worker[0])
    out = good(begin([HERE / "kill_workers.py", tmp_path, KILLS]), 900)
    runs = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(runs) == KILLS and all(r["same"] for r in runs), runs
    killed = [r for r in runs if r["killed"]]
    assert len(killed) > KILLS // 2, "a delayed kill may come after the end; most must not"
    assert {r["phase"] for r in runs} == {"local steps", "average", "checkpoint"}
    assert same(final(tmp_path / "undisturbed"), one_worker[1]), "two workers end as one does"
    print("\n".join(map(str, runs)))


def test_the_launcher_is_killed_and_the_same_command_resumes_with_other_workers(one_worker, tmp_path):
    worlds, want, first = one_worker
    folder = tmp_path / "run"
    p = start(folder, worlds)
    wait_for_steps(p, folder, 4)
    workers = descendants(p.pid)
    assert len(workers) >= 2
    p.send_signal(signal.SIGKILL)
    finish(p)
    deadline = time.time() + 20
    while any(map(alive, workers)) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers)), "nobody trains on without a launcher"
    assert steps(folder) < 12
    good(start(folder, worlds, workers=4))
    assert same(final(folder), want)
    assert losses(folder) == losses(first), "and the log tells the same story"


def test_two_launchers_on_loopback(one_worker, tmp_path):
    worlds, want, _ = one_worker
    meet = dict(nodes=2, rendezvous=f"127.0.0.1:{free_port()}", join_minutes=2)
    machines = [start(tmp_path / "run", worlds, workers=1, **meet) for _ in range(2)]
    for machine in machines:
        good(machine)
    assert same(final(tmp_path / "run"), want) and (tmp_path / "run/report.html").exists()


def test_torchrun_and_a_worker_that_is_killed(one_worker, tmp_path):
    worlds, want, _ = one_worker
    folder = tmp_path / "run"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--max-restarts", 3]
    more = dict(loader_workers=1)  # a process that outlives the killed one a little
    settings = settings_on_line(places(folder, worlds, **more))
    p = begin([*torchrun, "-m", "landmark_nb", "train", *settings])
    wait_for_steps(p, folder, 4)
    workers = [w for w in descendants(p.pid) if (fields_of(w) or "  ")[1] == str(p.pid)]
    assert len(workers) == 2 and steps(folder) < 12
    first = next(w for w in workers if b"\0RANK=0\0" in Path(f"/proc/{w}/environ").read_bytes())
    os.kill(first, signal.SIGKILL)  # the one that holds the run folder
    good(p)
    assert same(final(folder), want)


def test_from_shards(one_worker, tmp_path):
    from landmark_nb.data.shards import place_groups

    worlds, want, _ = one_worker
    recipe = configure(**places(tmp_path / "run", worlds))
    placed, groups = tmp_path / "placed", recipe.prepare().groups
    place_groups(recipe.locate() / "train", placed, groups, *recipe.partition.values(), progress=False)
    good(start(tmp_path / "run", worlds, shards=placed))
    assert same(final(tmp_path / "run"), want)
    other = configure(**SETTINGS, M=20.0, shards=str(placed), worlds=str(worlds))
    with pytest.raises(ValueError, match="shards of another partition .M=20 now, 16 there"):
        other.prepare()


def test_nan_names_group_round_and_checkpoint(one_worker, tmp_path):
    code, _, err = finish(start(tmp_path / "run", one_worker[0], lr=1e30, head_lr=1e30, restarts=1))
    last = last_line(err)
    assert code and "FloatingPointError: the loss of group" in last
    assert "in the round of 2 local steps" in err and "last good checkpoint" in err


def test_a_run_folder_that_is_held(one_worker, tmp_path):
    from landmark_nb.runs.folder import RunFolder

    held = RunFolder(tmp_path / "run", {})
    held.hold()
    code, _, err = finish(start(tmp_path / "run", one_worker[0], workers=1))
    assert code and f"held by a run that is still going (process {os.getpid()}" in last_line(err)


def test_more_workers_than_gpus(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("auto") == "cuda"
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
    with pytest.raises((ValueError, ConnectionError), match=words):
        run(configure(**places(tmp_path / "run", one_worker[0], **settings)), progress=False)
    assert not (tmp_path / "run/config.json").exists()


def test_a_machine_that_never_comes(one_worker, tmp_path):
    meet = dict(nodes=2, rendezvous=f"127.0.0.1:{free_port()}", join_minutes=0.05)
    code, _, err = finish(start(tmp_path / "run", one_worker[0], workers=1, **meet))
    assert code and "did not meet" in last_line(err), err[-2000:]

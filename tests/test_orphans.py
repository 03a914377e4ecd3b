"Nothing lingers: when a worker or a launcher is killed, the loaders that worked for it end, too."

import os
import signal
import time
from pathlib import Path

import pytest
from kill_workers import SETTINGS
from processes import alive, descendants, finish, steps, train

LONG = 200  # local steps: longer than the test waits


def running(tmp_path: Path, **more) -> tuple:
    "A run with loaders that has begun to train: its process and those below it."
    run = tmp_path / "run"
    where = dict(out=run, worlds=tmp_path / "worlds", loader_workers=1, iterations=LONG, log_every=1)
    p = train(SETTINGS | where | more)
    while steps(run) < 2:
        assert p.poll() is None, finish(p)[2][-3000:]
        time.sleep(0.05)
    return p, descendants(p.pid)


def loaders_among(pids: list[int]) -> list[int]:
    "Processes that decode: those that have a worker above them, below the launcher."
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids}
    return [pid for pid, parent in parents.items() if parents.get(parent) in parents]


def wait_for_the_end(pids: list[int], seconds: float = 30):
    "Fail unless all processes have ended in time."
    deadline = time.time() + seconds
    while any(map(alive, pids)) and time.time() < deadline:
        time.sleep(0.1)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"{len(left)} of {len(pids)} processes were left"


@pytest.mark.parametrize("who", ["SIGKILL", "SIGTERM"])
def test_a_launcher_that_is_killed_leaves_nobody(tmp_path, who):
    p, below = running(tmp_path)
    assert loaders_among(below), "there were loaders"
    p.send_signal(getattr(signal, who))
    p.communicate(timeout=60)
    wait_for_the_end(below)


def test_a_worker_that_is_killed_leaves_no_loader(tmp_path):
    p, below = running(tmp_path)
    loaders = loaders_among(below)
    assert loaders
    worker = next(pid for pid in below if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(worker, signal.SIGKILL)
    wait_for_the_end(loaders)  # of the killed worker, and of the others, which are started again
    p.kill()
    p.communicate(timeout=60)
    wait_for_the_end(below)

"Asked to end by SIGTERM, a run saves what it has, and its exit code says that it wants another turn."

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from kill_workers import SETTINGS, final, same
from processes import alive, begin, descendants, finish, good, settings_on_line, steps

from landmark_nb.log import read_events
from landmark_nb.processes import TRY_AGAIN
from landmark_nb.train.checkpoint import latest_checkpoint

SECONDS = 90  # a scheduler's patience, on a machine that others use, too


COMMON = dict(data="smoke", device="cpu", loader_workers=1, checkpoint_minutes=60.0, before=False, test=False)
RUNS = {1: COMMON | dict(recipe="cosplace", iterations=6), 2: SETTINGS | COMMON}


def run_of(folder: Path, worlds: Path, workers: int) -> subprocess.Popen:
    "A run with loaders, in a process group of its own, as a scheduler starts it."
    settings = RUNS[workers] | dict(out=folder, worlds=worlds)
    return begin(["-m", "landmark_nb", "train", *settings_on_line(settings)], start_new_session=True)


def losses(folder: Path) -> dict:
    "Loss by step and group."
    return {(e["step"], e["group"]): e["loss"] for e in read_events(folder, "step")}


def wait_for_step(process, folder, step: int):
    "Until a run has logged a step."
    while steps(folder) < step:
        assert process.poll() is None, finish(process)[2][-3000:]
        time.sleep(0.02)


def left_of(pids: list[int], seconds: float = 30) -> list[int]:
    "Those processes that are still there after a while."
    deadline = time.time() + seconds
    while any(map(alive, pids)) and time.time() < deadline:
        time.sleep(0.1)
    return [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_processes_of_a_job_are_asked_to_end(tmp_path, workers):
    worlds = tmp_path / "worlds"
    good(run_of(tmp_path / "whole", worlds, workers))
    folder = tmp_path / "run"
    process = run_of(folder, worlds, workers)
    wait_for_step(process, folder, 1)
    below = descendants(process.pid)
    os.killpg(process.pid, signal.SIGTERM)  # as SLURM does: everybody at once
    code, _, err = finish(process, SECONDS)
    assert code == TRY_AGAIN, err[-3000:]
    assert "stopped: " in err and "the same command goes on" in err and "Traceback" not in err
    assert len(below) >= workers and not left_of(below)
    saved = int(latest_checkpoint(folder / "checkpoints").name)
    assert saved == steps(folder) < int(final(tmp_path / "whole")[0])
    good(run_of(folder, worlds, workers))
    assert same(final(folder), final(tmp_path / "whole"))
    whole = tmp_path / "whole"
    assert losses(whole).items() <= losses(folder).items()  # which has logged where it was stopped, too
    scores = [[e["recall"] for e in read_events(f, "eval")] for f in (whole, folder)]
    assert scores[0] == scores[1]


def test_the_launcher_alone_is_asked_to_end(tmp_path):
    process = run_of(tmp_path / "run", tmp_path / "worlds", 2)
    wait_for_step(process, tmp_path / "run", 1)
    below = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process, SECONDS)
    assert code == TRY_AGAIN, err[-3000:]
    assert not left_of(below)
    assert latest_checkpoint(tmp_path / "run" / "checkpoints") is not None


def test_asked_before_there_is_anything_to_save(tmp_path):
    process = run_of(tmp_path / "run", tmp_path / "worlds", 1)
    while not (tmp_path / "worlds").exists():  # it draws
        assert process.poll() is None, finish(process)[2][-3000:]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process, SECONDS)
    assert code == TRY_AGAIN, err[-3000:]
    assert "Traceback" not in err

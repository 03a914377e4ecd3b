"The landmark recipe under the kills that D-CosPlace stands, with loaders: it ends as if nothing had been."

import json
import os
import random
import uuid

import pytest
from kill_landmarks import MARK, lingering
from processes import ENV, HERE, begin, good

OTHER = dict(trunk="test_efficientnet", optimizer="adamw", batch_size=4, accumulate=2)  # batch norm, and more
PHASES = {
    "stage": 8,
    "border": 2,
    "checkpoint": 16,
    "best model": 3,
}  # when, and how many calls a run has at least


def plan(phase: str, count: int = 1, rank: int = 0, delay: float = 0, **more) -> dict:
    "At which call of a phase which worker dies, and how many seconds later."
    return dict(phase=phase, count=count, rank=rank, delay=delay) | more


def killed(tmp_path, monkeypatch, workers: int, plans: list, seconds: float = 600) -> list[dict]:
    "What came of the runs; fails where one left a process, or ended otherwise than an undisturbed one."
    monkeypatch.setenv(MARK, uuid.uuid4().hex)
    environment = ENV | {MARK: os.environ[MARK]}
    program = begin([HERE / "kill_landmarks.py", tmp_path, workers, json.dumps(plans)], env=environment)
    runs = [json.loads(line) for line in good(program, seconds).splitlines() if line.startswith("{")]
    print("\n".join(map(str, runs)))
    assert len(runs) == len(plans) and all(r["same"] and r["same_losses"] and not r["left"] for r in runs), (
        runs
    )
    assert lingering(set()) == 0, "nobody is left when all is over"
    return runs


def test_one_process_is_killed_and_started_again(tmp_path, monkeypatch):
    plans = [plan("stage", 3), plan("border"), plan("checkpoint", 6)]  # of two files a checkpoint
    runs = killed(tmp_path, monkeypatch, 1, plans)
    assert all(r["killed"] for r in runs) and runs[0]["orphans"] and runs[2]["orphans"], "there were loaders"


def test_one_of_two_workers_is_killed(tmp_path, monkeypatch):
    (run,) = killed(tmp_path, monkeypatch, 2, [plan("stage", 3, rank=1)])
    assert run["killed"] and run["orphans"]


@pytest.mark.attack
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_anywhere(tmp_path, monkeypatch, workers):
    plans = []
    for phase, calls in 3 * list(PHASES.items()):
        rank = random.randrange(workers) if phase in ("stage", "border") else 0
        delay = random.choice([0, random.uniform(0, 0.05), random.uniform(0, 0.5)])
        plans.append(
            plan(phase, random.randrange(1, calls), rank, delay, settings=random.choice([{}, OTHER]))
        )
    runs = killed(tmp_path, monkeypatch, workers, plans, 3600)
    assert sum(r["killed"] for r in runs) >= len(runs) // 2, (
        "a delayed kill may come after the end; most must not"
    )

"""Kill a worker at a random moment, again and again: started by test_dcosplace.py in a process of its own.

kill_workers.py FOLDER RUNS: one line of JSON a run on stdout.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from processes import descendants

PHASES = {"local steps": 24, "average": 6, "checkpoint": 12}  # when, and how many calls of it a run has
SETTINGS = dict(
    recipe="dcosplace",
    data="smoke",
    groups=4,
    local_steps=2,
    steps=4,
    iterations=3,
    slow_momentum=0.3,
    workers=2,
    threads=1,
    device="cpu",
    loader_workers=0,
    checkpoint_minutes=0.0,
    before=False,
    test=False,
)


class Killer:
    "Ends this process once in a run, at a call that the plan names, and a little later."

    def __init__(self, plan: dict, done: Path):
        self.plan, self.done = plan, done  # `done`: the file that says that it has happened
        self.calls = 0

    def watched(self, real, phase: str, counts=lambda *args: True):
        "A function that is as it was, but may be the last one; `counts`: whether a call is one of the phase."

        def call(*args, **more):
            mine = phase == self.plan["phase"] and int(os.environ.get("RANK", 0)) == self.plan["rank"]
            if mine and not self.done.exists() and counts(*args):
                self.calls += 1
                if self.calls == self.plan["count"]:
                    self.strike()
            return real(*args, **more)

        return call

    def strike(self):
        "Die after the plan's delay; without one, before anything else happens."
        threading.Timer(self.plan["delay"], self.die).start()
        if self.plan["delay"] == 0:
            time.sleep(60)

    def die(self):
        "Say so, and end as by a lack of memory."
        self.done.write_text(str(len(descendants(os.getpid()))))  # processes that it leaves
        os.kill(os.getpid(), signal.SIGKILL)


def is_round(workers, total) -> bool:
    "Whether a sum is that of a round, not a barrier."
    return total.numel() >= 1000


def worker(settings: dict, plan: dict):
    "`train_worker` that dies once, where the plan says."
    from landmark_nb.runs.recipe import train_worker
    from landmark_nb.train import checkpoint, dcosplace, workers

    killer = Killer(plan, Path(settings["out"]) / "killed")
    dcosplace.head_step = killer.watched(dcosplace.head_step, "local steps")
    workers.Workers.sum_ = killer.watched(workers.Workers.sum_, "average", is_round)
    checkpoint.save_tensors = killer.watched(checkpoint.save_tensors, "checkpoint")
    train_worker(settings, "landmark_nb.recipes.places.recipes")


def final(folder: Path) -> tuple[str, dict]:
    "The last checkpoint's name, and the tensors of each of its files and of the best model."
    from safetensors.torch import load_file

    from landmark_nb.train.checkpoint import latest_checkpoint

    last = latest_checkpoint(folder / "checkpoints")
    files = {f.name: load_file(f) for f in last.glob("*.safetensors")}
    return last.name, files | {"best": load_file(folder / "best.safetensors")}


def same(a: tuple[str, dict], b: tuple[str, dict]) -> bool:
    "Whether two runs have ended with the same step and the same bits."
    (step, files), (other_step, others) = a, b
    if step != other_step or files.keys() != others.keys():
        return False
    return all(same_tensors(files[name], others[name]) for name in files)


def same_tensors(a: dict, b: dict) -> bool:
    "Whether two files hold the same tensors."
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def one_run(folder: Path, worlds: Path, plan: dict) -> tuple[str, dict]:
    "Train with two workers, of which one may be killed and started again."
    import kill_workers  # by this name, so that workers can import it

    from landmark_nb.config import to_flat
    from landmark_nb.experiments import configure
    from landmark_nb.runs.folder import RunFolder
    from landmark_nb.train.launch import launch

    recipe = configure(**SETTINGS, out=str(folder), worlds=str(worlds))
    recipe.prepare()
    RunFolder(recipe.run.out, to_flat(recipe)).start()
    launch(kill_workers.worker, (to_flat(recipe), plan), recipe.run.out, 2, restarts=5)
    return final(folder)


def random_plan(phase: str, r: random.Random) -> dict:
    "Which worker dies at which call of a phase, and how many seconds later."
    delay = r.choice([0, 0, r.uniform(0, 0.05), r.uniform(0, 0.5)])
    return dict(phase=phase, rank=r.randrange(2), count=r.randrange(1, PHASES[phase]), delay=delay)


def main(folder: Path, runs: int):
    "One run that nobody disturbs, and some that are killed, compared with it."
    want, r = one_run(folder / "undisturbed", folder / "worlds", dict(phase="none")), random.Random()
    for i in range(runs):
        plan, out, began = random_plan(list(PHASES)[i % 3], r), folder / f"run{i}", time.time()
        got = one_run(out, folder / "worlds", plan)
        seconds = round(time.time() - began, 1)
        result = dict(killed=(out / "killed").exists(), same=same(got, want), seconds=seconds)
        print(json.dumps(plan | result), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

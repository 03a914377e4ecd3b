"""Kill a worker at a random moment, again and again: started by test_dcosplace.py in a process of its own.
kill_workers.py FOLDER RUNS: one line of JSON a run on stdout."""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

PHASES = ("local steps", "average", "checkpoint")


def worker(settings: dict, plan: dict):
    "`train_worker` that dies once, where the plan says."
    from landmark_nb.runs.recipe import train_worker
    from landmark_nb.train import checkpoint, dcosplace, workers

    count, did = 0, Path(settings["out"]) / "killed"

    def die():
        did.write_text(plan["phase"])
        os.kill(os.getpid(), signal.SIGKILL)

    def watched(real, phase):
        def call(*args, **kw):
            nonlocal count
            if phase == "average" and len(args) > 1 and args[1].numel() < 1000:
                return real(*args, **kw)  # a barrier, not the round's sum
            if phase == plan["phase"] and int(os.environ["RANK"]) == plan["rank"] and not did.exists():
                count += 1
                if count == plan["count"]:
                    threading.Timer(plan["delay"], die).start()
                    if plan["delay"] == 0:
                        time.sleep(60)
            return real(*args, **kw)

        return call

    dcosplace.head_step = watched(dcosplace.head_step, "local steps")
    workers.Workers.sum_ = watched(workers.Workers.sum_, "average")
    checkpoint.save_tensors = watched(checkpoint.save_tensors, "checkpoint")
    train_worker(settings, "landmark_nb.recipes.places.recipes")


def final(folder):
    from safetensors.torch import load_file

    from landmark_nb.train.checkpoint import latest_checkpoint

    c = latest_checkpoint(Path(folder) / "checkpoints")
    return c.name, {f.name: load_file(f) for f in c.glob("*.safetensors")} | {
        "best": load_file(Path(folder) / "best.safetensors")
    }


def same(a, b):
    return (
        a[0] == b[0]
        and a[1].keys() == b[1].keys()
        and all(
            a[1][f].keys() == b[1][f].keys() and all((a[1][f][k] == b[1][f][k]).all() for k in a[1][f])
            for f in a[1]
        )
    )


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


def main(folder, runs):
    import kill_workers  # by this name, so that workers can import it

    from landmark_nb.config import to_flat
    from landmark_nb.experiments import configure
    from landmark_nb.runs.folder import RunFolder
    from landmark_nb.train.launch import launch

    folder = Path(folder)

    def one(name, plan):
        recipe = configure(**SETTINGS, out=str(folder / name), worlds=str(folder / "worlds"))
        recipe.prepare()
        run = RunFolder(recipe.run.out, to_flat(recipe))
        run.start()
        launch(kill_workers.worker, (to_flat(recipe), plan), recipe.run.out, 2, restarts=5)
        return final(folder / name)

    want, r = one("undisturbed", dict(phase="none")), random.Random()
    for i in range(runs):
        phase = PHASES[i % 3]
        most = {"local steps": 24, "average": 6, "checkpoint": 12}[phase]
        plan = dict(
            phase=phase,
            rank=r.randrange(2),
            count=r.randrange(1, most),
            delay=r.choice([0, 0, r.uniform(0, 0.05), r.uniform(0, 0.5)]),
        )
        began = time.time()
        got = one(f"run{i}", plan)
        print(
            json.dumps(
                dict(
                    plan,
                    killed=(folder / f"run{i}" / "killed").exists(),
                    same=same(got, want),
                    seconds=round(time.time() - began, 1),
                )
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

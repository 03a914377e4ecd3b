"""Kill a landmark training and let it go on: started by test_landmark_kills.py in a process of its own.

kill_landmarks.py FOLDER WORKERS PLANS: a run that nobody disturbs, then one for each plan (JSON, see
`kill_workers.Killer`; `settings`: other than those below); one line of JSON for each.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

from kill_workers import Killer, final, same

SETTINGS = dict(
    recipe="landmark",
    data="smoke",
    device="cpu",
    stages="full:64:1 clean:48:1",
    optimizer="adam",
    ema=0.9,  # the more there is to be saved
    threads=1,
    loader_workers=1,
    checkpoint_minutes=0.0,  # a checkpoint after each step
    before=False,
    test=False,
)
MARK = "LANDMARK_NB_KILLED"  # environment variable of all processes that come of this program


def is_second(state, stage: int, *_) -> bool:
    "Whether the stage that begins comes after another one."
    return stage > 0


def watch(settings: dict, plan: dict):
    "Let this process die once, where the plan says."
    from landmark_nb.recipes.landmark import recipe
    from landmark_nb.train import checkpoint, progressive

    killer = Killer(plan, Path(settings["out"]) / "killed")
    progressive.add_gradients = killer.watched(progressive.add_gradients, "stage")
    progressive.begin_stage = killer.watched(progressive.begin_stage, "border", is_second)
    checkpoint.save_tensors = killer.watched(checkpoint.save_tensors, "checkpoint")
    recipe.save_model = killer.watched(recipe.save_model, "best model")


def alone(settings: dict, plan: dict):
    "What a process does that trains alone: a whole run."
    from landmark_nb.experiments import configure, run

    watch(settings, plan)
    run(configure(**settings), progress=False)


def worker(settings: dict, plan: dict):
    "What one of several workers does."
    from landmark_nb.runs.recipe import train_worker

    watch(settings, plan)
    train_worker(settings, "landmark_nb.recipes.landmark.recipe")


def run_alone(settings: dict, plan: dict):
    "A run of one process; of another one, with the same settings, if that is killed."
    import kill_landmarks  # by this name, so that the process can import it

    context = multiprocessing.get_context("forkserver")
    for _ in range(2):
        process = context.Process(target=kill_landmarks.alone, args=(settings, plan))
        process.start()
        process.join()
        if process.exitcode == 0:
            return
    raise RuntimeError(f"the second process ended with {process.exitcode}")


def run_together(settings: dict, plan: dict, workers: int):
    "A run of several workers, all of which are started again if one is killed."
    import kill_landmarks

    from landmark_nb.config import to_flat
    from landmark_nb.experiments import configure
    from landmark_nb.runs.folder import RunFolder
    from landmark_nb.train.launch import launch

    recipe = configure(**settings, workers=workers)
    recipe.prepare()
    RunFolder(recipe.run.out, to_flat(recipe)).start()
    launch(kill_landmarks.worker, (to_flat(recipe), plan), recipe.run.out, workers, restarts=1)


def marked() -> set[int]:
    "The processes that came of this program, itself too."
    found, mark = set(), f"{MARK}={os.environ[MARK]}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def lingering(before: set[int], seconds: float = 30) -> int:
    "How many processes are left that were not there before, after a while."
    until = time.monotonic() + seconds
    while (left := marked() - before) and time.monotonic() < until:
        time.sleep(0.1)
    return len(left)


def one_run(folder: Path, plan: dict, workers: int) -> tuple:
    "Train, perhaps be killed and go on: where it ended, its losses, and how many processes it left."
    from safetensors.torch import load_file

    from landmark_nb.log import read_events

    before = marked()
    places = dict(out=str(folder), worlds=str(folder.parent / "worlds"))
    settings = SETTINGS | places | plan.get("settings", {})
    run_alone(settings, plan) if workers == 1 else run_together(settings, plan, workers)
    name, files = final(folder)
    files |= {file.name: load_file(file) for file in folder.glob("head-*.safetensors")}
    losses = [(e["step"], e["loss"]) for e in read_events(folder, "step")]
    return (name, files), losses, lingering(before)


def begin_fork_server():
    "Now, so that it is no process that a run has left; with all modules, so that a run begins at once."
    from multiprocessing import forkserver

    multiprocessing.set_forkserver_preload(["landmark_nb.recipes.landmark.recipe", "landmark_nb.experiments"])
    forkserver.ensure_running()


def main(folder: Path, workers: int, plans: list[dict]):
    "The undisturbed run, then those that are killed, each compared with it."
    begin_fork_server()
    wanted = {}  # settings -> the undisturbed run
    for i, plan in enumerate(plans):
        began, settings = time.monotonic(), json.dumps(plan.get("settings", {}))
        if settings not in wanted:
            quiet = dict(phase="none", settings=plan.get("settings", {}))
            wanted[settings] = one_run(folder / f"undisturbed{i}", quiet, workers)
            assert wanted[settings][-1] == 0, "processes are left of a run that ended well"
        want, want_losses, _ = wanted[settings]
        end, losses, left = one_run(folder / f"run{i}", plan, workers)
        killed = folder / f"run{i}" / "killed"
        found = dict(killed=killed.exists(), orphans=int(killed.read_text()) if killed.exists() else 0)
        found |= dict(left=left, same=same(end, want), same_losses=losses == want_losses)
        print(json.dumps(plan | found | dict(seconds=round(time.monotonic() - began, 1))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))

"A run that is killed, at any moment, ends as if it had not been."

import random
import signal
import time

import pytest
from kill_workers import final, same
from processes import begin, good, steps

from landmark_nb.log import read_events
from landmark_nb.train.checkpoint import latest_checkpoint

SETTINGS = dict(
    data="smoke",
    device="cpu",
    loader_workers=0,
    test=False,
    before=False,
)
# folder, worlds, and whether a save takes its time, so that a kill can hit it
CODE = f"""
import sys
import time
from landmark_nb.experiments import configure, run
from landmark_nb.train import checkpoint

def slow(*args):
    real(*args)
    print("saving", flush=True)
    time.sleep(0.05)

out, worlds, *wanted = sys.argv[1:]
real = checkpoint.save_tensors
if wanted:
    checkpoint.save_tensors = slow
settings = dict({SETTINGS}, checkpoint_minutes=0.0, iterations=6)
run(configure(out=out, worlds=worlds, **settings), progress=False)
"""


def start(*args):
    return begin(["-c", CODE, *args])


def losses(folder) -> list:
    return [(e["step"], e["loss"]) for e in read_events(folder, "step")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    d = tmp_path_factory.mktemp("undisturbed")
    good(start(d / "run", d / "worlds"))
    assert final(d / "run")[0] == "000000024"
    return d, final(d / "run"), losses(d / "run")


def wait_for(process, folder, kill_at: str):
    "Until a run has come to where it is to be killed: a step, the middle of the seventh save, or anywhere."
    if kill_at == "checkpoint":
        for _ in range(20):
            while "saving" not in (line := process.stdout.readline()):
                assert line, "it ended before it was killed"
        return
    step = random.randrange(3, 20) if kill_at == "random" else int(kill_at.split()[1])
    while process.poll() is None and steps(folder) < step:
        time.sleep(0.002)
    if kill_at == "random":
        time.sleep(random.random() * 0.1)


@pytest.mark.parametrize("kill_at", ["step 2", "step 9", "step 17", "checkpoint", "random"])
def test_killed_and_resumed_is_the_same_to_the_bit(undisturbed, tmp_path, kill_at):
    first, want, log = undisturbed
    worlds, folder = first / "worlds", tmp_path / "run"
    p = start(folder, worlds, *(["slow"] if kill_at == "checkpoint" else []))
    wait_for(p, folder, kill_at)
    assert p.poll() is None, "it was still running when it was killed"
    p.send_signal(signal.SIGKILL)
    p.communicate()
    last = latest_checkpoint(folder / "checkpoints")
    assert last is None or int(last.name) < 24
    good(start(folder, worlds))
    assert same(final(folder), want)
    assert losses(folder) == log, "and the log tells the same story"


def test_the_comparison_can_fail(undisturbed):
    name, tensors = undisturbed[1]
    other = {file: {k: v.clone() for k, v in t.items()} for file, t in tensors.items()}
    next(iter(other["trunk.safetensors"].values())).view(-1)[0] += 1
    assert not same((name, other), undisturbed[1])


def test_nan_stops_the_run(tmp_path):
    from landmark_nb.experiments import configure, run

    places = dict(out=str(tmp_path / "run"), worlds=str(tmp_path / "worlds"))
    recipe = configure(**SETTINGS, **places, lr=1e30, head_lr=1e30)
    with pytest.raises(FloatingPointError, match=r"group \d+ became .* at step"):
        run(recipe, progress=False)

"A run that is killed, at any moment, ends as if it had not been."

import os
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from kill_workers import final, same
from processes import ENV, HERE, begin, good, steps

from landmark_nb.log import read_events
from landmark_nb.train.checkpoint import latest_checkpoint, numbered

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


def start(*args, **more):
    return begin(["-c", CODE, *args], **more)


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


# A clock on the wall that jumps

YEAR = 365 * 24 * 3600  # seconds


@pytest.fixture
def wrong_clock(tmp_path):
    "The environment of a process whose clock can be set wrong, and what sets it wrong by so many seconds."
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: clocks that jump are left out")
    library, file = tmp_path / "clock.so", tmp_path / "wrong by"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "clock.c", "-ldl"], check=True)
    file.write_bytes(bytes(8))

    def set_wrong(seconds: int):
        with open(file, "r+b") as f:
            f.write(struct.pack("q", seconds))

    return ENV | dict(LD_PRELOAD=str(library), CLOCK_FILE=str(file)), set_wrong


def turn_ages_round(checkpoints: Path):
    "Let each checkpoint seem older, by a year, than the one that was written before it."
    for i, checkpoint in enumerate(numbered(checkpoints)):
        os.utime(checkpoint, (time.time() - i * YEAR,) * 2)


def wait_for_step(process, folder, step: int):
    while steps(folder) < step:
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.002)


def test_the_clock_jumps_in_a_session_and_between_sessions(undisturbed, wrong_clock, tmp_path):
    first, want, log = undisturbed
    folder, (environment, set_wrong) = tmp_path / "run", wrong_clock
    set_wrong(YEAR)
    told = float(good(begin(["-c", "import time; print(time.time())"], env=environment)))
    assert abs(told - time.time() - YEAR) < 3600, "the clock of such a process is wrong"
    for begins, jumps, until in ((0, YEAR, 7), (-YEAR, YEAR, 14), (YEAR, -YEAR, None)):
        set_wrong(begins)
        p = start(folder, first / "worlds", env=environment)
        wait_for_step(p, folder, steps(folder) + 2)
        set_wrong(jumps)
        if until is None:
            good(p)
            continue
        wait_for_step(p, folder, until)
        p.kill()
        p.communicate()
        turn_ages_round(folder / "checkpoints")
    assert same(final(folder), want) and losses(folder) == log
    seconds = [e["seconds"] for e in read_events(folder, "step")]
    assert seconds == sorted(seconds) and seconds[-1] < YEAR / 2, "training time is not told by that clock"


def test_a_writer_elsewhere_is_not_taken_for_dead_by_a_clock_that_is_ahead(tmp_path):
    from landmark_nb.core import is_left

    ahead = f"import sys, time; now = time.time; time.time = lambda: now() + {YEAR}; "
    ahead += "from landmark_nb.core import atomic_write; atomic_write(sys.argv[1], 'x')"
    young, old = (tmp_path / f".best.0123abcd.1.{i}1111111.part" for i in (1, 2))
    for part in (young, old):
        part.touch()
        assert is_left(part.name, YEAR), "of another machine, by age"
    os.utime(old, (time.time() - 8 * 24 * 3600,) * 2)
    good(begin(["-c", ahead, tmp_path / "x"]))
    assert young.exists() and not old.exists()

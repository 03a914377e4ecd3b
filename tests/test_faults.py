"A run that is killed, at any moment, ends as if it had not been."

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from landmark_nb.train.loop import latest_checkpoint

CODE = """
import sys
from landmark_nb.experiments import configure, run
from landmark_nb.train import loop
if len(sys.argv) > 3:   # a save that takes its time, so that a kill can hit it
    import time; real = loop.save_tensors
    def slow(*a): real(*a); print("saving", flush=True); time.sleep(.05)
    loop.save_tensors = slow
run(configure(data="smoke", out=sys.argv[1], worlds=sys.argv[2], device="cpu", loader_workers=0, checkpoint_minutes=0., test=False, before=False, iterations=6), progress=False)
"""


def start(*args):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(p):
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0, err[-3000:]


def final(folder):
    c = latest_checkpoint(folder / "checkpoints")
    assert c.name == "000000024"
    return {f.name: load_file(f) for f in c.glob("*.safetensors")} | {
        "best": load_file(folder / "best.safetensors")
    }


def same(a, b):
    return a.keys() == b.keys() and all(
        a[f].keys() == b[f].keys() and all((a[f][k] == b[f][k]).all() for k in a[f]) for f in a
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    d = tmp_path_factory.mktemp("undisturbed")
    finish(start(d / "run", d / "worlds"))
    return d, final(d / "run"), (d / "run/metrics.jsonl").read_text()


@pytest.mark.parametrize("kill_at", ["step 2", "step 9", "step 17", "checkpoint", "random"])
def test_killed_and_resumed_is_the_same_to_the_bit(undisturbed, tmp_path, kill_at):
    worlds, want, log = undisturbed[0] / "worlds", undisturbed[1], undisturbed[2]
    run = tmp_path / "run"
    p = start(run, worlds, *(["slow"] if kill_at == "checkpoint" else []))
    if kill_at == "checkpoint":
        for _ in range(20):  # into the middle of the seventh save
            while "saving" not in (line := p.stdout.readline()):
                assert line, "it ended before it was killed"
    else:
        step = int(kill_at.split()[1]) if kill_at != "random" else random.randrange(3, 20)
        while p.poll() is None and f'"step": {step},' not in (
            (run / "metrics.jsonl").read_text() if (run / "metrics.jsonl").exists() else ""
        ):
            time.sleep(0.002)
        if kill_at == "random":
            time.sleep(random.random() * 0.1)
    assert p.poll() is None, "it was still running when it was killed"
    p.send_signal(signal.SIGKILL)
    p.wait()
    p.stdout.close()
    p.stderr.close()
    last = latest_checkpoint(run / "checkpoints")
    assert last is None or int(last.name) < 24
    finish(start(run, worlds))
    assert same(final(run), want)
    import json

    losses = lambda text: [
        (e["step"], e["loss"]) for e in map(json.loads, text.splitlines()) if e["kind"] == "step"
    ]
    assert losses((run / "metrics.jsonl").read_text()) == losses(log), "and the log tells the same story"


def test_the_comparison_can_fail(undisturbed):
    other = {f: {k: v.clone() for k, v in t.items()} for f, t in undisturbed[1].items()}
    next(iter(other["trunk.safetensors"].values())).view(-1)[0] += 1
    assert not same(other, undisturbed[1])


def test_nan_stops_the_run(tmp_path):
    from landmark_nb.experiments import configure, run

    with pytest.raises(FloatingPointError, match=r"group \d+ became .* at step"):
        run(
            configure(
                data="smoke",
                out=str(tmp_path / "run"),
                worlds=str(tmp_path / "worlds"),
                device="cpu",
                loader_workers=0,
                lr=1e30,
                head_lr=1e30,
                test=False,
                before=False,
            ),
            progress=False,
        )

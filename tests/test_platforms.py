"How processes are started, and what other systems lack."

import numpy as np
import pytest
from PIL import Image
from processes import begin, finish, good

from landmark_nb.data.shards import place_groups

SETTINGS = dict(M=20.0, alpha=90.0, N=2, L=1, min_images=3)
LACKING = "os.posix_fallocate os.pidfd_open os.sched_getaffinity signal.sigwaitinfo"  # in macOS

# Batches from shards that this process has open, here and in a process of its own.
BATCHES = """
import multiprocessing, sys
from landmark_nb.data.loaders import StepBatches, batches
from landmark_nb.data.samplers import group_images
from landmark_nb.data.shards import read_shards

if __name__ == "__main__":
    root, method = sys.argv[1:]
    shards = read_shards(root, [0, 1])
    assert shards.open(0).getvalue() and shards.handles
    groups = {g: group_images(shards.class_of, shards.partition.classes(g), g) for g in (0, 1)}
    ds = StepBatches(root, shards.manifest.ids, groups, 12, 2, shards=shards)
    keys = [(g, step) for step in range(6) for g in (0, 1)]
    here = list(batches(ds, keys))
    multiprocessing.set_start_method(method)
    there = list(batches(ds, keys, workers=1))
    assert all((a["images"] == b["images"]).all() for a, b in zip(here, there, strict=True))
    assert all(a["bad"] == b["bad"] for a, b in zip(here, there))
    print(len(there), "batches,", sum(len(b["bad"]) for b in there), "bad")
"""


@pytest.fixture(scope="module")
def placed(tmp_path_factory) -> str:
    "Placed groups of small photographs, some of them broken."
    folder = tmp_path_factory.mktemp("placed")
    (folder / "train").mkdir()
    r = np.random.default_rng(0)
    for i in range(200):
        east, north, heading = 500_000 + r.uniform(0, 80), 4_000_000 + r.uniform(0, 80), r.choice([10, 100])
        path = folder / "train" / f"@{east:.2f}@{north:.2f}@10@S@@@@@{heading}@@@@{i}@@.jpg"
        Image.fromarray(r.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path)
        if i % 4 == 0:
            path.write_bytes(b"broken")
    out = place_groups(folder / "train", folder / "out", progress=False, **SETTINGS)
    return str(out)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_shards_are_read_by_processes_however_they_are_started(method, placed, tmp_path):
    script = tmp_path / "batches.py"
    script.write_text(BATCHES)
    batches, bad = good(begin([script, placed, method])).split(" batches, ")
    assert batches == "12" and int(bad.split()[0]) > 0


def test_what_macos_lacks_is_not_needed(placed, tmp_path):
    script = tmp_path / "batches.py"
    removed = "".join(f"del {name}\n" for name in LACKING.split())
    space = "from landmark_nb.core import take_space\nwith open(sys.argv[1] + '/space', 'w+b') as f:\n"
    space += "    take_space(f.fileno(), 5000)\n"
    script.write_text(f"import os, signal, sys\n{removed}{space}{BATCHES}")
    assert good(begin([script, placed, "fork"])).startswith("12 batches")


def test_windows_is_told_at_the_import():
    hidden = "import sys; sys.modules['fcntl'] = None; import landmark_nb.models.losses"
    code, _, err = finish(begin(["-c", hidden]))
    assert code and "ImportError: landmark_nb runs on Linux and macOS" in err.strip().splitlines()[-1]

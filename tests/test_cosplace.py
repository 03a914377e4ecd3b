"CosPlace and gsv on several workers: the same with 1, 2 and 4, after kills, by other numbers of them."

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from cosplace_workers import CASES, begin, follow, found, work
from kill_workers import final, same
from processes import descendants, finish, good, steps, train

from landmark_nb.experiments import configure
from landmark_nb.log import read_events
from landmark_nb.train.checkpoint import latest_checkpoint
from landmark_nb.train.workers import Workers

WORLDS = (1, 2, 4)
PARITY = [name for name in CASES if name != "moving norms"]  # those see each worker's own part


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, dict]:
    "A folder, and what each case has come to with each number of workers."
    folder = tmp_path_factory.mktemp("cosplace")
    threads = torch.get_num_threads()
    work(0, 1, 1, folder, list(CASES))
    torch.set_num_threads(threads)
    for before, world in ((1, 2), (2, 4)):
        names = list(CASES) if world == 2 else ["cosface", "whole", "moving norms", "gsv"]
        torch.multiprocessing.spawn(work, (world, before, folder, names), world)
    read = {f.stem: torch.load(f, weights_only=True) for f in folder.glob("*-[124].pt")}
    return folder, read


def apart(a: dict, b: dict, start: dict) -> float:
    "How far two trainings have ended from each other, as a share of the way that they went: trunk and heads."
    names = [name for name in a if name.startswith("w.") or ".w." in name]
    assert a.keys() == b.keys() and names

    def flat(tensors):
        return torch.cat([tensors[n].double().flatten() for n in names if n in tensors])

    missing = {n: torch.zeros_like(a[n]) for n in names if n not in start}  # heads that were made on the way
    return float((flat(a) - flat(b)).norm() / (flat(a) - flat(start | missing)).norm())


def identical(a: dict, b: dict) -> bool:
    "Whether two trainings have ended with the same bits."
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", PARITY)
def test_as_one_worker(trained, name):
    _, results = trained
    one = results[f"{name}-1"]
    loose = 50 if "float16" in name else 1  # half precision rounds after another sum
    for world in WORLDS[1:]:
        if f"{name}-{world}" not in results:
            continue
        several = results[f"{name}-{world}"]
        assert torch.allclose(several["losses"], one["losses"], rtol=4e-4 * loose), (name, world)
        far = apart(one["end"], several["end"], one["start"])
        print(f"{name}, {world} workers: apart {far:.1e}")
        assert far < 1e-2 * max(1, loose / 5), "float32 sums in another order; gradients are tested below"


@pytest.mark.parametrize("name", PARITY)
def test_gradients_are_those_of_the_whole_batch(trained, name):
    _, results = trained
    one = results[f"{name}-1"]["gradients"]
    loose = 1e3 if "float16" in name else 1
    for key in {f"{name}-2", f"{name}-4"} & results.keys():
        several = results[key]["gradients"]
        for a, b in zip([one["trunk"], *one["head"]], [several["trunk"], *several["head"]], strict=True):
            assert (a - b).norm() <= 1e-5 * loose * a.norm(), f"{key}: a wrong factor would be off by a half"
            assert a.any() or name == "tricks"


def test_a_run_goes_on_with_the_same_bits(trained):
    _, results = trained
    for key, result in results.items():
        world = key.rpartition("-")[2]
        assert identical(result[f"from {world}"], result["end"]), key
    straight, two = (results[f"moving norms-{world}"]["end"] for world in (1, 2))
    assert not identical(straight, two), "the check can fail"


def test_a_run_goes_on_with_another_number_of_workers(trained):
    folder, results = trained
    for key, before in (
        ("cosface-2", 1),
        ("cosface-4", 2),
        ("whole-4", 2),
        ("tricks-2", 1),
        ("float16-2", 1),
    ):
        result = results[key]
        loose = 50 if "float16" in key else 1
        assert apart(result["end"], result[f"from {before}"], result["start"]) < 1e-2 * max(1, loose / 5), key
    again = begin(folder, "cosface", Workers(), latest_checkpoint(folder / "cosface-4"))
    follow(again, 6)
    one = results["cosface-1"]
    assert apart(one["end"], found(again), one["start"]) < 2e-3


def test_all_leave_out_a_step_that_overflows_for_one(trained):
    folder, _ = trained
    both = [torch.load(folder / f"overflow.{rank}.pt", weights_only=True) for rank in range(2)]
    assert all(b["left_out"] for b in both) and both[0]["scale"] == both[1]["scale"] == 2.0**15
    assert [b["classes"] for b in both] == [2, 3], "each has its share of the classes"


RUN = dict(
    recipe="cosplace",
    data="smoke",
    trunk="test_resnet",
    batch_norm="keep",
    image_size=32,
    dim=16,
    steps=4,
    iterations=10,
    device="cpu",
    loader_workers=0,
    threads=1,
    log_every=1,
    checkpoint_minutes=0.0,
    before=False,
)


def start(out, worlds, **settings):
    "A run by the command line."
    return train(RUN | dict(out=str(out), worlds=str(worlds)) | settings)


def losses(run) -> list:
    "Of all steps that a run has logged."
    return [e["loss"] for e in read_events(run, "step")]


@pytest.fixture(scope="module", params=["cosplace", "gsv"])
def two(tmp_path_factory, request) -> tuple[Path, str]:
    "A folder with drawn photographs, and a run of two workers that nobody disturbs; by which recipe."
    d = tmp_path_factory.mktemp("launched")
    good(start(d / "run", d / "worlds", workers=2, recipe=request.param), 600)
    return d, request.param


def is_worker(pid: int) -> bool:
    "Whether a process is one that the launcher has started."
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"forkserver" in line or b"spawn" in line


def test_a_worker_is_killed(two, tmp_path):
    run, (folder, recipe) = tmp_path / "run", two
    p = start(run, folder / "worlds", workers=2, recipe=recipe)
    while steps(run) < 5:
        assert p.poll() is None, finish(p)[2][-3000:]
        time.sleep(0.02)
    os.kill(max(filter(is_worker, descendants(p.pid))), signal.SIGKILL)
    at = steps(run)
    good(p, 600)
    assert at < 40, "it was killed on the way"
    assert same(final(run), final(folder / "run")) and losses(run) == losses(folder / "run")


def test_the_launched_end_as_one_does(two, tmp_path):
    folder, recipe = two
    good(start(tmp_path / "run", folder / "worlds", workers=1, recipe=recipe), 600)
    one, both = losses(tmp_path / "run"), losses(folder / "run")
    assert len(one) == len(both) == 40 and one == pytest.approx(both, rel=1e-2)
    (a, b) = (read_events(run, "test")[-1]["recall"]["1"] for run in (tmp_path / "run", folder / "run"))
    assert abs(a - b) < 0.1


def test_settings_of_workers():
    with pytest.raises(
        ValueError, match="batch_size=8: 3 workers cannot share it evenly; use a multiple of 3"
    ):
        configure(**RUN | dict(batch_size=8, workers=3))
    many = configure(**RUN | dict(batch_size=12, workers=2, nodes=3, rendezvous="node1:29400"))
    assert many.launch.workers * many.launch.nodes == 6 and configure(**RUN).launch.workers == 0


def test_gpus_that_share_a_batch(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 6)
    most = {batch: configure(**RUN | dict(batch_size=batch)).most_workers() for batch in (8, 32, 36, 7)}
    assert most == {8: 4, 32: 4, 36: 6, 7: 1}

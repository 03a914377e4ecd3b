"""Files under attack: full disks, writers that are killed, contents from anyone, many processes at once.

Each attack is made once or a few times; ATTACKS=20 in the environment makes it twenty times as often.
"""

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import begin, finish, settings_on_line

from landmark_nb.config import to_flat

TIMES = int(os.environ.get("ATTACKS", "1"))


# What is written, by a process of its own: a full disk may kill it

WRITERS = """
import errno, json, os, resource, shutil, signal, sys, types
from pathlib import Path
import numpy as np, torch
from torch import nn

folder, photographs = Path(sys.argv[2]), sys.argv[3]
torch.manual_seed(0)

class Wide(nn.Module):
    "A descriptor of 8,192 numbers, the same for all: 300 of them take 10 MB."
    def forward(self, x):
        return torch.ones(len(x), 8192)

def extract():
    from landmark_nb.data.layouts.folder import read_folder
    from landmark_nb.search.extract import extract
    extract(Wide(), read_folder(photographs), 8, folder / "store", progress=False)

def join():
    from landmark_nb.search.ensemble import combine_stores
    from landmark_nb.search.store import MARK
    store = types.SimpleNamespace(path=Path("a"), ids=[str(i) for i in range(300)], meta={}, complete=True)
    store.vectors, store.marks = np.ones((300, 8192), np.float32), np.zeros(300, MARK)
    combine_stores([store], path=folder / "joined", dtype="float32")

def model():
    from landmark_nb.models.embed import Embedder, ModelConfig, save_model
    save_model(Embedder(ModelConfig("tf_efficientnet_lite0", "none", 512, 0)), folder / "best.safetensors")

def head():
    from landmark_nb.challenge.heads import save_head
    save_head(folder, types.SimpleNamespace(centers=torch.ones(4096, 1, 512)), [str(i) for i in range(4096)])

def checkpoint():
    from landmark_nb.models.embed import Embedder, ModelConfig
    from landmark_nb.train.checkpoint import save_checkpoint
    from landmark_nb.train.state import OptimConfig, new_state
    state = new_state(Embedder(ModelConfig("tf_efficientnet_lite0", "none", 512, 0)), OptimConfig())
    save_checkpoint(state, folder / "checkpoints", {})

def report():
    from landmark_nb.viz.report import Section, write_report
    write_report(folder / "report.html", "A", "b", [], [Section("c", "d", "<p>" + 8_000_000 * "x" + "</p>")])

def shards():
    from landmark_nb.data.shards import place_groups
    place_groups(photographs, folder / "placed", M=20.0, alpha=90.0, N=1, L=1, min_images=1, progress=False)

def drawn():
    from landmark_nb.data.drawn.city import WorldConfig, write_world
    write_world(WorldConfig(), folder / "worlds", 1, False)

"""
# a process does all that it is named, each in a folder of its own, and says of each what it was refused
REFUSED = """
def refused(name):
    global folder
    base, folder = folder, folder / name
    folder.mkdir()
    try:
        globals()[name]()
        print(json.dumps([name, "", "", []]), flush=True)
    except OSError as e:
        odd = {*folder.rglob(".*"), *folder.rglob("*.npy"), *folder.rglob("*.safetensors")}
        left = sorted(map(str, odd))
        print(json.dumps([name, errno.errorcode[e.errno], str(e), left]), flush=True)
    shutil.rmtree(folder)
    folder = base

for name in sys.argv[1].split(","):
    refused(name)
"""
LIMITED = f"""
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
{REFUSED}
"""
NO_SPACE = f"""
def refuse(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.posix_fallocate = refuse
{REFUSED}
"""
DO = """
for name in sys.argv[1].split(","):
    globals()[name]()
"""
KILLED = f"""
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = kill  # all is written then, and nothing has its name
{DO}
"""
KILLED_IN_SHARD = f"""
import tarfile
add, added = tarfile.TarFile.addfile, []
def kill(*args):
    add(*args)
    added.append(1)
    if len(added) == 100:
        os.kill(os.getpid(), signal.SIGKILL)
tarfile.TarFile.addfile = kill
{DO}
"""
WRITTEN = dict(  # what each writer writes, as it is called in a message
    extract="store/vectors.npy",
    join="joined/vectors.npy",
    model="best.safetensors",
    head="head-000-of-001.safetensors",
    checkpoint="checkpoints",
    report="report.html",
    shards="placed/group-00000",
)


def write(how: str, what: str, folder: Path, photographs: Path = Path()):
    "Start a process that writes."
    return begin(["-c", WRITERS + how, what, folder, photographs])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    "300 photographs of noise at one corner of a street, 5 MB."
    folder, r = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for i in range(300):
        name = f"@{500000 + i % 9:.2f}@{4_000_000:.2f}@10@S@@@@@{10.0:.1f}@@@@{i}@@.png"
        Image.fromarray(r.integers(0, 255, (75, 75, 3), dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    "A disk of 4 MB."
    folder = tmp_path_factory.mktemp("disk")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no disk can be mounted here: {made.stderr.strip() or 'mount failed'}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def check_refusals(process, names: dict, folder: Path, code: str):
    "What the system refuses is an error that names the file, and nothing half-made is left."
    code_of_process, out, err = finish(process)
    assert code_of_process == 0, (code_of_process, out, err[-2000:])
    said = {name: rest for name, *rest in map(json.loads, out.splitlines())}
    assert list(said) == list(names)
    for name, (number, message, left) in said.items():
        assert number == code and f"{folder / name / names[name]}" in message, (name, message)
        assert "bytes are free" in message and "free some space" in message.lower(), message
        assert left == [], (name, left)
        if name in ("extract", "join"):
            assert "it needs 9,830,528 bytes" in message, message
        print(message)


def test_a_full_disk(small_disk, photographs):
    everything = WRITTEN | dict(drawn="worlds")
    process = write(REFUSED, ",".join(everything), small_disk, photographs)
    check_refusals(process, everything, small_disk, "ENOSPC")


def test_files_that_may_not_grow(tmp_path, photographs):
    check_refusals(write(LIMITED, ",".join(WRITTEN), tmp_path, photographs), WRITTEN, tmp_path, "EFBIG")


def test_space_that_is_refused(tmp_path, photographs):
    stores = {name: WRITTEN[name] for name in ("extract", "join")}
    check_refusals(write(NO_SPACE, ",".join(stores), tmp_path, photographs), stores, tmp_path, "ENOSPC")


# Killed while writing


def parts(folder: Path) -> int:
    "Bytes of unfinished files below a folder."
    files = {f for p in folder.rglob(".*") if "part" in p.name for f in [p, *p.rglob("*")] if f.is_file()}
    return sum(f.stat().st_size for f in files)


def test_what_a_killed_writer_leaves_is_cleared_by_the_next(tmp_path, photographs):
    names = ("model", "head", "checkpoint", "report", "shards")
    for name in names:
        how = KILLED_IN_SHARD if name == "shards" else KILLED
        code, _, err = finish(write(how, name, tmp_path / name, photographs))
        assert code == -signal.SIGKILL, err[-2000:]
        size = parts(tmp_path / name)
        assert size > 500_000 and not (tmp_path / name / WRITTEN[name]).is_file()
        print(f"{name}: {size:,} bytes were left")
    again = (
        "base = folder\nfor name in sys.argv[1].split(','):\n    folder = base / name\n    globals()[name]()"
    )
    code, _, err = finish(write(again, ",".join(names), tmp_path, photographs))
    assert code == 0, err[-2000:]
    assert not list(tmp_path.rglob(".*")) and all((tmp_path / n / WRITTEN[n]).exists() for n in names)


def test_a_model_is_whole_whenever_its_writer_is_killed(tmp_path):
    from landmark_nb.models.embed import load_model

    again = "print('begun', flush=True)\nwhile True:\n    model()\n    print('saved', flush=True)"
    for _ in range(5 * TIMES):
        process = write(again, "model", tmp_path)
        while "saved" not in process.stdout.readline():
            assert process.poll() is None, finish(process)[2][-2000:]
        time.sleep(random.random() * 0.3)
        process.kill()
        process.communicate()
        assert load_model(tmp_path / "best.safetensors").dim == 512
        assert len([p for p in tmp_path.iterdir() if p.name.startswith(".")]) <= 1, "of the last one alone"
    assert finish(write(DO, "model", tmp_path))[0] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]


def test_modes_follow_the_umask(tmp_path, photographs):
    masks, names = (0o022, 0o077, 0o002), ("extract", "model", "head", "checkpoint", "report", "shards")
    how = """
base = folder
for mask in sys.argv[1].split(","):
    folder = base / mask
    os.umask(int(mask, 8))
    for name in NAMES:
        globals()[name]()
""".replace("NAMES", repr(names))
    code, _, err = finish(write(how, ",".join(f"{mask:03o}" for mask in masks), tmp_path, photographs))
    assert code == 0, err[-2000:]
    for mask in masks:
        files = [f for f in (tmp_path / f"{mask:03o}").rglob("*") if f.is_file()]
        modes = {f.name: f"{stat.S_IMODE(f.stat().st_mode):o}" for f in files}
        assert len(files) > 10 and set(modes.values()) == {f"{0o666 & ~mask:o}"}, modes


# Contents from anyone

DEEP = "[" * 100_000
ODD = {  # what stands in the place of a file
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "text": b'"abc"',
    "nothing": b"",
    "half of it": b'{"step": 1, "kind"',
    "no numbers": b'{"step": 1e400, "seconds": NaN, "n": -Infinity}',
    "nested deeply": DEEP.encode(),
    "nested objects": b'{"a":' * 100_000,
    "digits": b"9" * 100_000,
    "not UTF-8": b'{"recipe": "\xff\xfe"}',
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "zeros": bytes(1000),
}
LARGE = 100 << 20
PLACES = ("a folder", "a pipe", "100 MB", "no right to read")  # and what is no content


def put(path: Path, what: str):
    "Put something odd in the place of a file."
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "100 MB":
        path.write_bytes(b"[" * LARGE)
    elif what == "no right to read":
        path.write_bytes(b"{}")
        path.chmod(0)
    else:
        path.write_bytes(ODD[what])


def save_small_model(path: Path):
    from landmark_nb.models.embed import Embedder, ModelConfig, save_model

    save_model(Embedder(ModelConfig("test_resnet", "none", 8, 0)), path)


def read_config(d: Path):
    from landmark_nb.log import config_of

    return config_of(d)


def read_run_folder(d: Path):
    from landmark_nb.runs.folder import RunFolder

    return RunFolder(d, SETTINGS)


def read_state(d: Path):
    from landmark_nb.train.checkpoint import load_checkpoint

    return load_checkpoint(None, d, {})


def read_placed(d: Path):
    from landmark_nb.data.shards import read_shards

    return read_shards(d, [0])


def read_store(d: Path):
    from landmark_nb.search.store import Store

    store = Store(d)
    return store.ids, store.complete


def read_model(d: Path):
    from landmark_nb.models.embed import load_model

    return load_model(d / "best.safetensors")


def read_head(d: Path):
    from landmark_nb.challenge.heads import load_head

    return load_head(d)


def read_memory(d: Path):
    from landmark_nb.challenge.members import load_member

    return load_member(str(d))


def read_log(d: Path):
    from landmark_nb.log import Tail, read_events

    tail = Tail(d / "metrics.jsonl")
    while tail.read()[0]:
        pass
    return read_events(d)


def read_comparison(d: Path):
    from landmark_nb.compare import summary

    return summary(d)


def read_report(d: Path):
    from landmark_nb.viz.report import summary_section

    return summary_section(d / "report.html", d)


def read_failure(d: Path):
    from landmark_nb.train.launch import raise_failure

    return raise_failure(d, "a launch that has not failed")


READERS = {  # file -> who reads it
    "config.json": read_config,
    "config.json ": read_run_folder,
    "state.json": read_state,
    "placement.json": read_placed,
    "classes.parquet": read_placed,
    "group-00000/index.parquet": read_placed,
    "meta.json": read_store,
    "marks.npy": read_store,
    "vectors.npy": read_store,
    "ids.txt": read_store,
    "best.safetensors": read_model,
    "head-000-of-001.safetensors": read_head,
    "trained.json": read_memory,
    "metrics.jsonl": read_log,
    "metrics.jsonl ": read_comparison,
    "report.json": read_report,
    ".failed.json": read_failure,
}
SETTINGS = dict(recipe="cosplace", groups=4, seed=0)
EVALUATION = dict(kind="eval", step=1, images=8, seconds=1.0, recall={"1": 0.25, "5": 0.5})


@pytest.fixture(scope="module")
def whole(tmp_path_factory, photographs) -> Path:
    "A folder with one good file of each kind."
    d = tmp_path_factory.mktemp("whole")
    code, _, err = finish(write(DO, "extract,head,shards", d, photographs))
    assert code == 0, err[-2000:]
    for part in ("store", "placed"):
        shutil.copytree(d / part, d, dirs_exist_ok=True)
    save_small_model(d / "best.safetensors")
    state = dict(step=1, seconds=1.0, best={}, groups=[], config={}, scaler={})
    for name, value in {
        "config.json": SETTINGS,
        "state.json": state,
        "trained.json": dict(folds="", fold=-1, size=48, mirror=False, before=[], photographs=1),
        "metrics.jsonl": EVALUATION,
        "report.json": dict(title="Run", lead="", cards=[["25 %", "R@1"]]),
        ".failed.json": dict(run="a launch", kind="ValueError", message="no", rank=0),
    }.items():
        (d / name).write_text(json.dumps(value) + "\n")
    (d / "report.html").touch()
    return d


@contextlib.contextmanager
def within(seconds: int):
    "Fail if the block takes longer: a pipe must not be waited for."

    def too_long(*_):
        raise AssertionError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak() -> int:
    "The most memory that this process has had, in MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


@pytest.mark.parametrize("name", READERS)
def test_whatever_stands_in_the_place_of_a_file_is_named(whole, tmp_path, name):
    file, reader = name.strip(), READERS[name]
    d = tmp_path / "d"
    shutil.copytree(whole, d)
    if file != "state.json":
        reader(d)  # the whole one is read
    before = peak()
    for what in [*ODD, *PLACES]:
        if what == "no right to read" and os.getuid() == 0:
            continue
        put(d / file, what)
        with within(60):
            try:
                reader(d)
            except (ValueError, OSError) as e:
                assert str(d) in str(e), f"{what}: {e}"
                assert Path(file).name in str(e) or reader is read_run_folder, f"{what}: {e}"
                assert len(str(e)) < 2000, f"{what}: {len(str(e))} characters"
            else:
                assert (name, what) in TAKEN, f"{what} was taken for a good {file}"
    assert peak() - before < 900, "what it reads is bounded"


TAKEN = {("metrics.jsonl", what) for what in [*ODD, "100 MB"]}  # lines that are passed over


# Fields of any type

VALUES = [[], {}, None, True, -1, 7, 10**30, 1.5, 1e400, "", "7", "abc", [1, "2"], [[[]]], {"a": {"b": []}}]


def with_field(value, path: tuple, new):
    "A copy of nested objects with another value at a path."
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_field(copy[path[0]], path[1:], new)
    return copy


def paths(value, at: tuple = ()) -> list[tuple]:
    "The paths to all values in nested objects and lists."
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [p for name, v in inner for p in paths(v, (*at, name))]


JSON_FILES = [
    "config.json",
    "config.json ",
    "state.json",
    "placement.json",
    "meta.json",
    "trained.json",
    "metrics.jsonl ",
    "report.json",
    ".failed.json",
]


@pytest.mark.parametrize("name", JSON_FILES)
def test_any_field_may_be_of_any_type(whole, tmp_path, name):
    file, reader = name.strip(), READERS[name]
    d = tmp_path / "d"
    shutil.copytree(whole, d)
    good, refused, taken = json.loads((d / file).read_text()), 0, 0
    for path in paths(good):
        for new in VALUES:
            (d / file).write_text(json.dumps(with_field(good, path, new)))
            with within(60):
                try:
                    reader(d)
                    taken += 1
                except (ValueError, FileNotFoundError) as e:
                    refused += 1
                    assert str(d) in str(e) or d.name in str(e), f"{path} = {new!r}: {e}"
                except AttributeError as e:
                    assert file == "state.json" and "NoneType" in str(e), (
                        f"{path} = {new!r}"
                    )  # no state to fill
                    taken += 1
    assert refused > 10
    print(f"{file}: {refused} refused, {taken} taken")


@pytest.mark.parametrize("name", ["best.safetensors", "head-000-of-001.safetensors", "classes.parquet"])
def test_files_that_are_torn_or_flipped(whole, tmp_path, name):
    d, r = tmp_path / "d", random.Random(name)
    shutil.copytree(whole, d)
    data = (d / name).read_bytes()
    refused = 0
    for i in range(60 * TIMES):
        odd = bytearray(data)
        if i % 2:
            del odd[r.randrange(len(odd)) :]
        else:
            for _ in range(r.choice([1, 4, 64])):
                odd[r.randrange(min(len(odd), r.choice([64, 4096, len(odd)])))] = r.randrange(256)
        (d / name).write_bytes(odd)
        with within(60):
            try:
                READERS[name](d)
            except (ValueError, OSError) as e:
                refused += 1
                assert str(d) in str(e), e
    assert refused >= 30 * TIMES
    print(f"{name}: {refused} of {60 * TIMES} refused")


def test_a_header_that_asks_for_terabytes(tmp_path):
    from safetensors.torch import load_file

    from landmark_nb.core import save_tensors
    from landmark_nb.models.embed import ModelConfig, load_model

    file = tmp_path / "m.safetensors"
    save_small_model(file)
    weights, before = load_file(file), peak()
    settings = to_flat(ModelConfig("test_vit", "none", 8, 0))
    for change in (
        dict(dim=10**9),
        dict(dim=10**18),
        dict(dim=10**30),
        dict(input_size=10**6),
        dict(input_size=10**12),
        dict(trunk="vit_giant_patch14_dinov2", dim=10**7),
        dict(freeze=10**9),
    ):
        save_tensors(file, weights, {"model": json.dumps(settings | change)})
        with pytest.raises(ValueError, match="m.safetensors"), within(60):
            load_model(file)
    assert peak() - before < 500


# Many processes, one store

START = """
import sys, time
from pathlib import Path
from landmark_nb.search import extract as e
from landmark_nb.data.layouts.folder import read_folder
import torch

class Ones(torch.nn.Module):
    def forward(self, x):
        return torch.ones(len(x), 256)

d, photographs, times = Path(sys.argv[1]), read_folder(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
for i in range(times):
    while not (d / f"go-{i}").exists():
        time.sleep(0.001)
    try:
        e.extract(Ones(), photographs, 8, d / f"store-{i}", progress=False)
        print("done", flush=True)
    except ValueError as error:
        print(error, flush=True)
"""


def test_twelve_processes_start_on_one_store(tmp_path, photographs):
    from landmark_nb.search.store import Store

    times, told = 5 * TIMES, []
    twelve = [begin(["-c", START, tmp_path, photographs, times]) for _ in range(12)]
    try:
        assert {p.stdout.readline() for p in twelve} == {"ready\n"}
        for i in range(times):
            (tmp_path / f"go-{i}").touch()
            said = [p.stdout.readline() for p in twelve]
            assert all(said), f"{said.count('')} of 12 ended at start {i}"
            told += [x for x in said if x != "done\n"]
            assert (Store(tmp_path / f"store-{i}").vectors == 1).all()
    finally:
        for p in twelve:
            p.kill()
        errors = [p.communicate()[1][-500:] for p in twelve]
        print(*filter(None, errors))
    assert all("is being filled by another process (" in x for x in told), told
    print(f"{12 * times} starts: {len(told)} were told who is filling the store, none failed")


def test_a_file_system_without_locks(tmp_path, monkeypatch, photographs):
    import fcntl

    from landmark_nb.data.shards import place_groups
    from landmark_nb.runs.folder import RunFolder
    from landmark_nb.search.store import create_store

    for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, 0):

        def refuse(*_, number=number):
            if number:  # else the lock is granted, to everybody
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refuse)
        for attempt in (
            lambda: RunFolder(tmp_path / "run", dict(recipe="x")).start(),
            lambda: create_store(tmp_path / "store", ["a"], 2, {}),
            lambda: place_groups(photographs, tmp_path / "placed", N=1, L=1, min_images=1, progress=False),
        ):
            with pytest.raises(OSError, match="grants no locks.*another file system") as e:
                attempt()
            assert str(tmp_path) in str(e.value)


NO_LOCKS = """
import errno, fcntl, os, sys

def flock(*_):
    if sys.argv[1] != "granted":
        number = getattr(errno, sys.argv[1])
        raise OSError(number, os.strerror(number))

fcntl.flock = flock
from landmark_nb.__main__ import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize("refused", ["ENOLCK", "EOPNOTSUPP", "granted"])
def test_a_run_where_locks_are_refused_or_granted_to_everybody(smoke_run, tmp_path, refused):
    run, worlds = tmp_path / "run", smoke_run.recipe.run.worlds
    settings = dict(data="smoke", out=run, worlds=worlds, device="cpu", loader_workers=0)
    code, _, err = finish(begin(["-c", NO_LOCKS, refused, "train", *settings_on_line(settings)]))
    said = err.strip().splitlines()[-1]
    assert code == 1 and f"{run / 'run.lock'}: this file system grants no locks (" in said
    assert "Mount it with locks" in said and said.endswith("or choose a folder on another file system")
    assert not (run / "config.json").exists() and not (run / "checkpoints").exists(), "nothing was begun"


# A whole run that has lost something


@pytest.fixture
def copied_run(smoke_run, tmp_path):
    "A finished run that may be spoilt, and its recipe."
    from landmark_nb.config import from_flat

    shutil.copytree(smoke_run.path, tmp_path / "run")
    return from_flat(smoke_run.recipe, dict(out=str(tmp_path / "run"))), tmp_path / "run"


def last_of(run: Path) -> Path:
    from landmark_nb.train.checkpoint import latest_checkpoint

    return latest_checkpoint(run / "checkpoints")


def lose_best(run: Path):
    (run / "best.safetensors").unlink()


def lose_state(run: Path):
    (last_of(run) / "state.json").unlink()


def lose_groups(run: Path):
    state = last_of(run) / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | dict(groups=[])))


def lose_head(run: Path):
    next(last_of(run).glob("group-*")).unlink()


def spoil_state(run: Path):
    (last_of(run) / "state.json").write_text("[]")


def spoil_config(run: Path):
    (run / "config.json").write_text(DEEP)


LOSSES = {
    lose_best: "best.safetensors: no such file.*put the file back",
    lose_state: "has no state.json, so it is no whole checkpoint",
    lose_groups: r"groups are \[\], but the files there are of the groups",
    lose_head: "but the files there are of the groups",
    spoil_state: "state.json: not usable",
    spoil_config: "config.json is not readable as JSON: it is nested too deeply",
}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda f: f.__name__)
def test_what_a_run_has_lost_is_said_before_anything_is_done(copied_run, lose):
    from landmark_nb.experiments import run

    recipe, folder = copied_run
    lose(folder)
    shown = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    with pytest.raises((ValueError, FileNotFoundError), match=LOSSES[lose]) as e:
        run(recipe, progress=False)
    assert "free some space" not in str(e.value)
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == shown, "nothing was written"

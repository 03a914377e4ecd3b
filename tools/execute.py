"""Notebooks run, each in its own folder and in a process of its own, without a network.

What ran is kept until the notebook, the library, or the results that notebooks read change.
"""

import asyncio
import configparser
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from tools.markdown import PageError
from tools.outputs import ANSI
from tools.pages import Notebook, directives

TIMEOUT, WORKERS = 600, 2  # seconds for a cell; notebooks at a time
SKIPPED = "skip-execution"  # tag of cells that are shown but not run


def fingerprint(nb: Notebook) -> str:
    "Of all that a notebook's outputs follow from: its cells, the library, and the results that it may read."
    files = [
        *sorted((nb.root / "landmark_nb").rglob("*.py")),
        *sorted(nb.path.parent.glob("*.json")),
        *sorted((nb.root / "benchmarks/results").glob("*.json")),
    ]
    cells = [[cell.cell_type, cell.source] for cell in nb.cells]
    digest = hashlib.sha256(json.dumps(cells).encode())
    for file in files:
        digest.update(f"{file.relative_to(nb.root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def left_out(root: Path) -> set:
    "Directives of cells that are shown but not run: nbdev's, and those that tests leave out."
    settings = configparser.ConfigParser(delimiters=["="], interpolation=None)
    settings.read(root / "settings.ini")
    return {"eval: false"} | set(settings.get("DEFAULT", "tst_flags", fallback="").split())


def reason(error: Exception) -> str:
    "Why a notebook did not run to its end."
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {ANSI.sub('', error.evalue)}"
    if isinstance(error, CellTimeoutError):
        return f"no answer after {TIMEOUT} s"
    return str(error) if type(error) is RuntimeError else "its process died"


def client_of(nb: Notebook, run, sockets: str, note: Callable):
    "What runs a notebook; `sockets`: a folder, so that there is no port that others could read."
    from nbclient import NotebookClient
    from traitlets.config import Config

    return NotebookClient(
        run,
        coalesce_streams=True,
        config=Config(KernelManager=dict(transport="ipc", ip=f"{sockets}/k")),
        timeout=TIMEOUT,
        kernel_name="python3",
        skip_cells_with_tag=SKIPPED,
        resources=dict(metadata=dict(path=str(nb.path.parent))),
        on_cell_start=note,
    )


async def execute(nb: Notebook, skip: set, sockets: str):
    "The notebook with outputs. Raises `PageError` naming cell and error."
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    run, at = nbformat.read(nb.path, 4), [0]
    for cell in run.cells:
        if cell.cell_type == "code" and directives(cell.source)[0] & skip:
            cell.metadata.setdefault("tags", []).append(SKIPPED)

    def note(cell, cell_index):
        at[0] = cell_index

    path = os.pathsep.join(filter(None, [str(nb.root), os.environ.get("PYTHONPATH")]))
    env = os.environ | dict(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", PYTHONPATH=path)
    try:
        await client_of(nb, run, sockets, note).async_execute(env=env)
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as e:
        lines = directives(run.cells[at[0]].source)[1].splitlines()[:12]
        source = "\n".join(f"    | {line}" for line in lines)
        raise PageError(f"{nb.rel}, cell {at[0]}: {reason(e)}\n{source}") from e
    for cell in run.cells:
        cell.metadata.pop("execution", None)
    return run


class Executions:
    "Executed notebooks by path, from a cache where nothing has changed. All are tried, also after a failure."

    def __init__(
        self,
        notebooks: list[Notebook],
        cache: Path,
        say: Callable = print,  # told of each notebook that ran
    ):
        self.notebooks, self.cache, self.say = notebooks, cache, say
        self.done, self.failed, self.todo = {}, [], []
        for nb in notebooks:
            kept = self.kept(nb)
            if kept is None:
                self.todo.append(nb)
            else:
                self.done[nb.rel] = kept

    def kept(self, nb: Notebook):
        "The notebook as it ran last, if it would run the same now."
        file = self.cache / nb.rel
        run = nbformat.read(file, 4) if file.is_file() else None
        return run if run and run.metadata.get("site_key") == fingerprint(nb) else None

    def keep(self, nb: Notebook, run, key: str):
        "Write a notebook into the cache."
        run.metadata["site_key"] = key
        file = self.cache / nb.rel
        file.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(run, part := file.with_suffix(f".{os.getpid()}"))
        part.replace(file)

    async def one(self, nb: Notebook, skip: set) -> str:
        "Run a notebook; returns a word about a failure."
        key = fingerprint(nb)
        try:
            with tempfile.TemporaryDirectory() as sockets:
                run = await execute(nb, skip, sockets)
        except PageError as e:
            self.failed.append(str(e))
            return "FAILED "
        self.keep(nb, run, key)
        self.done[nb.rel] = run
        return ""

    async def run(self) -> dict:
        "Run what is not in the cache. Raises `PageError` naming all that failed."
        if self.done:
            self.say(f"{len(self.done)} notebooks as they were")
        gate, skip = asyncio.Semaphore(WORKERS), left_out(self.notebooks[0].root) if self.notebooks else set()
        began, finished = time.monotonic(), 0

        async def gated(nb: Notebook):
            nonlocal finished
            async with gate:
                start = time.monotonic()
                word = await self.one(nb, skip)
            finished += 1
            now = time.monotonic()
            left = (len(self.todo) - finished) * (now - began) / finished / 60
            seconds = f"{now - start:.0f} s; {60 * finished / (now - began):.1f} notebooks a minute"
            self.say(f"{finished:3}/{len(self.todo)} {word}{nb.rel} {seconds}, {left:.0f} min left")

        await asyncio.gather(*map(gated, self.todo))
        if self.failed:
            total = len(self.notebooks)
            raise PageError(f"{len(self.failed)} of {total} notebooks failed:\n\n" + "\n\n".join(self.failed))
        return self.done


def execute_all(notebooks: list[Notebook], cache: Path, say: Callable = print) -> dict:
    "`Executions.run`, in a loop of its own also where the caller has one."
    with ThreadPoolExecutor(1) as own:
        return own.submit(asyncio.run, Executions(notebooks, cache, say).run()).result()

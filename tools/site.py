"""The documentation site: `python -m tools.site` runs every notebook and builds `_site/`, without a network.

    --no-exec       no outputs: a quick look at pages and links
    --only PATTERN  run only notebooks whose path matches the pattern; the others' pages come without outputs
    --draft         pages that the navigation names and pictures may be missing, and links broken
    --out FOLDER    instead of _site/

What is in the navigation, and in which order, stands in mkdocs.yml. Executed notebooks are kept in `_proc/_executed/`
(nbdev_docs owns `_proc`, and Quarto leaves folders with an underscore alone) until a notebook, the library or the
results that notebooks read change.
"""

import argparse
import asyncio
import configparser
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from tools.pages import ANSI, Notebook, PageError, Site, directives

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
TIMEOUT, WORKERS = 600, 2


# Running


def fingerprint(nb: Notebook) -> str:
    "Of all that a notebook's outputs follow from: its cells, the library, and the results that it may read."
    files = [
        *sorted((nb.root / "landmark_nb").rglob("*.py")),
        *sorted(nb.path.parent.glob("*.json")),
        *sorted((nb.root / "benchmarks/results").glob("*.json")),
    ]
    h = hashlib.sha256(json.dumps([[c.cell_type, c.source] for c in nb.cells]).encode())
    for f in files:
        h.update(f"{f.relative_to(nb.root)}\0".encode() + f.read_bytes())
    return h.hexdigest()


def left_out(root: Path) -> set:
    "Directives of cells that are shown but not run: nbdev's, and those that tests leave out."
    cfg = configparser.ConfigParser(delimiters=["="], interpolation=None)
    cfg.read(root / "settings.ini")
    return {"eval: false"} | set(cfg.get("DEFAULT", "tst_flags", fallback="").split())


async def execute(nb: Notebook, skip: set, sockets: str):
    "The notebook with outputs, run in its own folder in a process of its own. Raises `PageError` naming cell and error."
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    run, at = nbformat.read(nb.path, 4), [0]
    for c in run.cells:
        if c.cell_type == "code" and directives(c.source)[0] & skip:
            c.metadata.setdefault("tags", []).append("skip-execution")

    def note(cell, cell_index):
        at[0] = cell_index

    client = NotebookClient(
        run,
        coalesce_streams=True,
        config=Config(KernelManager=dict(transport="ipc", ip=f"{sockets}/k")),
        timeout=TIMEOUT,
        kernel_name="python3",
        skip_cells_with_tag="skip-execution",
        resources=dict(metadata=dict(path=str(nb.path.parent))),
        on_cell_start=note,
    )
    env = os.environ | dict(
        OMP_NUM_THREADS="1",
        HF_HUB_OFFLINE="1",
        PYTHONPATH=os.pathsep.join(filter(None, [str(nb.root), os.environ.get("PYTHONPATH")])),
    )
    try:
        await client.async_execute(env=env)
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as e:
        why = (
            str(e)
            if type(e) is RuntimeError
            else f"{e.ename}: {ANSI.sub('', e.evalue)}"
            if isinstance(e, CellExecutionError)
            else f"no answer after {TIMEOUT} s"
            if isinstance(e, CellTimeoutError)
            else "its process died"
        )
        cell = directives(run.cells[at[0]].source)[1]
        raise PageError(
            f"{nb.rel}, cell {at[0]}: {why}\n" + "\n".join("    | " + l for l in cell.splitlines()[:12])
        ) from e
    for c in run.cells:
        c.metadata.pop("execution", None)
    return run


async def execute_all(notebooks: list, cache: Path, say=print) -> dict:
    "Executed notebooks by path, from the cache where nothing has changed. All are tried; then the failed ones are named."
    done, todo, failed, began = {}, [], [], time.monotonic()
    for nb in notebooks:
        file, key = cache / nb.rel, fingerprint(nb)
        kept = nbformat.read(file, 4) if file.is_file() else None
        if kept and kept.metadata.get("site_key") == key:
            done[nb.rel] = kept
        else:
            todo.append((nb, file, key))
    if done:
        say(f"{len(done)} notebooks as they were")
    gate, skip, finished = asyncio.Semaphore(WORKERS), left_out(notebooks[0].root) if notebooks else set(), 0

    async def one(nb, file, key):
        nonlocal finished
        async with gate:
            start = time.monotonic()
            try:
                with tempfile.TemporaryDirectory() as sockets:
                    run = await execute(nb, skip, sockets)  # no port that others could read
                run.metadata["site_key"] = key
                file.parent.mkdir(parents=True, exist_ok=True)
                nbformat.write(run, part := file.with_suffix(f".{os.getpid()}"))
                part.replace(file)
                done[nb.rel], word = run, ""
            except PageError as e:
                failed.append(str(e))
                word = "FAILED "
        finished += 1
        pace = finished / (time.monotonic() - began)
        say(
            f"{finished:3}/{len(todo)} {word}{nb.rel} {time.monotonic() - start:.0f} s; {60 * pace:.1f} notebooks a minute, {(len(todo) - finished) / pace / 60:.0f} min left"
        )

    await asyncio.gather(*(one(*t) for t in todo))
    if failed:
        raise PageError(f"{len(failed)} of {len(notebooks)} notebooks failed:\n\n" + "\n\n".join(failed))
    return done


# Building


def leaves(nav) -> list:
    "Pages of a navigation, in its order."
    if isinstance(nav, str):
        return [nav]
    return [p for item in (nav.values() if isinstance(nav, dict) else nav) for p in leaves(item)]


def without(nav, missing: set):
    "The navigation less some pages, and less sections that hold none."
    if isinstance(nav, str):
        return None if nav in missing else nav
    if isinstance(nav, dict):
        return {k: v for k, w in nav.items() if (v := without(w, missing))} or None
    return [v for w in nav if (v := without(w, missing))]


def build(
    root: Path = ROOT,
    out: Path | None = None,
    source: Path | None = None,
    execute: bool = True,
    only: str = "",
    draft: bool = False,
    say=print,
) -> Path:
    "Build the site. Raises `PageError` naming the page and what is wrong with it."
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort
    from mkdocs.plugins import BasePlugin

    out, source = Path(out or root / "_site"), Path(source or root / "site_src")
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True, exist_ok=True)
    site = Site(root, source, {k: v for k, v in DOCUMENTS.items() if (root / k).is_file()}, draft)
    cfg = load_config(str(root / "mkdocs.yml"), docs_dir=str(source), site_dir=str(out), strict=not draft)
    there, named = (
        {nb.page for nb in site.notebooks} | set(site.documents.values()) | {"api.md"},
        set(leaves(cfg.nav)),
    )
    lost, gone = sorted(nb.rel for nb in site.notebooks if nb.page not in named), sorted(named - there)
    for what, these in (
        ("these notebooks are not in the navigation of mkdocs.yml: ", lost),
        ("mkdocs.yml names pages that do not exist: ", gone),
    ):
        if these and not draft:
            raise PageError(what + ", ".join(these))
        if these:
            say(what + ", ".join(these))
    cfg.nav = without(cfg.nav, set(gone))

    ran, bad = {}, []
    if execute:
        with ThreadPoolExecutor(1) as own:  # a loop of its own, also where the caller has one
            ran = own.submit(
                asyncio.run,
                execute_all(
                    [nb for nb in site.notebooks if re.search(only, nb.rel)], root / "_proc/_executed", say
                ),
            ).result()
    pages = {nb.page: (lambda nb=nb: site.convert(nb, ran.get(nb.rel))) for nb in site.notebooks} | {
        to: (lambda rel=rel: site.file(rel)) for rel, to in site.documents.items()
    }
    for page, make in (pages | {"benchmarks.md": site.benchmarks, "api.md": site.overview}).items():
        if page == "benchmarks.md" and page not in pages:
            continue
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        try:
            (source / page).write_text(make(), encoding="utf-8")
        except PageError as e:
            bad.append(str(e))
    if bad:
        raise PageError("\n".join(bad))
    assets = source / "assets"
    shutil.copytree(root / "tools/site", assets, dirs_exist_ok=True)
    from plotly.offline import get_plotlyjs

    (assets / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")

    class Outputs(BasePlugin):
        def on_page_content(self, html, page, **_):
            return site.fill(html, page.file.src_uri)

    cfg.plugins["outputs"] = Outputs()
    warned = Warned()
    log = logging.getLogger("mkdocs")
    log.addHandler(warned)
    try:
        mkdocs_build(cfg)
    except Abort as e:
        raise PageError("\n".join(warned.said) or str(e)) from e
    finally:
        log.removeHandler(warned)
    for w in warned.said:
        say("warning: " + w)
    return out


class Warned(logging.Handler):
    "What mkdocs warns of: broken links and anchors, by page."

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def main():
    p = argparse.ArgumentParser(prog="python -m tools.site", description="Build the documentation site.")
    p.add_argument("--no-exec", action="store_true", help="do not run the notebooks: pages without outputs")
    p.add_argument("--only", default="", metavar="PATTERN", help="run only notebooks whose path matches this")
    p.add_argument("--draft", action="store_true", help="pages and pictures may be missing, and links broken")
    p.add_argument("--out", type=Path, help="folder of the site (_site)")
    a = p.parse_args()
    began = time.monotonic()
    try:
        out = build(out=a.out, execute=not a.no_exec, only=a.only, draft=a.draft)
    except PageError as e:
        sys.exit(f"error: {e}")
    print(f"{len(list(out.rglob('*.html')))} pages in {time.monotonic() - began:.0f} s: {out / 'index.html'}")


if __name__ == "__main__":
    main()

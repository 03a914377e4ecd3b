"""The documentation site: `python -m tools.site` runs every notebook and builds `_site/`, without a network.

    --no-exec       no outputs: a quick look at pages and links
    --only PATTERN  run only notebooks whose path matches the pattern; the others' pages come without outputs
    --draft         pages that the navigation names and pictures may be missing, and links broken
    --out FOLDER    instead of _site/

What is in the navigation, and in which order, stands in mkdocs.yml. Executed notebooks are kept in
`_proc/_executed/` (nbdev_docs owns `_proc`, and Quarto leaves folders with an underscore alone) until a
notebook, the library or the results that notebooks read change.
"""

import argparse
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tools.execute import execute_all
from tools.markdown import PageError
from tools.pages import Site

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


# The navigation


def leaves(nav) -> list[str]:
    "Pages of a navigation, in its order."
    if isinstance(nav, str):
        return [nav]
    items = nav.values() if isinstance(nav, dict) else nav
    return [page for item in items for page in leaves(item)]


def without(nav, missing: set):
    "The navigation less some pages, and less sections that hold none."
    if isinstance(nav, str):
        return None if nav in missing else nav
    if isinstance(nav, dict):
        kept = {title: without(part, missing) for title, part in nav.items()}
        return {title: part for title, part in kept.items() if part} or None
    return [part for item in nav if (part := without(item, missing))]


def check_navigation(site: Site, nav: list, say: Callable) -> set[str]:
    """The pages that the navigation names and that do not exist.

    Raises `PageError` for them, and for notebooks that it does not name; a draft only says so.
    """
    known = {nb.page for nb in site.notebooks} | set(site.documents.values()) | {"api.md"}
    named = set(leaves(nav))
    lost = sorted(nb.rel for nb in site.notebooks if nb.page not in named)
    gone = sorted(named - known)
    wrong = []
    if lost:
        wrong.append(f"these notebooks are not in the navigation of mkdocs.yml: {', '.join(lost)}")
    if gone:
        wrong.append(f"mkdocs.yml names pages that do not exist: {', '.join(gone)}")
    if wrong and not site.draft:
        raise PageError("\n".join(wrong))
    for words in wrong:
        say(words)
    return set(gone)


# Building


def makers(site: Site, ran: dict) -> dict[str, Callable]:
    "Page -> what makes its Markdown; `ran`: executed notebooks by path."

    def notebook(nb) -> Callable:
        return lambda: site.convert(nb, ran.get(nb.rel))

    def document(rel: str) -> Callable:
        return lambda: site.file(rel)

    pages = {nb.page: notebook(nb) for nb in site.notebooks}
    pages |= {page: document(rel) for rel, page in site.documents.items()}
    if "benchmarks.md" in pages:
        pages["benchmarks.md"] = site.benchmarks
    return pages | {"api.md": site.overview}


def write_pages(pages: dict[str, Callable], source: Path):
    "Write all pages. Raises `PageError` naming everything that is wrong, not only the first."
    wrong = []
    for page, make in pages.items():
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        try:
            (source / page).write_text(make(), encoding="utf-8")
        except PageError as e:
            wrong.append(str(e))
    if wrong:
        raise PageError("\n".join(wrong))


def write_assets(root: Path, source: Path):
    "Styles and scripts, so that no page asks another host for them."
    from plotly.offline import get_plotlyjs

    assets = source / "assets"
    shutil.copytree(root / "tools/site", assets, dirs_exist_ok=True)
    (assets / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


class Warned(logging.Handler):
    "What mkdocs warns of: broken links and anchors, by page."

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def render(cfg, site: Site, say: Callable):
    "Let mkdocs make HTML of the pages, and put the outputs in. Raises `PageError` with all that it warns of."
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.exceptions import Abort
    from mkdocs.plugins import BasePlugin

    class PutOutputs(BasePlugin):
        def on_page_content(self, html, page, **_):
            return site.fill(html, page.file.src_uri)

    cfg.plugins["outputs"] = PutOutputs()
    warned, log = Warned(), logging.getLogger("mkdocs")
    log.addHandler(warned)
    try:
        mkdocs_build(cfg)
    except Abort as e:
        raise PageError("\n".join(warned.messages) or str(e)) from e
    finally:
        log.removeHandler(warned)
    for message in warned.messages:
        say(f"warning: {message}")


def build(
    root: Path = ROOT,  # of the project
    out: Path | None = None,  # folder of the site; by default _site
    source: Path | None = None,  # folder of its Markdown; by default site_src
    execute: bool = True,  # run the notebooks
    only: str = "",  # pattern of the paths of those that are run
    draft: bool = False,  # pages and pictures may be missing, and links broken
    say: Callable = print,
) -> Path:  # out
    "Build the site. Raises `PageError` naming the page and what is wrong with it."
    from mkdocs.config import load_config

    out, source = Path(out or root / "_site"), Path(source or root / "site_src")
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True, exist_ok=True)
    documents = {file: page for file, page in DOCUMENTS.items() if (root / file).is_file()}
    site = Site(root, source, documents, draft)
    cfg = load_config(str(root / "mkdocs.yml"), docs_dir=str(source), site_dir=str(out), strict=not draft)
    cfg.nav = without(cfg.nav, check_navigation(site, cfg.nav, say))
    wanted = [nb for nb in site.notebooks if re.search(only, nb.rel)] if execute else []
    ran = execute_all(wanted, root / "_proc/_executed", say)
    write_pages(makers(site, ran), source)
    write_assets(root, source)
    render(cfg, site, say)
    return out


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

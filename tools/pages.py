"Notebooks as pages: Markdown for mkdocs, links and names that lead somewhere, and the outputs beside it."

import ast
import html
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nbformat
from latex2mathml.converter import convert as mathml

from tools.markdown import PageError, commonmark, fence, front, indented, results, text
from tools.outputs import WIDGET, Files, Outputs, relative
from tools.signatures import anchor, comments, document, public

HIDDEN = {"hide", "export", "exporti", "default_exp", "include: false"}
PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".webp", ".gif")
SHORTCUTS = {
    "start.md": "Five minutes",
    "tutorials/places.md": "Tutorials",
    "explanations/numbers.md": "Results",
    "api.md": "API",
}  # buttons of the front page
# What in a text is not prose, leftmost first: so a dollar in code is code, and code in a link is the link's.
TOKEN = re.compile(
    r"""
    (?P<fence>^[ \t]*(?P<ticks>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*(?P=ticks)[`~]*[ \t]*$|\Z))
  | (?P<code>(?<!`)(?P<span>`+)(?!`)(?P<inside>.+?)(?<!`)(?P=span)(?!`))
  | (?P<heading>^\#{1,6}[ ][^\n]*)
  | (?P<link>(?P<open>!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^()\s]+)(?P<close>(?:\s+"[^"\n]*")?\)))
  | (?P<attr>\b(?P<key>src|href)="(?P<url>[^"]*)")
  | (?P<math>(?<![\\$])\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?=\S)(?P<inline>[^$\n]+?)(?<=\S)\$(?![\w$]))""",
    re.X | re.M | re.S,
)
HEAD = re.compile(r"# +(?P<title>.+?) *(?:\n\s*> *(?P<lead>.+?) *)?(?:\n(?P<rest>.*))?\Z", re.S)


# Notebooks


def directives(source: str) -> tuple[set, str]:
    "The leading `#| ...` lines of a cell, as a set of names and of `name: value`, and the rest of it."
    lines = source.splitlines()
    n = next((i for i, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    given = {re.sub(r"\s*:\s*", ": ", line[2:].strip()) for line in lines[:n]}
    names = {name if ": " in name else name.split()[0] for name in given if name}
    return names, "\n".join(lines[n:]).strip("\n")


@dataclass
class Notebook:
    "A notebook of the project: where it is, what it is called, what it exports."

    path: Path
    root: Path
    cells: list = field(default_factory=list)

    def __post_init__(self):
        self.cells = nbformat.read(self.path, 4).cells

    @cached_property
    def rel(self) -> str:
        "Its path below the project's root."
        return self.path.relative_to(self.root).as_posix()

    @cached_property
    def page(self) -> str:
        "Its page: the path below nbs, without the number that says its order."
        p = Path(self.rel).relative_to("nbs")
        return p.with_name(re.sub(r"^\d+[a-z]?_", "", p.stem) + ".md").as_posix()

    @cached_property
    def is_readme(self) -> bool:
        "Whether it is the one that README.md is made from."
        return self.rel == "nbs/index.ipynb"

    @cached_property
    def module(self) -> str | None:
        "What it exports, below landmark_nb; a package's front by the package's name."
        for cell in self.cells:
            found = re.search(r"^#\|\s*default_exp\s+(\S+)", cell.source, re.M)
            if cell.cell_type == "code" and found:
                return found[1].removesuffix(".__init__")
        return None

    @cached_property
    def head(self) -> tuple[str, str, str]:
        "Title, subtitle, and what else stands in the first cell."
        first = self.cells[0].source if self.cells and self.cells[0].cell_type == "markdown" else ""
        found = HEAD.match(first.strip())
        if not found:
            raise PageError(f"{self.rel}: the first cell must be '# Title' and '> one line' below it")
        lead, _, more = (found["lead"] or "").partition("\n")
        return self.module or found["title"], lead, (more + (found["rest"] or "")).strip()

    @cached_property
    def exported(self) -> list[tuple]:  # (cell number, definition, comments of its cell by line)
        "The public functions and classes that it exports."
        out = []
        for i, cell in enumerate(self.cells):
            names, source = directives(cell.source) if cell.cell_type == "code" else (set(), "")
            if names & {"export", "exports"} and "hide" not in names:
                out += [(i, node, comments(source)) for node in public(ast.parse(source))]
        return out

    def names(self) -> Iterator[str]:
        "What it exports, and the methods of classes: all that has a place on its page."
        for _, node, _ in self.exported:
            yield node.name
            if isinstance(node, ast.ClassDef):
                yield from (f"{node.name}.{m.name}" for m in public(node) if ast.get_docstring(m))


# Names in the API


def unique(places: dict[str, set]) -> dict:
    "Of name -> places those that have one place."
    return {name: next(iter(where)) for name, where in places.items() if len(where) == 1}


def symbols_of(notebooks: list[Notebook]) -> dict[str, tuple[str, str]]:  # name -> (page, "#place" on it)
    """Every way in which a text may name a module, a function, a class or a method.

    By the full name always; by the last part of the module, or by the name alone, where one place has it.
    """
    exact, short = {}, {}
    modules = [nb for nb in notebooks if nb.module]
    for nb in modules:
        last = nb.module.split(".")[-1]
        for name in {f"landmark_nb.{nb.module}"} | ({nb.module} if "." in nb.module else set()):
            exact[name] = (nb.page, "")
        for name in nb.names():
            where = (nb.page, "#" + anchor(nb.module, name))
            exact |= dict.fromkeys((f"landmark_nb.{nb.module}.{name}", f"{nb.module}.{name}"), where)
            for word in (f"{last}.{name}", name):
                short.setdefault(word, set()).add(where)
    taken = {part for nb in modules for part in nb.module.split(".")}  # is the module, not a function
    return {name: where for name, where in unique(short).items() if name not in taken} | exact


# Pieces of a page


def formula(tex: str, page: str, display: str) -> str:
    "MathML, with nothing in it that Markdown could take for its own. Raises `PageError` naming the formula."
    try:
        out = mathml(" ".join(tex.split()), display=display)
    except Exception as e:  # whatever the converter raises
        reason = f"cannot be read: {type(e).__name__} {e}"
        raise PageError(f"{page}: the formula {tex!r} {reason}") from e
    if unknown := re.search(r"\\[A-Za-z]+", out):
        raise PageError(f"{page}: the formula {tex!r} has {unknown[0]}, which MathML does not know here")
    return re.sub(r"[*_`|\\\[\]]", lambda m: f"&#{ord(m[0])};", out)


def code_block(cell, names: set, source: str) -> str:
    "The source of a cell that is shown."
    tags = cell.metadata.get("tags", ())
    title = '.nb-parameters title="parameters: papermill -p NAME VALUE" ' if "parameters" in tags else ""
    block = fence(source, title=title)
    folded = any(name.startswith("code-fold") for name in names)
    return '??? note "Code"\n\n' + indented(block) if folded else block


def markdown_of(output) -> str | None:
    "The Markdown that an output is, if it is nothing richer."
    if output.output_type not in ("display_data", "execute_result"):
        return None
    return None if set(output.data) & {WIDGET, "text/html"} else output.data.get("text/markdown")


class Site:
    "All pages, and how they find one another."

    def __init__(
        self,
        root: Path,  # of the project
        target: Path,  # of the site's source
        documents: dict[str, str],  # Markdown file of the project -> page
        draft: bool = False,  # pictures of explorers may be missing
    ):
        self.root, self.documents, self.draft = root, documents, draft
        self.files = Files(root, target)
        found = sorted((root / "nbs").rglob("*.ipynb"))
        visible = [p for p in found if not re.search(r"/[._]", p.relative_to(root).as_posix())]
        self.notebooks = [Notebook(p, root) for p in visible]
        self.pages = {nb.rel: nb.page for nb in self.notebooks} | documents
        self.raw: dict[str, list[str]] = {}  # page -> its outputs, as HTML
        if len(set(self.pages.values())) < len(self.pages):
            pairs = sorted(self.pages.items(), key=lambda pair: pair[1])
            raise PageError(f"two notebooks would become one page: {pairs}")
        self.symbols = symbols_of(self.notebooks)

    # words

    def place(self, url: str, page: str, base: Path, built: bool = False) -> str | None:
        """Where a link leads on the site; None if it is a file of the project that has no page.

        `base`: the folder that the link is relative to; `built`: as HTML, not as Markdown.
        """
        path, sharp, part = url.partition("#")
        if not path or re.match(r"[a-z]+:|/", url):
            return url
        file = Path(os.path.normpath(base / path))
        name = file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else ""
        if name in self.pages:
            to = self.pages[name]
            return relative(to[:-3] + ".html" if built else to, page) + sharp + part
        if file.suffix.lower() in PICTURES and name and file.is_file():
            return self.files.keep_file(name, page)
        return None if name and file.exists() and file.suffix != ".ipynb" else url

    def linked(self, span: str, words: str, page: str, module: str | None) -> str:
        "A code span, with a link if it names something that has a page."
        name = words.strip().removesuffix("()")
        found = self.symbols.get(f"{module}.{name}") or self.symbols.get(name)
        if name in self.pages:
            found = (self.pages[name], "")
        if not found or found == (page, ""):
            return span
        to, part = found
        return f"[{span}]({relative(to, page) if to != page else ''}{part})"

    def prose(self, md: str, page: str, base: Path, module: str | None = None) -> str:
        """Markdown as Jupyter reads it, made into what mkdocs reads; code stays as it is.

        Links lead to pages, names to the API, mathematics becomes MathML.
        """

        def token(m: re.Match) -> str:
            if m["target"]:
                to = self.place(m["target"], page, base)
                return m["open"].removeprefix("!")[1:-2] if to is None else m["open"] + to + m["close"]
            if m["url"] is not None:
                to = self.place(m["url"], page, base, built=True)
                return m[0] if to is None else f'{m["key"]}="{html.escape(to)}"'
            if m["inside"]:
                return self.linked(m[0], m["inside"], page, module)
            if m["math"]:
                return formula(m["block"] or m["inline"], page, "block" if m["block"] else "inline")
            return m[0]

        return TOKEN.sub(token, commonmark(md))

    # pages

    def convert(self, nb: Notebook, executed=None) -> str:
        "The page of a notebook; `executed` is the same with outputs."
        base = self.root if nb.is_readme else nb.path.parent  # its links are those of README.md, too

        def words(md: str) -> str:
            return self.prose(md, nb.page, base, nb.module)

        outputs = Outputs(self.files, nb.rel, nb.page, self.draft)
        self.raw.setdefault(nb.page, [])
        out = self.opening(nb, words)
        for i, cell in enumerate((executed or nb).cells):
            if i == 0:
                continue
            if cell.cell_type == "markdown":
                out.append(words(cell.source))
            if cell.cell_type == "code":
                out += [words(document(node, nb.module, notes)) for j, node, notes in nb.exported if j == i]
                out += self.code_cell(cell, outputs, words)
        return "\n\n".join(out) + "\n"

    def opening(self, nb: Notebook, words) -> list[str]:
        "Title, subtitle, where the page comes from, and what else stands in the first cell."
        title, lead, rest = nb.head
        home = nb.page == "index.md"
        out = [front(title, lead, hide=["navigation", "toc"] if home else []), f"# {text(title)}"]
        if lead:
            out.append(f'<p class="nb-lead" markdown="span">{words(lead)}</p>')
        file = f"<code>{html.escape(nb.rel)}</code>"
        if nb.module:
            module = f"<code>landmark_nb.{html.escape(nb.module)}</code>"
            out.append(f'<p class="nb-where">module {module}, exported from {file}</p>')
        elif home:
            out.append(self.buttons())
        else:
            out.append(f'<p class="nb-where">notebook {file}</p>')
        return out + [words(rest)] * bool(rest)

    def buttons(self) -> str:
        "The buttons of the front page."
        known = {*self.pages.values(), "api.md"}
        links = [
            f"[{name}]({to}){{ .md-button{'' if i else ' .md-button--primary'} }}"
            for i, (to, name) in enumerate(SHORTCUTS.items())
            if to in known
        ]
        return f'<div class="nb-buttons" markdown="span">{" ".join(links)}</div>'

    def code_cell(self, cell, outputs: Outputs, words) -> list[str]:
        "What is shown of a cell: its source, and room for its outputs."
        names, source = directives(cell.source)
        if names & HIDDEN:
            return []
        out = []
        if source and not names & {"echo: false", "hide_input"}:
            out.append(code_block(cell, names, source))
        if names & {"output: false", "hide_output"}:
            return out
        raw = self.raw[outputs.page]
        for output in cell.get("outputs", ()):
            if md := markdown_of(output):
                plain = words(md.replace(f"{self.root}/", ""))
                out.append(f'<div class="nb-md" markdown="1">\n\n{plain}\n\n</div>')
            elif shape := outputs.show(output):
                raw.append(f'<div class="nb-out" data-search-exclude>{shape}</div>')
                out.append(f"<!--nb:{len(raw) - 1}-->")
        return out

    def fill(self, content: str, page: str) -> str:
        "Put the outputs where the page has left room for them."
        return re.sub(r"<!--nb:(\d+)-->", lambda m: self.raw[page][int(m[1])], content)

    def file(self, rel: str) -> str:
        "The page of a Markdown file of the project."
        source = (self.root / rel).read_text(encoding="utf-8")
        return self.prose(source, self.documents[rel], (self.root / rel).parent)

    def overview(self) -> str:
        "Every module, what it is for, and what it holds."
        lead = "One notebook exports one module; what it holds, in the order in which the notebook tells it."
        title = "All modules"
        out = [front(title, "Every module and its names"), f"# {title}", f'<p class="nb-lead">{lead}</p>']
        for nb in (n for n in self.notebooks if n.module):
            links = [f"[`{n.name}`]({nb.page}#{anchor(nb.module, n.name)})" for _, n, _ in nb.exported]
            subtitle = self.prose(nb.head[1], "api.md", nb.path.parent)
            out += [f"## [{text(nb.module)}]({nb.page})", subtitle, " · ".join(links)]
        return "\n\n".join(out) + "\n"

    def benchmarks(self) -> str:
        "The benchmarks' README, then every stored result with the command that measures it again."
        out = [self.file("benchmarks/README.md"), "## Results"]
        for file in sorted((self.root / "benchmarks/results").glob("*.json")):
            values = json.loads(file.read_text(encoding="utf-8"))
            command = values.pop("command", f"python benchmarks/{file.stem}.py")
            machine = values.pop("machine", "an unnamed machine")
            out += [f"### {text(file.stem)}", fence(command, "sh"), text(f"Measured on {machine}.")]
            out += results(values)
        return "\n\n".join(out) + "\n"

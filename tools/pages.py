"""Notebooks as pages: Markdown for mkdocs, and beside it the outputs as HTML, which Markdown never gets to see.

Signatures come from the exported cells as they stand in the notebook, one parameter a line with the comment beside it;
nothing is imported, so the pages are the same with and without a run.
"""

import ast
import base64
import hashlib
import html
import io
import json
import os
import re
import tokenize
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nbformat
import yaml
from latex2mathml.converter import convert as mathml

HIDDEN = {"hide", "export", "exporti", "default_exp", "include: false"}
PROGRESS = re.compile(r"\d+%\||\d+it \[|\bit/s\b|\bs/it\b")  # lines of tqdm
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
DATA_URI = re.compile(r'src="data:image/(png|jpeg|webp|gif);base64,([A-Za-z0-9+/=]{2000,})"')
SHORTCUTS = {
    "start.md": "Five minutes",
    "tutorials/places.md": "Tutorials",
    "explanations/numbers.md": "Results",
    "api.md": "API",
}  # buttons of the front page
IMAGES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
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


class PageError(Exception):
    "Something on a page that the build cannot accept; the message names the page."


def directives(source: str) -> tuple[set, str]:
    "The leading `#| ...` lines of a cell, as a set of names and of `name: value`, and the rest of it."
    lines = source.splitlines()
    n = next((i for i, l in enumerate(lines) if not l.startswith("#|")), len(lines))
    said = {re.sub(r"\s*:\s*", ": ", l[2:].strip()) for l in lines[:n]}
    return {s if ": " in s else s.split()[0] for s in said if s}, "\n".join(lines[n:]).strip("\n")


def text(s: str) -> str:
    "Plain words as Markdown that shows just these; what stands in backticks stays code."
    mark = lambda t: re.sub(r"([\\*_\[\]|~$^])", r"\\\1", html.escape(t, quote=False))
    return "".join(p if i % 2 else mark(p) for i, p in enumerate(re.split(r"(`[^`]+`)", s)))


def code(s: str) -> str:
    "A code span for a table's cell."
    return f"`{s}`" if s and "`" not in s else text(s)


def fence(source: str, language: str = "python", title: str = "") -> str:
    "A code block whose fence is longer than any run of backticks in it."
    ticks = "`" * max(3, 1 + max(map(len, re.findall(r"`+", source)), default=0))
    return f"{ticks}{{ .{language} {title}}}\n{source}\n{ticks}"


def table(rows: list) -> str:
    "A Markdown table of cells that are Markdown; columns without a word are left out."
    keep = [j for j in range(len(rows[0])) if any(r[j] for r in rows[1:])]
    line = lambda r: "| " + " | ".join(r[j] for j in keep) + " |"
    return "\n".join([line(rows[0]), "|" + " --- |" * len(keep), *map(line, rows[1:])])


# Signatures


def public(tree: ast.AST) -> list:
    return [
        n
        for n in tree.body
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and n.name[0] != "_"
    ]


def knob(call: ast.Call) -> tuple[str, str]:
    "Default and help of a field made by `config.knob(default, help, low, high, choices)`."
    given = dict(zip(("default", "help", "low", "high", "choices"), call.args)) | {
        k.arg: k.value for k in call.keywords
    }
    v = {k: ast.unparse(x) for k, x in given.items()}
    try:
        said = ast.literal_eval(given["help"])
    except (KeyError, ValueError):
        said = v.get("help", "")
    if "low" in v and v["low"] != "None":
        said += f" (from {v['low']}" + (f" to {v['high']})" if v.get("high", "None") != "None" else ")")
    return v.get("default", ""), said + (f" (one of {v['choices']})" if "choices" in v else "")


def parameters(node: ast.AST, comments: dict) -> tuple[str, list]:
    "The call as one would write it, and a row (name, type, default, meaning) for each parameter."
    show = lambda x: ast.unparse(x) if x else ""
    if isinstance(node, ast.ClassDef):
        if init := next(
            (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
        ):
            return parameters(init, comments)
        fields = [
            (n, show(n.value))
            for n in node.body
            if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.target.id[0] != "_"
        ]
        rows = [
            [
                n.target.id,
                show(n.annotation),
                *(knob(n.value) if v.startswith("knob(") else (v, comments.get(n.end_lineno, ""))),
            ]
            for n, v in fields
        ]
        return ", ".join(name + (f"={default}" if default else "") for name, _, default, _ in rows), rows
    a, parts, rows = node.args, [], []
    plain = a.posonlyargs + a.args
    every = [*zip(plain, [None] * (len(plain) - len(a.defaults)) + a.defaults)]
    if a.vararg:
        every.append((a.vararg, "*"))
    elif a.kwonlyargs:
        every.append((None, "*"))
    every += [*zip(a.kwonlyargs, a.kw_defaults)] + ([(a.kwarg, "**")] if a.kwarg else [])
    used = {}
    for arg, default in every:
        star = default if isinstance(default, str) else ""
        if arg is None:
            parts.append("*")
            continue
        if arg.arg in ("self", "cls") and not rows:
            continue
        value = "" if star else show(default)
        parts.append(star + arg.arg + (f"={value}" if value else ""))
        rows.append([star + arg.arg, show(arg.annotation), value, ""])
        used[(default if value else arg).end_lineno] = rows[
            -1
        ]  # a comment is the last parameter's on its line
    last = node.returns.end_lineno if node.returns else 0  # a comment there says what is returned
    for line, row in used.items():
        row[3] = comments.get(line, "") if line != last else ""
    if node.returns and show(node.returns) != "None":
        rows.append(["returns", show(node.returns), "", comments.get(last, "")])
    return ", ".join(parts), rows


def comments(source: str) -> dict[int, str]:
    return {
        t.start[0]: t.string.lstrip("# ")
        for t in tokenize.generate_tokens(io.StringIO(source).readline)
        if t.type == tokenize.COMMENT
    }


def document(node: ast.AST, module: str, said: dict, owner: str = "") -> str:
    "What the API says of a function or a class: its call, its docstring, its parameters; then its public methods."
    name = owner + node.name
    call, rows = parameters(node, said)
    back = "" if isinstance(node, ast.ClassDef) or not node.returns else f" -> {ast.unparse(node.returns)}"
    if any("property" in ast.unparse(d) for d in node.decorator_list):
        line = name + back
    else:
        line = f"{name}({call}){back}"
        if len(line) > 96:
            line = f"{name}(\n    " + ",\n    ".join(split_call(call)) + f"\n){back}"
    out = [
        f"{'####' if owner else '###'} {node.name} {{ #{anchor(module, name)} .api{' data-toc-label=' + node.name if not owner else ''} }}",
        fence(line, title=".api "),
    ]
    if doc := ast.get_docstring(node):
        out.append(text(doc))
    if any(r[3] for r in rows):
        out.append(
            table(
                [["Parameter", "Type", "Default", "Meaning"]]
                + [
                    [f"`{n}`" if n != "returns" else "*returns*", code(t), code(d), text(m)]
                    for n, t, d, m in rows
                ]
            )
        )
    if isinstance(node, ast.ClassDef) and (
        bases := [b for b in map(ast.unparse, node.bases) if b != "Exception"]
    ):
        out.append("Extends " + ", ".join(map(code, bases)) + ".")
    if isinstance(node, ast.ClassDef):
        out += [document(m, module, said, name + ".") for m in public(node) if ast.get_docstring(m)]
    return "\n\n".join(out)


def anchor(module: str, name: str) -> str:
    "The place of a name on its module's page (two underscores would be Markdown's)."
    return f"{module}.{name}".replace("__", "")


def split_call(call: str) -> list:
    "At the commas between parameters, and at no others."
    out, depth = [""], 0
    for part in re.split(r"([,()\[\]{}])", call):
        depth += (part in "([{") - (part in ")]}") if part else 0
        if part == "," and not depth:
            out.append("")
        else:
            out[-1] += part
    return [o.strip() for o in out]


# Notebooks


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
        return self.path.relative_to(self.root).as_posix()

    @cached_property
    def page(self) -> str:
        p = Path(self.rel).relative_to("nbs")
        return p.with_name(re.sub(r"^\d+[a-z]?_", "", p.stem) + ".md").as_posix()

    @cached_property
    def module(self) -> str | None:
        found = [
            m[1]
            for c in self.cells
            if c.cell_type == "code" and (m := re.search(r"^#\|\s*default_exp\s+(\S+)", c.source, re.M))
        ]
        return found[0] if found else None

    @cached_property
    def head(self) -> tuple[str, str, str]:
        "Title, subtitle, and what else stands in the first cell."
        first = self.cells[0].source if self.cells and self.cells[0].cell_type == "markdown" else ""
        m = re.match(
            r"# +(?P<title>.+?) *(?:\n\s*> *(?P<lead>.+?) *)?(?:\n(?P<rest>.*))?\Z", first.strip(), re.S
        )
        if not m:
            raise PageError(f"{self.rel}: the first cell must be '# Title' and '> one line' below it")
        lead, _, more = (m["lead"] or "").partition("\n")
        return self.module or m["title"], lead, (more + (m["rest"] or "")).strip()

    @cached_property
    def exported(self) -> list:
        "(cell number, definition, its comments) of what the notebook exports."
        out = []
        for i, c in enumerate(self.cells):
            said, source = directives(c.source) if c.cell_type == "code" else (set(), "")
            if said & {"export", "exports"} and "hide" not in said:
                out += [(i, n, comments(source)) for n in public(ast.parse(source))]
        return out


class Site:
    "All pages, and how they find one another."

    def __init__(self, root: Path, target: Path, documents: dict, draft: bool = False):
        self.root, self.target, self.documents, self.draft = root, target, documents, draft
        self.notebooks = [
            Notebook(p, root)
            for p in sorted((root / "nbs").rglob("*.ipynb"))
            if not re.search(r"/[._]", p.relative_to(root).as_posix())
        ]
        self.pages = {nb.rel: nb.page for nb in self.notebooks} | documents
        self.raw = {}  # page -> its outputs, as HTML
        if len(set(self.pages.values())) < len(self.pages):
            raise PageError(
                "two notebooks would become one page: "
                + str(sorted(self.pages.items(), key=lambda kv: kv[1]))
            )
        self.symbols, meaning = {}, {}
        for nb in self.notebooks:
            if not nb.module:
                continue
            for name in {f"landmark_nb.{nb.module}"} | ({nb.module} if "." in nb.module else set()):
                self.symbols[name] = (nb.page, "")
            for _, node, _ in nb.exported:
                methods = (
                    [f"{node.name}.{m.name}" for m in public(node) if ast.get_docstring(m)]
                    if isinstance(node, ast.ClassDef)
                    else []
                )
                for name in [node.name, *methods]:
                    where = (nb.page, "#" + anchor(nb.module, name))
                    for full in {
                        f"landmark_nb.{nb.module}.{name}",
                        f"{nb.module}.{name}",
                        f"{nb.module.split('.')[-1]}.{name}",
                    }:
                        self.symbols[full] = where
                    meaning.setdefault(name, set()).add(where)
        taken = {part for nb in self.notebooks if nb.module for part in nb.module.split(".")}
        self.symbols |= {
            n: next(iter(w)) for n, w in meaning.items() if len(w) == 1 and n not in taken
        }  # a name that two modules have, or a module and a function, needs its module

    # words

    def relative(self, target: str, page: str) -> str:
        return os.path.relpath(target, Path(page).parent).replace(os.sep, "/")

    def place(self, url: str, page: str, base: Path, built=False) -> str | None:
        "Where a link leads on the site; None if it is a file of the project that has no page."
        path, sharp, anchor = url.partition("#")
        if not path or re.match(r"[a-z]+:|/", url):
            return url
        file = Path(os.path.normpath(base / path))
        rel = file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else ""
        if rel in self.pages:
            to = self.pages[rel]
            return self.relative(to[:-3] + ".html" if built else to, page) + sharp + anchor
        if (
            file.suffix.lower() in (".png", ".jpg", ".jpeg", ".svg", ".webp", ".gif")
            and rel
            and file.is_file()
        ):
            return self.relative(self.keep(rel, file.read_bytes()), page)
        return None if rel and file.exists() and file.suffix != ".ipynb" else url

    def keep(self, name: str, data: bytes) -> str:
        to = self.target / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists():
            to.write_bytes(data)
        return name

    def prose(self, md: str, page: str, base: Path, module: str | None = None) -> str:
        "Markdown as Jupyter reads it, made into what mkdocs reads: links to pages, names to the API, mathematics to MathML; code stays as it is."

        def one(m):
            if m["target"]:
                to = self.place(m["target"], page, base)
                return m["open"][m["open"][0] == "!" :][1:-2] if to is None else m["open"] + to + m["close"]
            if m["url"] is not None:
                to = self.place(m["url"], page, base, built=True)
                return m[0] if to is None else f'{m["key"]}="{html.escape(to)}"'
            if m["inside"]:
                name = m["inside"].strip().removesuffix("()")
                found = self.symbols.get(f"{module}.{name}") or self.symbols.get(name)
                if name in self.pages:
                    found = (self.pages[name], "")
                if not found or found == (page, ""):
                    return m[0]
                return f"[{m[0]}]({self.relative(found[0], page) if found[0] != page else ''}{found[1]})"
            if m["math"]:
                tex = m["block"] or m["inline"]
                try:
                    out = mathml(" ".join(tex.split()), display="block" if m["block"] else "inline")
                except Exception as e:
                    raise PageError(
                        f"{page}: the formula {tex!r} cannot be read: {type(e).__name__} {e}"
                    ) from e
                if unknown := re.search(r"\\[A-Za-z]+", out):
                    raise PageError(
                        f"{page}: the formula {tex!r} has {unknown[0]}, which MathML does not know here"
                    )
                return re.sub(
                    r"[*_`|\\\[\]]", lambda c: f"&#{ord(c[0])};", out
                )  # nothing in it that Markdown could take for its own
            return m[0]

        return TOKEN.sub(one, commonmark(md))

    # outputs

    def output(self, o, nb: Notebook, shown: list) -> str:
        "One output as HTML; `shown` collects the explorers, which have to be counted."
        clean = lambda s: ANSI.sub("", s.replace(f"{self.root}/", ""))
        block = lambda s, kind="": (
            f'<pre class="nb-text{kind}">{html.escape(s.rstrip())}</pre>' if s.strip() else ""
        )
        if o.output_type == "stream":
            lines = [l.split("\r")[-1] for l in clean(o.text).replace("\r\n", "\n").split("\n")]
            return block(
                "\n".join(l for l in lines if not PROGRESS.search(l)),
                " nb-stderr" if o.name == "stderr" else "",
            )
        if o.output_type == "error":
            return block(clean("\n".join(o.traceback)), " nb-stderr")
        d = o.data
        if "application/vnd.jupyter.widget-view+json" in d:
            shown.append(o)
            file = Path("docs/widgets") / f"{nb.path.stem}{'' if len(shown) == 1 else f'-{len(shown)}'}.png"
            there = (self.root / file).is_file()
            if not there and not self.draft:
                raise PageError(
                    f"{nb.rel}: explorer {len(shown)} has no picture {file}; `make pictures` takes them"
                )
            src = (
                self.relative(self.keep(file.as_posix(), (self.root / file).read_bytes()), nb.page)
                if there
                else ""
            )
            return (
                f'<img class="nb-explorer" src="{html.escape(src)}" alt="A picture of the explorer" loading="lazy">'
                * there
                + '<div class="admonition note"><p class="admonition-title">A picture of a live explorer</p>'
                f"<p><code>make lab</code> opens <code>{html.escape(nb.rel)}</code> itself, with its code; <code>make apps</code> serves it without.</p></div>"
            )
        if "application/vnd.plotly.v1+json" in d:
            f = d["application/vnd.plotly.v1+json"]
            f = dict(
                data=f["data"],
                layout={k: v for k, v in f["layout"].items() if k != "width"},
                frames=f.get("frames", []),
            )
            return (
                f'<div class="nb-figure" style="min-height:{float(f["layout"].get("height") or 450):.0f}px"><script type="application/json">'
                + json.dumps(f, separators=(",", ":")).replace("<", "\\u003c")
                + "</script></div>"
            )
        for kind, end in IMAGES.items():
            if kind not in d:
                continue
            data = d[kind].encode() if end == "svg" else base64.b64decode(d[kind])
            return f'<img class="nb-image" src="{self.asset(data, end, nb.page)}" alt="Output of the cell above" loading="lazy">'
        if "text/html" in d:
            files = lambda m: (
                f'src="{self.asset(base64.b64decode(m[2]), m[1].replace("jpeg", "jpg"), nb.page)}" loading="lazy"'
            )
            return f'<div class="nb-html">{DATA_URI.sub(files, clean(d["text/html"]))}</div>'
        return block(clean(d.get("text/plain", "")))

    def asset(self, data: bytes, end: str, page: str) -> str:
        return self.relative(self.keep(f"assets/out/{hashlib.sha1(data).hexdigest()[:16]}.{end}", data), page)

    # pages

    def convert(self, nb: Notebook, executed=None) -> str:
        "The page of a notebook; `executed` is the same with outputs."
        title, lead, rest = nb.head
        base = (
            self.root if nb.path.name == "index.ipynb" and nb.path.parent.name == "nbs" else nb.path.parent
        )  # index.ipynb is the README, too
        words = lambda s: self.prose(s, nb.page, base, nb.module)
        raw, shown = self.raw.setdefault(nb.page, []), []
        home = nb.page == "index.md"
        out = [front(title, lead, hide=["navigation", "toc"] if home else []), f"# {text(title)}"]
        if lead:
            out.append(f'<p class="nb-lead" markdown="span">{words(lead)}</p>')
        if nb.module:
            out.append(
                f'<p class="nb-where">module <code>landmark_nb.{html.escape(nb.module)}</code>, exported from <code>{html.escape(nb.rel)}</code></p>'
            )
        elif home:
            out.append(
                '<div class="nb-buttons" markdown="span">'
                + " ".join(
                    f"[{name}]({to}){{ .md-button{'' if i else ' .md-button--primary'} }}"
                    for i, (to, name) in enumerate(SHORTCUTS.items())
                    if to in {*self.pages.values(), "api.md"}
                )
                + "</div>"
            )
        else:
            out.append(f'<p class="nb-where">notebook <code>{html.escape(nb.rel)}</code></p>')
        if rest:
            out.append(words(rest))
        for i, c in enumerate(executed.cells if executed else nb.cells):
            if i == 0:
                continue
            if c.cell_type == "markdown":
                out.append(words(c.source))
                continue
            if c.cell_type != "code":
                continue
            said, source = directives(c.source)
            out += [words(document(n, nb.module, notes)) for j, n, notes in nb.exported if j == i]
            if said & HIDDEN:
                continue
            if source and not said & {"echo: false", "hide_input"}:
                block = fence(
                    source,
                    title='.nb-parameters title="parameters: papermill -p NAME VALUE" '
                    if "parameters" in c.metadata.get("tags", ())
                    else "",
                )
                out.append(
                    block
                    if not any(s.startswith("code-fold") for s in said)
                    else '??? note "Code"\n\n' + re.sub(r"(?m)^", "    ", block)
                )
            if said & {"output: false", "hide_output"}:
                continue
            for o in c.get("outputs", ()):
                if (
                    o.output_type in ("display_data", "execute_result")
                    and "text/markdown" in o.data
                    and not set(o.data) & {"application/vnd.jupyter.widget-view+json", "text/html"}
                ):
                    out.append(
                        '<div class="nb-md" markdown="1">\n\n'
                        + words(o.data["text/markdown"].replace(f"{self.root}/", ""))
                        + "\n\n</div>"
                    )
                elif shape := self.output(o, nb, shown):
                    raw.append(f'<div class="nb-out" data-search-exclude>{shape}</div>')
                    out.append(f"<!--nb:{len(raw) - 1}-->")
        return "\n\n".join(out) + "\n"

    def fill(self, content: str, page: str) -> str:
        "Put the outputs where the page has left room for them."
        return re.sub(r"<!--nb:(\d+)-->", lambda m: self.raw[page][int(m[1])], content)

    def file(self, rel: str) -> str:
        "The page of a Markdown file of the project."
        source = (self.root / rel).read_text(encoding="utf-8")
        return self.prose(source, self.documents[rel], (self.root / rel).parent)

    def overview(self) -> str:
        "Every module, what it is for, and what it holds."
        out = [
            front("All modules", "Every module and its names"),
            "# All modules",
            '<p class="nb-lead">One notebook exports one module; what it holds, in the order in which the notebook tells it.</p>',
        ]
        for nb in (n for n in self.notebooks if n.module):
            names = " · ".join(
                f"[`{n.name}`]({nb.page}#{anchor(nb.module, n.name)})" for _, n, _ in nb.exported
            )
            out += [
                f"## [{text(nb.module)}]({nb.page})",
                self.prose(nb.head[1], "api.md", nb.path.parent),
                names,
            ]
        return "\n\n".join(out) + "\n"

    def benchmarks(self) -> str:
        "The benchmarks' README, then every stored result with the command that measures it again."
        out = [self.file("benchmarks/README.md"), "## Results"]
        for f in sorted((self.root / "benchmarks/results").glob("*.json")):
            d = json.loads(f.read_text(encoding="utf-8"))
            out += [
                f"### {text(f.stem)}",
                fence(d.pop("command", f"python benchmarks/{f.stem}.py"), "sh"),
                text("Measured on " + d.pop("machine", "an unnamed machine") + "."),
                *results(d),
            ]
        return "\n\n".join(out) + "\n"


def results(d: dict, name: str = ""):
    "Tables of a nested result: what is alike side by side, the rest below one another."
    cell = lambda v: text(
        ", ".join(map(str, v))
        if isinstance(v, list)
        else f"{v:,}"
        if isinstance(v, int) and not isinstance(v, bool)
        else str(v)
    )
    label = lambda s: text(str(s).replace("_", " "))
    plain = {
        k: v
        for k, v in d.items()
        if not isinstance(v, dict) and not (isinstance(v, list) and v and isinstance(v[0], dict))
    }
    if name and plain:
        yield f"**{label(name)}**"
    if plain:
        yield table([["", "value"]] + [[label(k), cell(v)] for k, v in plain.items()])
    for k, v in d.items():
        if k in plain:
            continue
        rows = dict(enumerate(v)) if isinstance(v, list) else v
        if all(
            isinstance(r, dict) and not any(isinstance(x, (dict, list)) for x in r.values())
            for r in rows.values()
        ):
            columns = list(dict.fromkeys(c for r in rows.values() for c in r))
            yield f"**{label(f'{name}, {k}' if name else k)}**"
            yield table(
                [["", *map(label, columns)]]
                + [
                    [label(n) if rows is v else "", *(cell(r.get(c, "")) for c in columns)]
                    for n, r in rows.items()
                ]
            )
        else:
            yield from results(rows, f"{name}, {k}" if name else k)


def front(title: str, lead: str, **more) -> str:
    "Front matter. mkdocs puts titles into its pages as they are, so they are escaped here."
    safe = lambda s: html.escape(re.sub(r"[`*]", "", s))
    return (
        "---\n"
        + yaml.safe_dump(
            dict(title=safe(title), description=safe(lead), **more), allow_unicode=True, width=10_000
        )
        + "---"
    )


def commonmark(md: str) -> str:
    "What Jupyter renders and Python-Markdown would not: lists and tables right below a line, lists nested by two, Quarto's callouts."
    item, out, ticks, within = re.compile(r"(?:[-*+]|\d+[.)]) "), [], "", False
    for line in md.splitlines():
        if m := re.match(r"[ \t]*(`{3,}|~{3,})", line):
            ticks = "" if ticks and m[1].startswith(ticks) else ticks or m[1]
        before = out[-1] if out else ""
        if not ticks and not m:
            within = (
                bool(item.match(line))
                or within
                and (not line.strip() or line[0] == " " or bool(before.strip()))
            )
            if within and re.match(r" {2,3}(?=\S)", line):
                line = "    " + line.lstrip()
            starts = (
                item.match(line)
                and not item.match(before)
                or line.startswith("|")
                and not before.startswith("|")
            )
            if starts and before.strip() and not before.startswith("    "):
                out.append("")
        out.append(line)
    callout = lambda m: f"!!! {m[1]}\n\n" + re.sub(r"(?m)^(?=.)", "    ", m[2])
    return re.sub(
        r"^:::+ *\{\.callout-(\w+)[^}]*\}\n(.*?)^:::+ *$", callout, "\n".join(out), flags=re.S | re.M
    )

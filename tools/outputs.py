"Outputs of cells as HTML, which Markdown never gets to see; pictures become files of the site."

import base64
import hashlib
import html
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from tools.markdown import PageError

PROGRESS = re.compile(r"\d+%\||\d+it \[|\bit/s\b|\bs/it\b")  # lines of tqdm
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
DATA_URI = re.compile(r'src="data:image/(png|jpeg|webp|gif);base64,([A-Za-z0-9+/=]{2000,})"')
IMAGES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
WIDGET, FIGURE = "application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json"


def relative(target: str, page: str) -> str:
    "Where a file of the site is, seen from a page."
    return os.path.relpath(target, Path(page).parent).replace(os.sep, "/")


@dataclass
class Files:
    "Files that the site is given beside its pages."

    root: Path  # of the project
    target: Path  # of the site's source

    def keep(self, name: str, data: bytes) -> str:
        "Write a file, unless it is there; returns its name."
        to = self.target / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists():
            to.write_bytes(data)
        return name

    def keep_file(self, name: str, page: str) -> str:
        "Take over a file of the project; returns where it is, seen from a page."
        return relative(self.keep(name, (self.root / name).read_bytes()), page)

    def asset(self, data: bytes, end: str, page: str) -> str:
        "Keep what has no name; returns where it is, seen from a page."
        return relative(self.keep(f"assets/out/{hashlib.sha1(data).hexdigest()[:16]}.{end}", data), page)


def block(words: str, kind: str = "") -> str:
    "Plain text; nothing where there is none."
    return f'<pre class="nb-text{kind}">{html.escape(words.rstrip())}</pre>' if words.strip() else ""


def last_states(words: str) -> str:
    "What a terminal would show in the end, without progress bars."
    lines = [line.split("\r")[-1] for line in words.replace("\r\n", "\n").split("\n")]
    return "\n".join(line for line in lines if not PROGRESS.search(line))


def figure(value: dict) -> str:
    "A figure of plotly, which the page's own script draws."
    layout = {k: v for k, v in value["layout"].items() if k != "width"}
    plain = dict(data=value["data"], layout=layout, frames=value.get("frames", []))
    source = json.dumps(plain, separators=(",", ":")).replace("<", "\\u003c")
    height = f"min-height:{float(layout.get('height') or 450):.0f}px"
    script = f'<script type="application/json">{source}</script>'
    return f'<div class="nb-figure" style="{height}">{script}</div>'


@dataclass
class Outputs:
    "The outputs of one notebook."

    files: Files
    notebook: str  # its path, below the project's root
    page: str
    draft: bool = False  # pictures of explorers may be missing
    explorers: list = field(default_factory=list)  # those shown so far

    def clean(self, words: str) -> str:
        "Without colours, and without where the project lies on this machine."
        return ANSI.sub("", words.replace(f"{self.files.root}/", ""))

    def show(self, output) -> str:
        "One output as HTML; '' where there is nothing to show."
        if output.output_type == "stream":
            kind = " nb-stderr" if output.name == "stderr" else ""
            return block(last_states(self.clean(output.text)), kind)
        if output.output_type == "error":
            return block(self.clean("\n".join(output.traceback)), " nb-stderr")
        return self.show_data(output.data)

    def show_data(self, data: dict) -> str:
        "The richest form of a value that a page can show."
        if WIDGET in data:
            return self.explorer()
        if FIGURE in data:
            return figure(data[FIGURE])
        for kind, end in IMAGES.items():
            if kind in data:
                return self.image(data[kind], end)
        if "text/html" in data:
            return f'<div class="nb-html">{DATA_URI.sub(self.picture, self.clean(data["text/html"]))}</div>'
        return block(self.clean(data.get("text/plain", "")))

    def image(self, data: str, end: str) -> str:
        "A picture."
        source = data.encode() if end == "svg" else base64.b64decode(data)
        src = self.files.asset(source, end, self.page)
        return f'<img class="nb-image" src="{src}" alt="Output of the cell above" loading="lazy">'

    def picture(self, match: re.Match) -> str:
        "A large picture within HTML, as a file of its own."
        end = match[1].replace("jpeg", "jpg")
        return f'src="{self.files.asset(base64.b64decode(match[2]), end, self.page)}" loading="lazy"'

    def explorer(self) -> str:
        "The picture of an explorer. Raises `PageError` where it is missing."
        self.explorers.append(self.page)
        count = len(self.explorers)
        name = f"docs/widgets/{Path(self.notebook).stem}{'' if count == 1 else f'-{count}'}.png"
        image = ""
        if (self.files.root / name).is_file():
            src = html.escape(self.files.keep_file(name, self.page))
            image = f'<img class="nb-explorer" src="{src}" alt="A picture of the explorer" loading="lazy">'
        elif not self.draft:
            advice = "`make pictures` takes them"
            raise PageError(f"{self.notebook}: explorer {count} has no picture {name}; {advice}")
        notebook = f"<code>{html.escape(self.notebook)}</code>"
        title = '<p class="admonition-title">A picture of a live explorer</p>'
        how = (
            f"<code>make lab</code> opens {notebook} itself, with its code; <code>make apps</code> serves it"
        )
        return f'{image}<div class="admonition note">{title}<p>{how} without.</p></div>'

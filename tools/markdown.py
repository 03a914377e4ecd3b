"Pieces of Markdown as mkdocs reads it."

import html
import re

import yaml

CALLOUT = re.compile(r"^:::+ *\{\.callout-(\w+)[^}]*\}\n(.*?)^:::+ *$", re.S | re.M)
FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
ITEM = re.compile(r"(?:[-*+]|\d+[.)]) ")


class PageError(Exception):
    "Something on a page that the build cannot accept; the message names the page."


def escaped(words: str) -> str:
    "Words without anything that Markdown or HTML could take for its own."
    return re.sub(r"([\\*_\[\]|~$^])", r"\\\1", html.escape(words, quote=False))


def text(words: str) -> str:
    "Plain words as Markdown that shows just these; what stands in backticks stays code."
    parts = re.split(r"(`[^`]+`)", words)
    return "".join(part if i % 2 else escaped(part) for i, part in enumerate(parts))


def code(source: str) -> str:
    "A code span for a table's cell."
    return f"`{source}`" if source and "`" not in source else text(source)


def fence(source: str, language: str = "python", title: str = "") -> str:
    "A code block whose fence is longer than any run of backticks in it."
    longest = max(map(len, re.findall(r"`+", source)), default=0)
    ticks = "`" * max(3, 1 + longest)
    return f"{ticks}{{ .{language} {title}}}\n{source}\n{ticks}"


def indented(block: str, spaces: int = 4, empty_lines: bool = True) -> str:
    "A block moved to the right."
    return re.sub(r"(?m)^" if empty_lines else r"(?m)^(?=.)", " " * spaces, block)


def table(rows: list[list[str]]) -> str:
    "A Markdown table of cells that are Markdown; columns without a word are left out."
    keep = [j for j in range(len(rows[0])) if any(row[j] for row in rows[1:])]
    lines = ["| " + " | ".join(row[j] for j in keep) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(keep), *lines[1:]])


def front(title: str, lead: str, **more) -> str:
    "Front matter. mkdocs puts titles into its pages as they are, so they are escaped here."
    title, description = (html.escape(re.sub(r"[`*]", "", words)) for words in (title, lead))
    values = dict(title=title, description=description, **more)
    return "---\n" + yaml.safe_dump(values, allow_unicode=True, width=10_000) + "---"


# What Jupyter renders and Python-Markdown would not


def in_list(line: str, before: str, within: bool) -> bool:
    "Whether a line belongs to a list; `within`: whether the line before it does."
    if ITEM.match(line):
        return True
    return within and (not line.strip() or line[0] == " " or bool(before.strip()))


def needs_gap(line: str, before: str) -> bool:
    "Whether a list or table begins right below a line of something else."
    item = ITEM.match(line) and not ITEM.match(before)
    row = line.startswith("|") and not before.startswith("|")
    return bool(item or row) and bool(before.strip()) and not before.startswith("    ")


def commonmark(md: str) -> str:
    "Lists and tables below a line, lists nested by two, Quarto's callouts, as Python-Markdown reads them."
    out, ticks, within = [], "", False
    for line in md.splitlines():
        mark = FENCE.match(line)
        if mark:
            ticks = "" if ticks and mark[1].startswith(ticks) else ticks or mark[1]
        before = out[-1] if out else ""
        if not ticks and not mark:
            within = in_list(line, before, within)
            if within and re.match(r" {2,3}(?=\S)", line):
                line = "    " + line.lstrip()
            if needs_gap(line, before):
                out.append("")
        out.append(line)
    return CALLOUT.sub(lambda m: f"!!! {m[1]}\n\n{indented(m[2], empty_lines=False)}", "\n".join(out))


# Results of benchmarks


def words_of(value) -> str:
    "A value for a table's cell."
    if isinstance(value, list):
        return text(", ".join(map(str, value)))
    if isinstance(value, int) and not isinstance(value, bool):
        return text(f"{value:,}")
    return text(str(value))


def label(name) -> str:
    "A key as words."
    return text(str(name).replace("_", " "))


def is_plain(value) -> bool:
    "Whether a value fits into a cell."
    return not isinstance(value, dict) and not (
        isinstance(value, list) and value and isinstance(value[0], dict)
    )


def is_row(value) -> bool:
    "Whether a value is a row of cells."
    return isinstance(value, dict) and not any(isinstance(x, dict | list) for x in value.values())


def side_by_side(rows: dict, named: bool) -> str:
    "Rows that are alike as one table; `named`: their keys are words."
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [
        [label(name) if named else "", *(words_of(row.get(column, "")) for column in columns)]
        for name, row in rows.items()
    ]
    return table([["", *map(label, columns)], *lines])


def results(values: dict, name: str = ""):
    "Tables of a nested result: what is alike side by side, the rest below one another."
    plain = {key: value for key, value in values.items() if is_plain(value)}
    if name and plain:
        yield f"**{label(name)}**"
    if plain:
        yield table([["", "value"]] + [[label(key), words_of(value)] for key, value in plain.items()])
    for key, value in values.items():
        if key in plain:
            continue
        rows = dict(enumerate(value)) if isinstance(value, list) else value
        full = f"{name}, {key}" if name else key
        if all(map(is_row, rows.values())):
            yield f"**{label(full)}**"
            yield side_by_side(rows, rows is value)
        else:
            yield from results(rows, full)

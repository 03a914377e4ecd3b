"""What the API pages say of a function or a class, from the source as it stands in the notebook.

One parameter a line, with the comment beside it. Nothing is imported, so the pages are the same with and
without a run.
"""

import ast
import io
import tokenize

from tools.markdown import code, fence, table, text

WIDTH = 96  # characters of a call that stays on one line
HEADER = ["Parameter", "Type", "Default", "Meaning"]
KNOB = ("default", "help", "low", "high", "choices")  # parameters of `config.knob`
CHOOSE = ("registry", "default", "help")  # and of `config.choose`


def public(tree: ast.AST) -> list:
    "The functions and classes of a module, or of a class, whose names are public."
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


def comments(source: str) -> dict[int, str]:
    "Line -> the comment on it."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def shown(node: ast.AST | None) -> str:
    "An expression as text; '' where there is none."
    return ast.unparse(node) if node else ""


def anchor(module: str, name: str) -> str:
    "The place of a name on its module's page (two underscores would be Markdown's)."
    return f"{module}.{name}".replace("__", "")


# Fields


def knob(call: ast.Call) -> tuple[str, str]:  # default, and what it is
    "A field made by `config.knob` or `config.choose`."
    names = CHOOSE if shown(call.func) == "choose" else KNOB
    given = dict(zip(names, call.args)) | {k.arg: k.value for k in call.keywords}
    value = {name: shown(node) for name, node in given.items()}
    try:
        words = ast.literal_eval(given["help"])
    except (KeyError, ValueError):
        words = value.get("help", "")
    if value.get("low", "None") != "None":
        high = value.get("high", "None")
        words += f" (from {value['low']} to {high})" if high != "None" else f" (from {value['low']})"
    if "choices" in value:
        words += f" (one of {value['choices']})"
    return value.get("default", ""), words


def is_field(node: ast.AST) -> bool:
    "Whether a statement of a class declares a public attribute that is not the class's own."
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
        return False
    return node.target.id[0] != "_" and not shown(node.annotation).startswith("ClassVar")


def field_rows(node: ast.ClassDef, notes: dict) -> list[list[str]]:  # name, type, default, meaning
    "The fields of a dataclass."
    rows = []
    for field in filter(is_field, node.body):
        default, meaning = shown(field.value), notes.get(field.end_lineno, "")
        if default.startswith(("knob(", "choose(")):
            default, meaning = knob(field.value)
        rows.append([field.target.id, shown(field.annotation), default, meaning])
    return rows


# Parameters


def arguments(node: ast.FunctionDef) -> list[tuple]:  # (prefix, argument or None for a bare star, default)
    "All parameters of a function, in order."
    a = node.args
    plain = a.posonlyargs + a.args
    defaults = [None] * (len(plain) - len(a.defaults)) + a.defaults
    every = [("", arg, default) for arg, default in zip(plain, defaults)]
    if every and every[0][1].arg in ("self", "cls"):
        every = every[1:]
    if a.vararg:
        every.append(("*", a.vararg, None))
    elif a.kwonlyargs:
        every.append(("*", None, None))
    every += [("", arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults)]
    return every + ([("**", a.kwarg, None)] if a.kwarg else [])


def parameter_rows(node: ast.FunctionDef, notes: dict) -> list[list[str]]:  # name, type, default, meaning
    "The parameters of a function; a comment is the last one's on its line. Last a row for what it returns."
    last = node.returns.end_lineno if node.returns else 0  # a comment there says what is returned
    rows, on_line = [], {}
    for prefix, arg, default in arguments(node):
        if arg is None:
            continue
        rows.append([prefix + arg.arg, shown(arg.annotation), shown(default), ""])
        on_line[(default or arg).end_lineno] = rows[-1]
    for line, row in on_line.items():
        row[3] = notes.get(line, "") if line != last else ""
    if shown(node.returns) not in ("", "None"):
        rows.append(["returns", shown(node.returns), "", notes.get(last, "")])
    return rows


def call_of(node: ast.FunctionDef) -> list[str]:
    "The parameters of a call, as one would write them."
    parts = []
    for prefix, arg, default in arguments(node):
        name = prefix + (arg.arg if arg else "")
        parts.append(f"{name}={shown(default)}" if default else name)
    return parts


def parameters(node: ast.AST, notes: dict) -> tuple[list[str], list[list[str]]]:
    "The parts of a call, and a row (name, type, default, meaning) for each parameter."
    if not isinstance(node, ast.ClassDef):
        return call_of(node), parameter_rows(node, notes)
    init = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    if init:
        return parameters(init[0], notes)
    rows = field_rows(node, notes)
    return [name + (f"={default}" if default else "") for name, _, default, _ in rows], rows


# Documents


def is_property(node: ast.AST) -> bool:
    "Whether a method is used without a call."
    return any("property" in shown(decorator) for decorator in node.decorator_list)


def signature(node: ast.AST, name: str, call: list[str]) -> str:
    "A call with what it returns, broken into lines where it is long."
    returns = "" if isinstance(node, ast.ClassDef) or not node.returns else f" -> {shown(node.returns)}"
    if is_property(node):
        return name + returns
    line = f"{name}({', '.join(call)}){returns}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n    " + ",\n    ".join(call) + f"\n){returns}"


def parameter_table(rows: list[list[str]]) -> str:
    "The parameters as a Markdown table."
    lines = [
        [f"`{name}`" if name != "returns" else "*returns*", code(kind), code(default), text(meaning)]
        for name, kind, default, meaning in rows
    ]
    return table([HEADER, *lines])


def document(node: ast.AST, module: str, notes: dict, owner: str = "") -> str:
    "Markdown of a function or a class: call, docstring, parameters; then its public methods, if it has some."
    name = owner + node.name
    call, rows = parameters(node, notes)
    level, in_contents = ("####", "") if owner else ("###", f" data-toc-label={node.name}")
    out = [
        f"{level} {node.name} {{ #{anchor(module, name)} .api{in_contents} }}",
        fence(signature(node, name, call), title=".api "),
    ]
    if doc := ast.get_docstring(node):
        out.append(text(doc))
    if any(meaning for *_, meaning in rows):
        out.append(parameter_table(rows))
    if isinstance(node, ast.ClassDef):
        bases = [base for base in map(shown, node.bases) if base != "Exception"]
        if bases:
            out.append("Extends " + ", ".join(map(code, bases)) + ".")
        methods = [method for method in public(node) if ast.get_docstring(method)]
        out += [document(method, module, notes, name + ".") for method in methods]
    return "\n\n".join(out)

"Code that reads: small cells, short functions, a docstring on every public name. Looks are ruff's business."

import ast
import json
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
MEDIAN, NINE_OF_TEN, FUNCTION = 12, 26, 40  # lines, at most

# Longer functions, by module, and why they are not shorter.
LONGER = {}


@cache
def exported_cells() -> list[tuple[str, str]]:
    "(module, source) of every exported cell."
    found = []
    for file in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if "/." in str(file):
            continue
        module = ""
        for cell in json.loads(file.read_text())["cells"]:
            lines = "".join(cell["source"]).splitlines()
            if cell["cell_type"] != "code" or not lines:
                continue
            if lines[0].startswith("#| default_exp"):
                module = lines[0].split()[-1].removesuffix(".__init__")
            if lines[0].startswith("#| export"):
                found.append((module, "\n".join(line for line in lines if not line.startswith("#|"))))
    return found


def lines_of(source: str) -> int:
    "Lines that are not empty."
    return sum(bool(line.strip()) for line in source.splitlines())


def definitions(tree: ast.AST, owner: str = ""):
    "(full name, node) of functions, classes and methods; not of what is defined within a function."
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield owner + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from definitions(node, f"{owner}{node.name}.")


def long_functions(source: str) -> dict[str, int]:
    "Name -> lines of the functions that are longer than `FUNCTION`."
    every = {
        name: node for name, node in definitions(ast.parse(source)) if not isinstance(node, ast.ClassDef)
    }
    lines = {name: node.end_lineno - node.lineno + 1 for name, node in every.items()}
    return {name: n for name, n in lines.items() if n > FUNCTION}


def is_property(node: ast.AST) -> bool:
    "Whether a method stands for an attribute, or sets it."
    decorators = map(ast.unparse, node.decorator_list)
    return any("property" in name or name.endswith(".setter") for name in decorators)


def undocumented(source: str) -> list[str]:
    "Public functions, classes and methods without a docstring. A property's name may say it all."
    return [
        name
        for name, node in definitions(ast.parse(source))
        if not any(part.startswith("_") for part in name.split("."))
        and not is_property(node)
        and not ast.get_docstring(node)
    ]


def test_cells_are_small():
    lines = sorted(n for _, source in exported_cells() if (n := lines_of(source)))
    assert len(lines) > 800
    assert median(lines) <= MEDIAN, f"half of the exported cells are longer than {median(lines)} lines"
    most = lines[int(0.9 * len(lines))]
    assert most <= NINE_OF_TEN, f"one exported cell of ten is longer than {most} lines"


def test_functions_are_short():
    found = {
        f"{module}.{name}": lines
        for module, source in exported_cells()
        for name, lines in long_functions(source).items()
    }
    longer = {name: lines for name, lines in found.items() if name not in LONGER}
    assert not longer, f"functions of more than {FUNCTION} lines"
    assert LONGER.keys() <= found.keys(), f"no longer long: {LONGER.keys() - found.keys()}"


def test_public_names_are_documented():
    bare = [f"{module}.{name}" for module, source in exported_cells() for name in undocumented(source)]
    assert not bare


@pytest.mark.parametrize(
    "source, long, bare",
    [
        ("def f():\n" + "    1\n" * 40, {"f": 41}, ["f"]),
        ('def f():\n    "Words."\n' + "    1\n" * 38, {}, []),
        ("class A:\n    def f(self):\n        def g(): pass\n    def _h(self): pass", {}, ["A", "A.f"]),
        (
            'class _A:\n    def f(self): pass\nclass B:\n    "B."\n    @property\n    def x(self): pass',
            {},
            [],
        ),
    ],
)
def test_the_measures_themselves(source, long, bare):
    assert long_functions(source) == long and undocumented(source) == bare
    assert lines_of("a\n\n  \nb") == 2

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
# Cells that import and do something else, by module, and why.
MIXED = {"train.dcosplace": "modules for other processes are imported in the cells that write them"}


@cache
def chapters() -> dict[str, list[str]]:
    "Module -> the code cells of the notebook that exports it."
    found = {}
    for file in sorted((ROOT / "nbs").rglob("*.ipynb")):
        cells = json.loads(file.read_text())["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        named = [source.split()[-1] for source in sources if source.startswith("#| default_exp")]
        if named and "/." not in str(file):
            found[named[0].removesuffix(".__init__")] = sources
    return found


def code_of(cell: str) -> str:
    "A cell without its directives."
    return "\n".join(line for line in cell.splitlines() if not line.startswith("#|"))


@cache
def exported_cells() -> list[tuple[str, str]]:
    "(module, source) of every exported cell."
    every = [(module, cell) for module, cells in chapters().items() for cell in cells]
    return [(module, code_of(cell)) for module, cell in every if cell.startswith("#| export")]


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


def imports_among_others(source: str) -> bool:
    "Whether a cell both imports and does something else."
    tree = ast.parse(source)
    imports = ast.Import | ast.ImportFrom
    inside = any(isinstance(node, imports) for node in ast.walk(tree))
    return inside and not all(isinstance(node, imports) for node in tree.body)


def test_imports_stand_in_cells_of_their_own():
    "For documentation nbdev runs the cells that import, and none of the others before them."
    every = [(module, cell) for module, cells in chapters().items() for cell in cells]
    plain = [(module, code_of(cell)) for module, cell in every if not cell.startswith("#| export")]
    mixed = {module: cell for module, cell in plain if imports_among_others(cell)}
    bad = {module: cell.strip().splitlines()[0] for module, cell in mixed.items() if module not in MIXED}
    assert not bad
    assert MIXED.keys() <= mixed.keys(), "an exception that is none"
    assert imports_among_others("import a\na.b()") and not imports_among_others("import a\nimport b")


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

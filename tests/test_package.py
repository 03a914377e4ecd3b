"The package as a whole: its layers, its imports, its names, what a wheel holds."

import ast
import json
import subprocess
import sys
import zipfile
from itertools import product

import pytest

# Layers from the bottom up, and which of those below each one imports: no arrow less, and none more.
# A module belongs to the longest name that it begins with.
LAYERS = {
    "core": "",
    "config": "",
    "images": "core",
    "log": "core",
    "processes": "",
    "data": "core config images processes",
    "data.drawn": "core",
    "models": "core config",
    "search": "core config images models",
    "train": "core config data models processes search",
    "viz": "core config images log data search",
    "runs": "core config log processes data search train viz",
    "locate": "core config images log data models search viz runs",
    "challenge": "core config log data data.drawn models search train runs",
    "recipes": "core config images log data data.drawn models search train viz runs challenge",
    "export": "core data log models runs search",
    "experiments": "core data models search train runs recipes",
    "compare": "core config log viz experiments",
    "decide": "core log models search train viz experiments compare",
    "table": "core config data log models search challenge recipes experiments",
    "explore": "log data models search viz runs challenge recipes experiments",
    "__main__": "config log processes data models search train runs locate recipes export experiments",
}
# The same within data, a row a layer: what names and folders say, what is right, groups, batches, layouts of
# folders, and what is read by them.
DATA = [
    ("names", "manifest"),
    ("positives", "streams", "squares"),
    ("partition", "samplers", "augment"),
    ("loaders", "eigenplaces"),
    ("layouts",),
    ("landmarks", "shards", "places", "checkup", "holdout"),
]
# Arrows that are allowed to these modules alone.
ONLY = {
    ("search", "models"): {"search.extract"},  # a store is named by the model that made it
    ("challenge", "data.drawn"): {"challenge.data"},
    ("recipes", "data.drawn"): {"recipes.places.data"},
    ("challenge", "runs"): {
        "challenge.data",
        "challenge.members",
    },  # where data lie, and what they are called
}


# What imports what


def module_files(root) -> dict:
    "Module -> its file; a package's front by the package's name. Fronts without an import are left out."
    found = {}
    for file in sorted((root / "landmark_nb").rglob("*.py")):
        parts = file.relative_to(root / "landmark_nb").with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and parts[-1] != "_modidx" and "import" in file.read_text():
            found[".".join(parts)] = file
    return found


def absolute(node: ast.ImportFrom, module: str, is_front: bool) -> str:
    "The full name of what is imported from."
    if not node.level:
        return node.module or ""
    base = f"landmark_nb.{module}".split(".")
    up = node.level - is_front
    return ".".join(base[: len(base) - up] + [node.module] * bool(node.module))


def imports_of(module: str, tree: ast.AST, known, is_front: bool = False) -> set:
    "The modules of the package that a module imports, at the top or inside a function."
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("landmark_nb.") for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, module, is_front).removeprefix("landmark_nb.")
            names = [f"{source}.{a.name}".removeprefix("landmark_nb.") for a in node.names]
            found |= {name if name in known else source for name in names}
    return (found & known) - {module}


def read_graph(root) -> dict:
    "Module -> the modules that it imports."
    files = module_files(root)
    return {
        module: imports_of(module, ast.parse(file.read_text()), files.keys(), file.name == "__init__.py")
        for module, file in files.items()
    }


@pytest.fixture(scope="module")
def graph(root) -> dict:
    return read_graph(root)


def layer_of(module: str) -> str:
    "The line of the table that a module belongs to."
    while module not in LAYERS:
        module = module.rpartition(".")[0]
    return module


def arrows(graph) -> dict:
    "Layer -> the other layers that its modules import."
    found = {layer: set() for layer in LAYERS}
    for module, targets in graph.items():
        found[layer_of(module)] |= {layer_of(t) for t in targets} - {layer_of(module)}
    return found


def test_the_table_is_what_is_imported(graph):
    table = {layer: set(below.split()) for layer, below in LAYERS.items()}
    seen, order = set(), list(LAYERS)
    for layer, below in table.items():
        assert below <= seen, f"{layer} may not import {below - seen}: not below it"
        seen.add(layer)
    assert len(graph) > 60 and {layer_of(m) for m in graph} | {"core", "images", "config"} == set(order)
    found = arrows(graph)
    for layer in order:
        new, gone = found[layer] - table[layer], table[layer] - found[layer]
        who = [
            f"{m} imports {t}" for m in graph for t in graph[m] if layer_of(m) == layer and layer_of(t) in new
        ]
        assert not new, f"arrows that the table does not have: {', '.join(who)}"
        assert not gone, f"{layer} no longer imports {gone}: take them out of the table"


def test_arrows_of_few(graph):
    for (layer, below), allowed in ONLY.items():
        who = {m for m in graph if layer_of(m) == layer and any(layer_of(t) == below for t in graph[m])}
        assert who == allowed, f"{layer} imports {below}"


def test_within_data(graph):
    rank = {name: i for i, row in enumerate(DATA) for name in row}
    inside = {m: [t for t in graph[m] if layer_of(t) == "data"] for m in graph if m.startswith("data.")}
    inside = {m: targets for m, targets in inside.items() if layer_of(m) == "data"}
    for module, targets in inside.items():
        for target in targets:
            a, b = module.split(".")[1], target.split(".")[1]
            assert a == b or rank[b] < rank[a], f"{module} imports {target}, which is not below it"


def test_nothing_below_a_front_imports_it(graph):
    fronts = [m for m in graph if any(other.startswith(m + ".") for other in graph)]
    assert set(fronts) == {"challenge", "data", "data.layouts", "locate", "models.aggregate"}
    for front in fronts:
        assert not [m for m in graph if m.startswith(front + ".") and front in graph[m]], front


def test_no_cycles(graph):
    graph, done = dict(graph), set()

    def visit(module, path=()):
        assert module not in path, " -> ".join((*path, module))
        if module in done or module not in graph:
            return
        for target in graph[module]:
            visit(target, (*path, module))
        done.add(module)

    for module in graph:
        visit(module)
    graph.update(a={"b"}, b={"a"})
    with pytest.raises(AssertionError, match="a -> b -> a"):  # the check can fail
        visit("a")


def test_drawn_worlds_are_imported_where_they_are_drawn(root):
    for module in ("recipes.places.data", "challenge.data"):
        tree = ast.parse(module_files(root)[module].read_text())
        top = ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef)], [])
        known = module_files(root).keys()
        assert not [t for t in imports_of(module, top, known) if t.startswith("data.drawn")], module


# Names


def sources(root):
    "(name, syntax tree) of every module, test, tool and benchmark, and of every cell that is plain Python."
    for folder in ("landmark_nb", "tests", "tools", "benchmarks"):
        for file in sorted((root / folder).rglob("*.py")):
            yield str(file.relative_to(root)), ast.parse(file.read_text())
    for file in sorted((root / "nbs").rglob("*.ipynb")):
        if "/." in str(file):
            continue
        for i, cell in enumerate(json.loads(file.read_text())["cells"]):
            text = "".join(cell["source"])
            if cell["cell_type"] == "code" and not text.lstrip().startswith(("%", "!")):
                yield f"{file.relative_to(root)}, cell {i}", ast.parse(text)


@pytest.fixture(scope="module")
def trees(root) -> dict:
    return dict(sources(root))


def sources_of_imports(tree: ast.AST) -> set:
    "The modules of the package that are imported from by their full names."
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {node.module for node in nodes if node.module.split(".")[0] == "landmark_nb"}


def test_every_import_leads_somewhere(root, trees):
    for name, tree in trees.items():
        for module in sources_of_imports(tree):
            place = root / module.replace(".", "/")
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"{name}: there is no {module}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_imports(tree: ast.AST) -> list:
    "Private names of the package's modules that are imported, or used as an attribute of an imported module."
    modules, found = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("landmark_nb")):
            found += [a.name for a in node.names if is_private(a.name)]
            modules |= {a.asname or a.name for a in node.names if a.name.islower()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found += [f"{node.value.id}.{node.attr}"] * is_private(node.attr)
    return found


def test_no_private_name_of_another_module(trees):
    bad = {name: found for name, tree in trees.items() if (found := private_imports(tree))}
    assert not bad
    example = "from landmark_nb.search import knn\nfrom landmark_nb.core import _x\nknn._index()"
    assert private_imports(ast.parse(example)) == ["_x", "knn._index"]


RECIPE_NAMES = ("cosplace", "dcosplace", "landmark")


def asks_for_recipe(node: ast.AST) -> bool:
    "Whether an expression is a recipe's name, the key 'recipe', or an attribute `recipe`."
    if isinstance(node, ast.Constant):
        return node.value in (*RECIPE_NAMES, "recipe")
    return isinstance(node, ast.Attribute) and node.attr == "recipe"


def recipe_branches(tree: ast.AST) -> list:
    "Comparisons with a recipe's name, or of an attribute `recipe`."
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    return [ast.unparse(node) for node in compared if any(map(asks_for_recipe, ast.walk(node)))]


def test_no_branch_on_a_recipe_below_recipes(root):
    order = list(LAYERS)
    below = order[: order.index("challenge")]
    trees = {m: ast.parse(file.read_text()) for m, file in module_files(root).items() if layer_of(m) in below}
    bad = {module: found for module, tree in trees.items() if (found := recipe_branches(tree))}
    assert not bad
    example = "if c.recipe == name or x in ('landmark',) or config.get('recipe') == y: pass"
    assert len(recipe_branches(ast.parse(example))) == 3


def test_setting_names_of_every_choice():
    from landmark_nb.config import flat_fields, from_flat
    from landmark_nb.experiments import RECIPES

    assert set(RECIPES) >= set(RECIPE_NAMES)
    for name, entry in RECIPES.items():
        recipe = entry.make()
        chosen = {
            n: f.metadata["registry"] for n, (f, _) in flat_fields(recipe).items() if "registry" in f.metadata
        }
        assert {"loss", "aggregation", "rerank"} <= chosen.keys(), name
        for methods in product(*chosen.values()):
            flat_fields(from_flat(recipe, dict(zip(chosen, methods))))


def test_setting_names_that_differ_by_case_alone_are_refused():
    from dataclasses import dataclass

    from landmark_nb.config import Config, flat_fields, knob

    @dataclass(frozen=True)
    class Two(Config):
        M: float = knob(1.0)
        m: float = knob(1.0)

    with pytest.raises(TypeError, match="setting m .* is stated as M, too"):
        flat_fields(Two())


# Imports in a process of their own


def run_python(code):
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout.splitlines()[-1])


HEAVY = ("torch", "timm", "faiss", "numba", "fastcore", "nbdev")
LIGHT = """
landmark_nb landmark_nb.core landmark_nb.config landmark_nb.images landmark_nb.log landmark_nb.data.partition
landmark_nb.data.layouts landmark_nb.search.store landmark_nb.search.knn landmark_nb.search.metrics
landmark_nb.search.ensemble landmark_nb.search.recognise landmark_nb.search.rerank landmark_nb.viz.report
landmark_nb.__main__
"""


@pytest.mark.parametrize("module", LIGHT.split())
def test_import_touches_no_torch(module):
    code = f"import sys, json, {module}; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    assert run_python(code) == []


STATE = """
import json, logging, os, random, warnings
import numpy as np, torch

def state():
    return [
        torch.initial_seed(),
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
        str(torch.get_default_dtype()),
        logging.root.level,
        len(logging.root.handlers),
        len(warnings.filters),
        hash(random.getstate()),
        np.random.get_state()[1].sum().item(),
        dict(os.environ),
        os.getcwd(),
    ]

import numba, polars, plotly.graph_objects, PIL.Image, tqdm, timm, scipy.spatial, ipywidgets, anywidget
plotly.graph_objects.FigureWidget  # imported when it is first named
before = state()
import importlib
for name in NAMES:
    importlib.import_module(name)
print(json.dumps([before, state()]))
"""


def test_import_changes_nothing(graph):
    names = sorted(f"landmark_nb.{module}" for module in graph)
    before, after = run_python(STATE.replace("NAMES", repr(names)))
    assert before == after


def test_what_papermill_runs_takes_parameters(root):
    "Without the tag papermill puts what it is given before the defaults, which then win."
    found = {}
    for file in [root / "nbs/train.ipynb", *(root / "nbs/runs").glob("*.ipynb")]:
        cells = json.loads(file.read_text())["cells"]
        if f"papermill nbs/{file.relative_to(root / 'nbs')}" in "".join(map(str, cells)):
            found[file.name] = sum("parameters" in c["metadata"].get("tags", []) for c in cells)
    assert len(found) >= 5 and set(found.values()) == {1}, found


def test_exported_library_does_not_need_nbdev(root):
    for file in (root / "landmark_nb").rglob("*.py"):
        text = file.read_text()
        assert "fastcore" not in text, file
        assert "nbdev" not in "\n".join(text.replace("_modidx", "").splitlines()[3:]), file


# The wheel


def test_wheel(root, tmp_path):
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(root)]
    r = subprocess.run([sys.executable, "-m", "pip", *wheel], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as z:
        names = z.namelist()
        meta = z.read(next(n for n in names if n.endswith("METADATA"))).decode()
    modules = {str(file.relative_to(root)) for file in module_files(root).values()}
    assert modules <= set(names), modules - set(names)
    assert not [n for n in names if n.startswith(("nbs", "tests", "tools"))]
    assert all(f"Provides-Extra: {extra}" in meta for extra in ("cpu", "gpu", "dev"))

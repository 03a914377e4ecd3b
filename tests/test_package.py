"The package as a whole: its layers, its imports, what a wheel holds."

import ast
import json
import subprocess
import sys
import zipfile

import pytest

ALLOWED = {  # a package may import these
    "core": set(),
    "config": {"core"},
    "images": {"core"},
    "data": {"core", "config", "images", "data"},
    "models": {"core", "config", "images", "models"},
    "search": {"core", "config", "images", "search", "models"},
    "train": {"core", "config", "images", "data", "models", "search", "train"},
    "viz": {"core", "config", "images", "data", "search", "viz"},
    "runs": {"core", "config", "search", "train"},
    "challenge": {"core", "config", "images", "data", "models", "search", "train", "viz", "runs"},
    "experiments": {
        "core",
        "config",
        "images",
        "data",
        "models",
        "search",
        "train",
        "viz",
        "runs",
        "challenge",
    },
    "compare": {"core", "train", "viz", "experiments"},
    "explore": {"core", "config", "data", "models", "search", "viz", "runs", "challenge", "experiments"},
    "train.__main__": {"experiments", "train"},  # the command line, not a part of the trainers
}


def imports(root):
    "Module -> the modules of the package that it imports, at the top or inside a function."
    out = {}
    for f in (root / "landmark_nb").rglob("*.py"):
        if f.name.startswith("_"):
            continue
        name = ".".join(f.relative_to(root / "landmark_nb").with_suffix("").parts)
        found = set()
        for node in ast.walk(ast.parse(f.read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            if node.level:
                base = ("landmark_nb." + name).split(".")[: -node.level]
                full = ".".join(base + ([node.module] if node.module else []))
                if full.startswith("landmark_nb."):
                    found.add(full.removeprefix("landmark_nb."))
                elif full == "landmark_nb":
                    found |= {a.name for a in node.names if a.name != "__version__"}
            elif (node.module or "").startswith("landmark_nb."):
                found.add(node.module.removeprefix("landmark_nb."))
        out[name] = found
    return out


def test_arrows_point_down(root):
    graph = imports(root)
    assert len(graph) > 15
    for module, targets in graph.items():
        allowed = ALLOWED.get(module) or ALLOWED[module.split(".")[0]]
        for t in targets:
            assert t.split(".")[0] in allowed, f"{module} imports {t}"
    # search.extract names the model that made a store by models.embed's fingerprint; nothing else of search looks at models
    assert {
        m for m, t in graph.items() if m.startswith("search") and any(x.startswith("models") for x in t)
    } == {"search.extract"}
    drawn = {m for m, t in graph.items() if t & {"data.world", "data.draw", "data.monuments"}}
    assert drawn <= {"data.world", "data.monuments", "challenge", "experiments"}, (
        "only the drawn presets import the drawn world"
    )


def test_no_cycles(root):
    graph, done = imports(root), set()

    def visit(m, path=()):
        assert m not in path, " -> ".join((*path, m))
        if m in done or m not in graph:
            return
        for t in graph[m]:
            visit(t, (*path, m))
        done.add(m)

    for m in graph:
        visit(m)
    with pytest.raises(AssertionError, match="a -> b -> a"):  # the check can fail
        graph.update(a={"b"}, b={"a"})
        visit("a")


def run_python(code):
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "module",
    [
        "landmark_nb",
        "landmark_nb.core",
        "landmark_nb.config",
        "landmark_nb.data.partition",
        "landmark_nb.search.metrics",
        "landmark_nb.viz.report",
    ],
)
def test_import_touches_no_torch(module):
    heavy = run_python(
        f"import sys, json, {module}; print(json.dumps([m for m in ('torch', 'timm', 'faiss', 'numba', 'fastcore', 'nbdev') if m in sys.modules]))"
    )
    assert heavy == []


def test_import_changes_nothing(root):
    names = sorted("landmark_nb." + m for m in imports(root))
    before, after = run_python(f"""
import json, logging, os, random, warnings, numpy as np, torch
def state(): return [torch.initial_seed(), torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype().__str__(), logging.root.level, len(logging.root.handlers),
                     len(warnings.filters), hash(random.getstate()), np.random.get_state()[1].sum().item(), dict(os.environ), os.getcwd()]
import numba, polars, plotly.graph_objects, PIL.Image, tqdm, timm, scipy.spatial, ipywidgets, anywidget
plotly.graph_objects.FigureWidget                        # imported when it is first named
a = state()
import importlib
for n in {names!r}: importlib.import_module(n)
print(json.dumps([a, state()]))""")
    assert before == after


def test_exported_library_does_not_need_nbdev(root):
    for f in (root / "landmark_nb").rglob("*.py"):
        assert (
            "fastcore" not in f.read_text()
            and "nbdev" not in f.read_text().replace("_modidx", "").splitlines()[3:]
        ), f


def test_wheel(root, tmp_path):
    r = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "-q",
            "-w",
            str(tmp_path),
            str(root),
        ],
        capture_output=True,
        text=True,
    )
    assert r.returncode == 0, r.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as z:
        names = z.namelist()
    assert "landmark_nb/experiments.py" in names and "landmark_nb/data/partition.py" in names
    assert not [n for n in names if n.startswith(("nbs", "tests", "tools"))]
    meta = next(n for n in names if n.endswith("METADATA"))
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as z:
        text = z.read(meta).decode()
    assert all(f"Provides-Extra: {e}" in text for e in ("cpu", "gpu", "dev"))

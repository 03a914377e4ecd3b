"""How long a knob takes from the key to the pictures: JupyterLab in headless Chromium, the knob explorer over 1,000 queries x 1,000 candidates.

A key is pressed on a slider; the clock stops when metric, figure and pictures have all changed in the page. Besides, in Python alone: one pass of the metric,
and what a notebook without the explorer would do instead (apply the rule to all queries, then mean average precision by the public functions)."""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import nbformat
from common import save

PRESSES = 30
SHOW = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from pathlib import Path
from PIL import Image
from tune import INDEX, Q, problem as drawn
from landmark_nb.data.places import read_folder
from landmark_nb.viz.explorers.results import Predictions, Results
from landmark_nb.viz.widgets import KnobExplorer
problem, r = drawn(), np.random.default_rng(0)
folder = Path("photographs")
for part, n in (("queries", Q), ("index", INDEX)):         # a few hundred photographs under many names
    (folder / part).mkdir(parents=True)
    for i in range(n):
        f = folder / part / f"{{i:06d}}.jpg"
        if i < 300: Image.fromarray((r.random((48, 64, 3)) * 255).astype(np.uint8)).resize((640, 480)).save(f)
        else: f.hardlink_to(folder / part / f"{{i % 300:06d}}.jpg")
queries, index = read_folder(folder / "queries"), read_folder(folder / "index")
results = Results(queries, index, {{"as searched": problem.ranking}}, problem.positives, Predictions(problem.qc, problem.qp, *problem.index, [str(t) for t in range(2000)]))
KnobExplorer(problem, results)
"""
WATCH = """() => {
  const root = document.querySelector('.lm-explorer'), drawn = c => root.querySelector(c)?.dataset.drawn;
  const state = () => ({metric: drawn('.lm-metric [data-drawn]'), pictures: drawn('.lm-pictures [data-drawn]'), figure: JSON.stringify(root.querySelector('.js-plotly-plot')._fullData[0].y?.slice?.(0, 20) ?? '') + root.querySelectorAll('.bars path').length});
  window.__wait = key => { const was = state(), at = performance.now(), t = {}; return new Promise(done => { const look = () => { const s = state();
    for (const k of ['metric', 'pictures', 'figure']) if (!(k in t) && s[k] !== was[k]) t[k] = performance.now() - at;
    if (Object.keys(t).length === 3 && [...root.querySelectorAll('.lm-pictures img')].every(i => i.complete)) { observer.disconnect(); requestAnimationFrame(() => done(t)); } };
    const observer = new MutationObserver(look); observer.observe(root, {subtree: true, childList: true, attributes: true, characterData: true}); setTimeout(() => done(t), 10000); }); } }"""


def in_the_browser() -> dict:
    from lab import CHROMIUM, jupyterlab, run_all
    from playwright.sync_api import sync_playwright

    folder = Path(tempfile.mkdtemp())
    cell = nbformat.v4.new_code_cell
    nbformat.write(
        nbformat.v4.new_notebook(
            metadata=dict(kernelspec=dict(display_name="python3", language="python", name="python3")),
            cells=[cell(SHOW)],
        ),
        folder / "bench.ipynb",
    )
    exe = shutil.which("chromium") or shutil.which("google-chrome")
    if exe is None:
        return {}
    try:
        with sync_playwright() as p, jupyterlab(folder) as lab:
            browser = p.chromium.launch(executable_path=exe, args=CHROMIUM)
            page = run_all(browser, lab, "bench.ipynb")
            page.locator(".lm-explorer .bars, .lm-explorer .js-plotly-plot").first.wait_for()
            page.evaluate(WATCH)
            handle, times = page.locator(".lm-knobs-boost .noUi-handle").first, []
            handle.focus()
            for i in range(PRESSES + 5):
                page.evaluate("() => { window.__t = window.__wait() }")
                handle.press("ArrowRight" if i < PRESSES else "ArrowLeft")
                times.append(page.evaluate("() => window.__t"))
                page.wait_for_timeout(80)
            browser.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    times = times[5:]  # the first ones load pictures and compile
    assert all(len(t) == 3 for t in times), times
    out = {
        f"{k}, median ms": round(statistics.median(t[k] for t in times), 1)
        for k in ("metric", "figure", "pictures")
    }
    every = sorted(max(t.values()) for t in times)
    return out | {
        "all three, median ms": round(statistics.median(every), 1),
        "all three, slowest ms": round(every[-1], 1),
        "key presses": len(times),
    }


def in_python() -> dict:
    from tune import problem as drawn

    from landmark_nb.search.metrics import query_scores
    from landmark_nb.search.tune import SoftLabelConfig

    problem = drawn()

    def clock(f, n=9):
        f(SoftLabelConfig(boost_1_1=0.1))
        t = []
        for i in range(n):
            a = time.perf_counter()
            f(SoftLabelConfig(boost_1_1=0.2 + i / 50))
            t.append(1000 * (time.perf_counter() - a))
        return round(statistics.median(t), 1)

    ours = clock(problem.values)
    plain = clock(lambda c: query_scores("mAP@100", problem.apply(c).ids, problem.positives))
    return {
        "metric of all queries, ms": ours,
        "the same by applying the rule and scoring it, ms": plain,
        "ratio": round(plain / ours, 1),
    }


if __name__ == "__main__":
    from tune import CANDIDATES, INDEX, Q

    save("explorers", queries=Q, candidates=CANDIDATES, index=INDEX, **in_python(), **in_the_browser())

"""How long a knob takes from the key to the pictures, over 1,000 queries x 1,000 candidates.

A key is pressed on a slider of the knob explorer, in JupyterLab in headless Chromium; the clock stops when
metric, figure and pictures have all changed in the page. Besides, in Python alone: one pass of the metric,
and what a notebook without the explorer would do instead (apply the rule to all queries, then mean average
precision by the public functions).
"""

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
WARM_UP = 5  # presses that load pictures and compile
SHOW = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import numpy as np
from PIL import Image
from tune import INDEX, Q, problem as drawn
from landmark_nb.data.layouts.folder import read_folder
from landmark_nb.viz.explorers.results import Predictions, Results
from landmark_nb.viz.widgets import KnobExplorer

problem, r = drawn(), np.random.default_rng(0)
folder = Path("photographs")

def photograph(file):
    pixels = (r.random((48, 64, 3)) * 255).astype(np.uint8)
    Image.fromarray(pixels).resize((640, 480)).save(file)

for part, n in (("queries", Q), ("index", INDEX)):  # a few hundred photographs under many names
    (folder / part).mkdir(parents=True)
    for i in range(n):
        file = folder / part / f"{{i:06d}}.jpg"
        if i < 300:
            photograph(file)
        else:
            file.hardlink_to(folder / part / f"{{i % 300:06d}}.jpg")
queries, index = read_folder(folder / "queries"), read_folder(folder / "index")
said = Predictions(problem.qc, problem.qp, *problem.index, [str(t) for t in range(2000)])
results = Results(queries, index, {{"as searched": problem.ranking}}, problem.positives, said)
KnobExplorer(problem, results)
"""
WATCH = """() => {
  const root = document.querySelector('.lm-explorer');
  const drawn = part => root.querySelector(part)?.dataset.drawn;
  const bars = () => {
    const values = root.querySelector('.js-plotly-plot')._fullData[0].y?.slice?.(0, 20) ?? '';
    return JSON.stringify(values) + root.querySelectorAll('.bars path').length;
  };
  const state = () => ({
    metric: drawn('.lm-metric [data-drawn]'), pictures: drawn('.lm-pictures [data-drawn]'), figure: bars(),
  });
  const loaded = () => [...root.querySelectorAll('.lm-pictures img')].every(image => image.complete);
  window.__wait = () => new Promise(done => {
    const before = state(), began = performance.now(), times = {};
    const look = () => {
      const now = state();
      for (const part of ['metric', 'pictures', 'figure'])
        if (!(part in times) && now[part] !== before[part]) times[part] = performance.now() - began;
      if (Object.keys(times).length === 3 && loaded()) {
        observer.disconnect();
        requestAnimationFrame(() => done(times));
      }
    };
    const observer = new MutationObserver(look);
    observer.observe(root, {subtree: true, childList: true, attributes: true, characterData: true});
    setTimeout(() => done(times), 10000);
  });
}"""


def write_notebook(path: Path, code: str):
    "A notebook of one cell."
    kernel = dict(display_name="python3", language="python", name="python3")
    cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(metadata=dict(kernelspec=kernel), cells=cells), path)


def press_keys(page) -> list[dict]:  # milliseconds until metric, figure and pictures changed
    "Press a key on the first knob, again and again; then back, so that it does not reach its end."
    page.locator(".lm-explorer .bars, .lm-explorer .js-plotly-plot").first.wait_for()
    page.evaluate(WATCH)
    handle, times = page.locator(".lm-knobs-boost .noUi-handle").first, []
    handle.focus()
    for i in range(PRESSES + WARM_UP):
        page.evaluate("() => { window.__t = window.__wait() }")
        handle.press("ArrowRight" if i < PRESSES else "ArrowLeft")
        times.append(page.evaluate("() => window.__t"))
        page.wait_for_timeout(80)
    assert all(len(t) == 3 for t in times[WARM_UP:]), times
    return times[WARM_UP:]


def summary(times: list[dict]) -> dict:
    "Medians of each part, and of the last of them."
    parts = ("metric", "figure", "pictures")
    medians = {f"{k}, median ms": round(statistics.median(t[k] for t in times), 1) for k in parts}
    slowest = [max(t.values()) for t in times]
    return medians | {
        "all three, median ms": round(statistics.median(slowest), 1),
        "all three, slowest ms": round(max(slowest), 1),
        "key presses": len(times),
    }


def in_the_browser() -> dict:
    "From the key to the pictures; nothing where there is no browser."
    from lab import CHROMIUM, jupyterlab, run_all
    from playwright.sync_api import sync_playwright

    exe = shutil.which("chromium") or shutil.which("google-chrome")
    if exe is None:
        return {}
    folder = Path(tempfile.mkdtemp())
    write_notebook(folder / "bench.ipynb", SHOW)
    try:
        with sync_playwright() as playwright, jupyterlab(folder) as lab:
            browser = playwright.chromium.launch(executable_path=exe, args=CHROMIUM)
            times = press_keys(run_all(browser, lab, "bench.ipynb"))
            browser.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return summary(times)


def median_ms(function, n: int = 9) -> float:
    "Of a function of a config, for n configs that it has not seen."
    from landmark_nb.search.problems import SoftLabelConfig

    function(SoftLabelConfig(boost_1_1=0.1))
    times = []
    for i in range(n):
        began = time.perf_counter()
        function(SoftLabelConfig(boost_1_1=0.2 + i / 50))
        times.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(times), 1)


def in_python() -> dict:
    "One pass of the metric, and the same by the public functions."
    from tune import problem as drawn

    from landmark_nb.search.metrics import query_scores

    problem = drawn()
    ours = median_ms(problem.values)
    plain = median_ms(lambda c: query_scores("mAP@100", problem.apply(c).ids, problem.positives))
    return {
        "metric of all queries, ms": ours,
        "the same by applying the rule and scoring it, ms": plain,
        "ratio": round(plain / ours, 1),
    }


if __name__ == "__main__":
    from tune import CANDIDATES, INDEX, Q

    save("explorers", queries=Q, candidates=CANDIDATES, index=INDEX, **in_python(), **in_the_browser())

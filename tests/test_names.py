"Names of sets, runs, groups and files are texts in every figure, never markup."

import inspect
import json
import re
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest

from landmark_nb.data.partition import assign
from landmark_nb.viz import plots
from landmark_nb.viz.explorers.monitor import RunLog, loss_curves, score_curves, traffic
from landmark_nb.viz.report import Section, write_report

EVIL = '<a href="https://example.invalid">x</a><img src=x onerror=alert(1)></script><script>alert(2)</script>'
FOLDER = "<a href=x>run"  # a name that a folder may have
SPREAD = np.array([[0.0, 0.0], [40.0, 30.0], [90.0, 60.0], [20.0, 70.0]])
PARTITION = assign(*(np.tile(v, 6) for v in (SPREAD[:, 0], SPREAD[:, 1], [0.0, 90.0, 180.0, 270.0])))
PLACES = SimpleNamespace(
    name=EVIL, database=SimpleNamespace(place=SPREAD), queries=SimpleNamespace(place=SPREAD + 3)
)
STEPS = [dict(step=i, group=g, loss=3.0 - i / 9) for i, g in enumerate([0, 0, 1, 1, 0, 1])]
SCORES = {"1": 0.5, "5": 0.75}
EVALS = [dict(set=EVIL, step=i, images=9 * i, seconds=60.0 * i, recall=SCORES, gap=0.5) for i in (1, 2)]
FIGURES = {
    "map_figure": lambda: plots.map_figure(PARTITION, [0], [PLACES]),
    "class_sizes": lambda: plots.class_sizes(PARTITION, [0], EVIL),
    "loss_figure": lambda: plots.loss_figure(STEPS, unit=EVIL, name=EVIL),
    "recall_over_time": lambda: plots.recall_over_time(EVALS, before=0.1),
    "compare_runs": lambda: plots.compare_runs({EVIL: EVALS, "b": EVALS}),
    "score_over_time": lambda: plots.score_over_time(EVALS, {"gap": EVIL}),
    "rank_counts": lambda: plots.rank_counts({EVIL: [3, 2, 1]}),
    "recall_bars": lambda: plots.recall_bars({EVIL: {EVIL: 0.5}, "b": {EVIL: 0.6}}, title=EVIL),
    "style": lambda: plots.style(go.Figure(go.Bar(x=[EVIL], y=[1], text=[EVIL])), EVIL),
}
OURS = re.compile("<br>|</?b>|</?extra>")  # what templates may hold


def texts(value, key: str = ""):
    "Every text of a figure, with what it is called."
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from texts(v, k)
    elif isinstance(value, list):
        for v in value:
            yield from texts(v, key)


def tags(fig: go.Figure) -> list[str]:
    "The texts of a figure in which plotly would find a tag that is not ours."
    found = list(texts(json.loads(fig.to_json())))
    return [t for key, t in found if "<" in (OURS.sub("", t) if key.endswith("template") else t)]


def test_the_check_can_fail():
    assert tags(go.Figure(go.Bar(y=[1], name=EVIL))) == [EVIL]
    assert tags(go.Figure(go.Bar(y=[1], hovertemplate=f"%{{y}}<extra>{EVIL}</extra>")))


def test_every_figure_is_looked_at():
    "A figure that `viz.plots` learns to draw has its line in the table."
    drawn = set()
    for name in plots.__all__:
        signature = inspect.signature(f) if inspect.isfunction(f := getattr(plots, name)) else None
        if signature and signature.return_annotation is go.Figure and "fig" not in signature.parameters:
            drawn.add(name)
    assert drawn == FIGURES.keys() - {"style"}


@pytest.mark.parametrize("name", FIGURES)
def test_names_are_texts(name):
    fig = FIGURES[name]()
    assert tags(fig) == []
    assert "&lt;a href=" in fig.to_json()


@pytest.fixture
def run(tmp_path):
    "A run's folder with such a name, whose log and settings say such things."
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(loss=EVIL, recipe=EVIL)))
    steps = [dict(kind="step", seconds=1.0, **s) for s in STEPS]
    rounds = [dict(kind="round", step=i, bytes=100, workers=2) for i in range(3)]
    lines = steps + rounds + [dict(kind="eval", **e) for e in EVALS]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_explorers(run):
    log = RunLog(run)
    figures = [loss_curves(log), score_curves([log, log], "step", "R@1"), traffic([log, log])]
    assert all(len(fig.data) for fig in figures)
    assert [tags(fig) for fig in figures] == [[]] * 3


def test_a_report_has_no_links_but_its_own(browser, tmp_path):
    "What a browser makes of it: no link, no picture, no script that a name would be."
    figures = [Section(EVIL, EVIL, draw()) for draw in FIGURES.values()]
    figures.append(Section("", "", go.Figure(go.Bar(x=[EVIL], y=[1], name=EVIL, showlegend=True))))
    figures.append(Section("rows", "", [[EVIL], [EVIL]]))
    path = write_report(tmp_path / "report.html", EVIL, EVIL, [(EVIL, EVIL)], figures, EVIL)
    page = browser.new_page()
    said = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function(f"() => document.querySelectorAll('.js-plotly-plot').length == {len(figures) - 1}")
    page.wait_for_timeout(500)
    assert said == []
    assert page.locator(".js-plotly-plot a:not(.modebar-btn)").count() == 0
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("a[href*=example]").count() == 0
    legend = page.locator(".legendtext").all_text_contents()
    assert any(text.startswith('<a href="https://example.invalid">x</a>') for text in legend), legend
    page.close()

"Every explorer's notebook in a real JupyterLab, moved with the mouse, and as an app without code."

import io
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from lab import ROOT, TOKEN, drag, free_port, jupyterlab, nothing_wrong, run_all, serving, watched
from playwright.sync_api import expect

NAMES = ("retrieval", "knobs", "training", "descriptors", "groups")


def project(folder: Path) -> Path:
    "A folder that is taken for the project: notebooks below it find the drawn worlds that are there already."
    shutil.copy(ROOT / "settings.ini", folder)
    (ROOT / "worlds").mkdir(exist_ok=True)
    (folder / "worlds").symlink_to(ROOT / "worlds")
    for n in NAMES:
        shutil.copy(ROOT / f"nbs/tutorials/explore_{n}.ipynb", folder)
    return folder


def keep_picture(explorer, name: str, n: int = 0):
    "For `make pictures`: the n-th explorer of a notebook, as the site shows it."
    if not os.environ.get("PICTURES"):
        return
    from PIL import Image

    to = ROOT / os.environ["PICTURES"] / f"{name}{f'-{n + 1}' if n else ''}.png"
    to.parent.mkdir(parents=True, exist_ok=True)
    explorer.scroll_into_view_if_needed()
    explorer.page.wait_for_timeout(600)
    Image.open(io.BytesIO(explorer.screenshot())).convert("RGB").quantize(192).save(to, optimize=True)


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    with jupyterlab(project(tmp_path_factory.mktemp("lab"))) as lab:
        yield lab


@pytest.fixture
def opened(browser, lab, artefacts):
    "Open an explorer's notebook: a page, and something that takes a picture of its n-th explorer."
    pages = []

    def open_(name):
        page = run_all(browser, lab, f"explore_{name}.ipynb")
        pages.append(page)

        def picture(what, n=0):
            page.set_viewport_size(dict(width=1500, height=2400))
            page.wait_for_timeout(600)
            shot = page.locator(".lm-explorer").nth(n)
            shot.scroll_into_view_if_needed()
            page.wait_for_timeout(400)
            shot.screenshot(path=artefacts / f"{name}-{what}.png")
            if what == "after":
                keep_picture(shot, f"explore_{name}", n)
            page.set_viewport_size(dict(width=1500, height=1100))

        return page, picture

    yield open_
    for page in pages:
        page.close()


def loaded(images) -> bool:
    return images.evaluate_all("els => els.length > 0 && els.every(e => e.complete && e.naturalWidth > 0)")


def ys(explorer, n=0):
    return (
        explorer.locator(".js-plotly-plot")
        .nth(n)
        .evaluate("e => JSON.stringify(e._fullData.map(t => Array.from(t.y || [])))")
    )


def test_retrieval(opened):
    page, picture = opened("retrieval")
    x = page.locator(".lm-explorer").first
    found = x.locator(".lm-a .lm-found")
    expect(x.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=30000)
    before, star = found.get_attribute("data-query"), ys(x)
    x.get_by_role("button", name="next wrong one").click()
    expect(found).not_to_have_attribute("data-query", before)
    assert ys(x) != star, "the star moved on the map"
    expect(found.locator(".lm-wrong").first).to_contain_text("1 · ")
    drag(page, x.locator(".widget-hslider").first, 0.5)
    expect(found).not_to_have_attribute("data-shown", "11")
    page.wait_for_timeout(700)  # a drag passes through other values
    n = int(found.get_attribute("data-shown"))
    expect(found.locator("figure")).to_have_count(n + 1)
    expect(x.locator(".lm-b figure")).to_have_count(n + 1)
    drag(page, x.locator(".widget-hslider").first, 0.1)
    x.get_by_label("show").select_option("lost")
    expect(found.locator(".lm-badge").first).to_be_visible()
    x.get_by_label("show").select_option("all")
    was = found.get_attribute("data-query")
    x.locator(".js-plotly-plot").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    at = x.locator(".js-plotly-plot").evaluate(
        "e => { const t = e._fullData[1], l = e._fullLayout, b = e.getBoundingClientRect(); const i = t.x.length - 1; return [b.x + l._size.l + l.xaxis.d2p(t.x[i]), b.y + l._size.t + l.yaxis.d2p(t.y[i])] }"
    )
    page.mouse.move(at[0] - 3, at[1])
    page.mouse.move(*at, steps=3)
    page.wait_for_timeout(200)
    page.mouse.click(*at)
    expect(found).not_to_have_attribute("data-query", was)
    assert loaded(x.locator("figure img"))
    nothing_wrong(page)
    picture("after")


def test_knobs(opened):
    page, picture = opened("knobs")
    x = page.locator(".lm-explorer").first
    metric, pictures, bars = (
        x.locator(".lm-metric [data-drawn]"),
        x.locator(".lm-pictures [data-drawn]"),
        x.locator(".js-plotly-plot .bars .point"),
    )
    expect(x.locator(".js-plotly-plot").first).to_be_visible(timeout=30000)
    picture("before")
    said, images = metric.inner_text(), pictures.inner_html()
    drag(page, x.locator(".lm-knobs-boost .widget-hslider").first, 0.5)
    expect(bars.first).to_be_visible()
    assert metric.inner_text() != said and "+" in metric.inner_text() and pictures.inner_html() != images
    assert "0.0 % pairs boosted" not in metric.inner_text()
    gained = x.locator(".lm-gained select option")
    assert gained.count() > 0
    x.locator(".lm-gained select").select_option(index=0)
    query = pictures.locator(".lm-found").get_attribute("data-query")
    expect(page.locator(".lm-explorer").nth(1).locator(".lm-a .lm-found")).to_have_attribute(
        "data-query", query
    )  # the retrieval explorer follows
    x.locator(".lm-code summary").click()
    expect(x.locator(".lm-code pre")).to_contain_text("SoftLabelConfig(boost_1_1=")
    picture("after")
    x.get_by_role("button", name="undo").click()
    expect(x.locator(".lm-code pre")).not_to_contain_text("boost_1_1")
    x.get_by_role("button", name="tune from here").click()
    expect(x.locator(".lm-wordy", has_text="held out, in 100 trials")).to_be_visible(timeout=60000)
    for n in (1, 2, 3):
        picture("after", n)
    nothing_wrong(page)


def test_training_while_it_runs(browser, lab, opened, artefacts):
    page = run_all(browser, lab, "explore_training.ipynb", wait=False)
    step = page.locator(".lm-status [data-step]")
    step.wait_for(timeout=90000)
    seen = {step.get_attribute("data-step")}
    for _ in range(300):
        seen.add(step.get_attribute("data-step"))
        if "48" in seen:
            break
        page.wait_for_timeout(200)
    page.wait_for_function("() => window.__ran", timeout=180000)
    assert len(seen) > 2, f"the steps that were seen: {seen}"
    x = page.locator(".lm-explorer").first
    curves = ys(x, 1)
    page.get_by_role("radio", name="images").or_(page.get_by_role("button", name="images")).first.click()
    expect(x.locator(".js-plotly-plot").nth(1)).to_contain_text("training images seen")
    assert ys(x, 1) == curves, "another clock, the same scores"
    page.set_viewport_size(dict(width=1500, height=1600))
    page.wait_for_timeout(800)
    nothing_wrong(page)
    x.screenshot(path=artefacts / "training-after.png")
    keep_picture(x, "explore_training")
    page.close()


def test_descriptors(opened):
    page, picture = opened("descriptors")
    said = page.locator(".lm-explorer").first.locator("[data-selected]")
    every = said.get_attribute("data-selected")
    atlas = page.locator(".lm-explorer").first
    kind = atlas.get_by_text("query, not found").first  # a bar of the chart `kind`
    kind.wait_for(timeout=60000)
    kind.scroll_into_view_if_needed()
    kind.click()
    expect(said).not_to_have_attribute("data-selected", every, timeout=20000)
    n = int(said.get_attribute("data-selected"))
    below = page.locator(".lm-explorer").nth(1)
    expect(below.locator("text=" + f"{n} of 32 queries")).to_be_visible(timeout=20000)
    picture("after")
    picture("after", 1)
    nothing_wrong(page)


def test_groups(opened):
    page, picture = opened("groups")
    x = page.locator(".lm-explorer").first
    classes = x.locator("[data-classes]")
    expect(x.locator(".js-plotly-plot").nth(1)).to_be_visible(timeout=30000)
    said, was = classes.inner_text(), ys(x, 1)
    drag(page, x.locator(".widget-hslider").first, 0.6)  # M
    expect(classes).not_to_have_text(said)
    page.wait_for_timeout(300)
    assert ys(x, 1) != was
    x.get_by_label("show").select_option(index=1)
    expect(x.locator(".js-plotly-plot").first).to_contain_text("group")  # the sizes of this one
    nothing_wrong(page)
    picture("after")


def test_names_are_no_markup(browser, lab, tmp_path):
    "Folders of photographs with names that a page must not take for markup."
    from PIL import Image

    evil = "<img src=x onerror=alert(1)>.png"
    for part in ("database", "queries"):
        (tmp_path / part).mkdir()
        for i, name in enumerate((evil, "b.png", "c.png")):
            Image.new("RGB", (60, 40), (80 * i, 120, 90)).save(tmp_path / part / name)
    nb = nbformat.v4.new_notebook(
        metadata=dict(kernelspec=dict(display_name="python3", language="python", name="python3")),
        cells=[
            nbformat.v4.new_code_cell(f"""
import numpy as np
from landmark_nb.core import Ranking
from landmark_nb.data.places import read_folder
from landmark_nb.search.tune import SoftLabels
from landmark_nb.viz.explorers.results import Predictions, Results
from landmark_nb.viz.widgets import DescriptorMap, KnobExplorer, RetrievalExplorer
q, d = (read_folder({str(tmp_path)!r} + "/" + p) for p in ("queries", "database"))
c, p = np.array([[0, 1, 2]] * 3), np.full((3, 3), .5)
found, right = Ranking(np.array([[0, 1, 2]] * 3), np.array([[.9, .8, .7]] * 3)), [np.array([i]) for i in range(3)]
results = Results(q, d, {{"<img src=x onerror=alert(2)>": found}}, right, Predictions(c, p, c, p, ["<img src=x onerror=alert(3)>"] * 3), conditions=["<img src=x onerror=alert(4)>"] * 3)
r = RetrievalExplorer(results); r"""),
            nbformat.v4.new_code_cell(
                "KnobExplorer(SoftLabels(found, c, p, c, p, right), results, retrieval=r)"
            ),
            nbformat.v4.new_code_cell(
                "DescriptorMap(d, np.eye(3, dtype=np.float32), dict(kind=['<img src=x onerror=alert(5)>'] * 3), method='pca')"
            ),
        ],
    )
    nbformat.write(nb, lab["folder"] / "names.ipynb")
    page = run_all(browser, lab, "names.ipynb")
    expect(page.locator(".lm-found").first).to_contain_text("<img src=x onerror=alert(4)>")
    page.locator(".lm-explorer").nth(2).get_by_text(evil).first.wait_for(timeout=30000)
    page.wait_for_timeout(500)
    nothing_wrong(page)  # an alert would be there
    assert page.locator("img[src=x]").count() == 0
    page.close()


def test_app_without_code(browser, tmp_path, artefacts):
    "Voila shows an explorer without its code, to those who have the token."
    import urllib.request

    port = free_port()
    args = [
        sys.executable,
        "-m",
        "voila",
        str(project(tmp_path)),
        "--template=offline",
        f"--token={TOKEN}",
        "--no-browser",
        "--Voila.ip=127.0.0.1",
        f"--port={port}",
    ]
    with serving(args, tmp_path, port, f"/?token={TOKEN}") as app:
        with urllib.request.urlopen(f"{app['url']}/voila/render/explore_groups.ipynb", timeout=30) as r:
            assert "/login" in r.url, "without the token one is asked for it"
        page = watched(browser, app["url"])
        page.goto(f"{app['url']}/voila/render/explore_groups.ipynb?token={TOKEN}")
        x = page.locator(".lm-explorer").first
        x.wait_for(timeout=90000)
        expect(x.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=60000)
        said = x.locator("[data-classes]").inner_text()
        drag(page, x.locator(".widget-hslider").first, 0.5)
        expect(x.locator("[data-classes]")).not_to_have_text(said, timeout=20000)
        assert (
            "import" not in page.locator("body").inner_text() and page.errors == [] and page.others == []
        ), (page.errors, page.others)
        page.screenshot(path=artefacts / "app.png")
        page.close()


@pytest.mark.skipif(
    not os.environ.get("PICTURES"), reason="only `make pictures` needs the chapters' pictures"
)
@pytest.mark.parametrize("chapter", ["04_retrieval", "05_knobs", "07_groups"])
def test_chapters(browser, lab, chapter):
    "Pictures of the explorers in the chapters that define them."
    shutil.copy(ROOT / f"nbs/viz/{chapter}.ipynb", lab["folder"])
    page = run_all(browser, lab, f"{chapter}.ipynb", wait=False)
    page.wait_for_function("() => window.__ran", timeout=180000)
    page.set_viewport_size(dict(width=1500, height=2400))
    page.wait_for_timeout(800)
    for n in range(page.locator(".lm-explorer").count()):
        keep_picture(page.locator(".lm-explorer").nth(n), chapter, n)
    page.close()

"Every explorer's notebook in a real JupyterLab, moved with the mouse, and as an app without code."

import io
import os
import re
import shutil
import sys
import urllib.request
from pathlib import Path

import nbformat
import pytest
from lab import ROOT, TOKEN, drag, free_port, has_run, jupyterlab, nothing_wrong, run_all, serving, watched
from playwright.sync_api import expect

NAMES = ("retrieval", "knobs", "training", "descriptors", "groups", "locate")
CHAPTERS = ("02_retrieval", "03_knobs", "05_groups", "07_locate")  # those that define an explorer and show it
TALL = dict(width=1500, height=2400)


def project(folder: Path) -> Path:
    "A folder that is taken for the project: notebooks below it find the drawn worlds that are there already."
    shutil.copy(ROOT / "settings.ini", folder)
    (ROOT / "worlds").mkdir(exist_ok=True)
    (folder / "worlds").symlink_to(ROOT / "worlds")
    for name in NAMES:
        shutil.copy(ROOT / f"nbs/tutorials/explore_{name}.ipynb", folder)
    return folder


def keep_picture(explorer, name: str, n: int = 0):
    "For `make pictures`: the n-th explorer of a notebook, as the site shows it."
    if not os.environ.get("PICTURES"):
        return
    from PIL import Image

    file = ROOT / os.environ["PICTURES"] / f"{name}{f'-{n + 1}' if n else ''}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    explorer.scroll_into_view_if_needed()
    explorer.page.wait_for_timeout(600)
    Image.open(io.BytesIO(explorer.screenshot())).convert("RGB").quantize(192).save(file, optimize=True)


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
            page.set_viewport_size(TALL)
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


# What is in a page

LOADED = "els => els.length > 0 && els.every(e => e.complete && e.naturalWidth > 0)"
VALUES = "e => JSON.stringify(e._fullData.map(t => Array.from(t.y || [])))"
POINT = """(e, [number, n]) => {
  const trace = e._fullData[number], layout = e._fullLayout, box = e.getBoundingClientRect();
  const at = n < 0 ? trace.x.length + n : n;
  return [box.x + layout._size.l + layout.xaxis.d2p(trace.x[at]),
          box.y + layout._size.t + layout.yaxis.d2p(trace.y[at])];
}"""


def figure_values(explorer, n: int = 0) -> str:
    "The values that the n-th figure of an explorer shows, as text."
    return explorer.locator(".js-plotly-plot").nth(n).evaluate(VALUES)


def click_point(page, explorer, trace: int, n: int):
    "Click the n-th point of a trace of an explorer's first figure; -1 is the last."
    ground = explorer.locator(".js-plotly-plot").first
    ground.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    x, y = ground.evaluate(POINT, [trace, n])
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y, steps=3)
    page.wait_for_timeout(200)
    page.mouse.click(x, y)


# Each explorer


def test_retrieval(opened):
    page, picture = opened("retrieval")
    x = page.locator(".lm-explorer").first
    found = x.locator(".lm-a .lm-found")
    pictures = x.locator(".widget-hslider").first
    expect(x.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=30000)

    query, star = found.get_attribute("data-query"), figure_values(x)
    x.get_by_role("button", name="next wrong one").click()
    expect(found).not_to_have_attribute("data-query", query)
    assert figure_values(x) != star, "the star moved on the map"
    expect(found.locator(".lm-wrong").first).to_contain_text("1 · ")

    drag(page, pictures, 0.5)
    expect(found).not_to_have_attribute("data-shown", "11")
    page.wait_for_timeout(700)  # a drag passes through other values
    n = int(found.get_attribute("data-shown"))
    expect(found.locator("figure")).to_have_count(n + 1)
    expect(x.locator(".lm-b figure")).to_have_count(n + 1)
    drag(page, pictures, 0.1)

    x.get_by_label("show").select_option("lost")
    expect(found.locator(".lm-badge").first).to_be_visible()
    x.get_by_label("show").select_option("all")
    query = found.get_attribute("data-query")
    click_point(page, x, 1, -1)
    expect(found).not_to_have_attribute("data-query", query)
    assert x.locator("figure img").evaluate_all(LOADED)
    nothing_wrong(page)
    picture("after")


def test_knobs(opened):
    page, picture = opened("knobs")
    x = page.locator(".lm-explorer").first
    metric, pictures = x.locator(".lm-metric [data-drawn]"), x.locator(".lm-pictures [data-drawn]")
    expect(x.locator(".js-plotly-plot").first).to_be_visible(timeout=30000)
    picture("before")

    score, images = metric.inner_text(), pictures.inner_html()
    drag(page, x.locator(".lm-knobs-boost .widget-hslider").first, 0.5)
    expect(x.locator(".js-plotly-plot .bars .point").first).to_be_visible()
    # up or down, as the machine's bits have it: what a knob does is told, and no longer as nothing
    expect(metric).not_to_contain_text("+0.00 mAP@100 on 8 queries")
    expect(metric).not_to_contain_text(re.compile(r"(^|\s)0\.0 % pairs boosted"))
    assert metric.inner_text() != score and pictures.inner_html() != images

    assert x.locator(".lm-gained select option").count() > 0
    x.locator(".lm-gained select").select_option(index=0)
    page.wait_for_timeout(1000)  # the pictures are drawn when Python has answered
    retrieval = page.locator(".lm-explorer").nth(1).locator(".lm-a .lm-found")
    query = retrieval.get_attribute("data-query")
    expect(pictures.locator(".lm-found")).to_have_attribute("data-query", query, timeout=15000)  # it follows

    code = x.locator(".lm-code pre")
    x.locator(".lm-code summary").click()
    expect(code).to_contain_text("SoftLabelConfig(boost_1_1=")
    picture("after")
    x.get_by_role("button", name="undo").click()
    expect(code).not_to_contain_text("boost_1_1")

    x.get_by_role("button", name="tune from here").click()
    expect(x.locator(".lm-wordy", has_text="held out, in 100 trials")).to_be_visible(timeout=60000)
    for n in (1, 2, 3):
        picture("after", n)
    nothing_wrong(page)


def test_training_while_it_runs(browser, lab, artefacts):
    page = run_all(browser, lab, "explore_training.ipynb", wait=False)
    step = page.locator(".lm-status [data-step]")
    step.wait_for(timeout=90000)
    seen = {step.get_attribute("data-step")}
    for _ in range(300):
        seen.add(step.get_attribute("data-step"))
        if "48" in seen:
            break
        page.wait_for_timeout(200)
    has_run(page)
    assert len(seen) > 2, f"the steps that were seen: {seen}"

    x = page.locator(".lm-explorer").first
    curves = figure_values(x, 1)
    page.get_by_role("radio", name="images").or_(page.get_by_role("button", name="images")).first.click()
    expect(x.locator(".js-plotly-plot").nth(1)).to_contain_text("training images seen")
    assert figure_values(x, 1) == curves, "another clock, the same scores"
    page.set_viewport_size(dict(width=1500, height=1600))
    page.wait_for_timeout(800)
    nothing_wrong(page)
    x.screenshot(path=artefacts / "training-after.png")
    keep_picture(x, "explore_training")
    page.close()


def test_descriptors(opened):
    page, picture = opened("descriptors")
    atlas, below = page.locator(".lm-explorer").first, page.locator(".lm-explorer").nth(1)
    selected = atlas.locator("[data-selected]")
    every = selected.get_attribute("data-selected")
    kind = atlas.get_by_text("query, not found").first  # a bar of the chart `kind`
    kind.wait_for(timeout=60000)
    kind.scroll_into_view_if_needed()
    kind.click()
    expect(selected).not_to_have_attribute("data-selected", every, timeout=20000)
    n = int(selected.get_attribute("data-selected"))
    expect(below.locator(f"text={n} of 32 queries")).to_be_visible(timeout=20000)
    picture("after")
    picture("after", 1)
    nothing_wrong(page)


def test_groups(opened):
    page, picture = opened("groups")
    x = page.locator(".lm-explorer").first
    classes = x.locator("[data-classes]")
    expect(x.locator(".js-plotly-plot").nth(1)).to_be_visible(timeout=30000)
    numbers, sizes = classes.inner_text(), figure_values(x, 1)
    drag(page, x.locator(".widget-hslider").first, 0.6)  # M
    expect(classes).not_to_have_text(numbers)
    page.wait_for_timeout(300)
    assert figure_values(x, 1) != sizes
    x.get_by_label("show").select_option(index=1)
    expect(x.locator(".js-plotly-plot").first).to_contain_text("group")  # the sizes of this one
    nothing_wrong(page)
    picture("after")


# Photographs that come from the browser

EVIL = "<img src=x onerror=alert(1)>.png"
DROP = """(part, [name, bytes]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
  for (const kind of ["dragover", "drop"])
    part.dispatchEvent(new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}));
}"""
CAMERA = """() => navigator.mediaDevices.getUserMedia = async () => {
  const paper = document.createElement("canvas");
  [paper.width, paper.height] = [320, 240];
  setInterval(() => paper.getContext("2d").fillRect(320 * Math.random(), 0, 9, 240), 30);
  return paper.captureStream(20);
}"""


def noise_png(side: int = 900) -> bytes:
    "A photograph of nothing, of more than one piece."
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(file, "PNG")
    return file.getvalue()


def upload(explorer, name: str, content: bytes):
    "Hand a file to the explorer's file chooser."
    file = dict(name=name, mimeType="image/png", buffer=content)
    explorer.locator("input[type=file]").set_input_files([file])


def take_with_camera(page, explorer):
    "Take a photograph: first where there is no camera, then with one that is pretended."
    begin, said = explorer.get_by_role("button", name="use the camera"), explorer.locator(".lm-camera span")
    begin.click()
    expect(said).to_have_text(re.compile("no camera|not allowed"))
    page.evaluate(CAMERA)
    begin.click()
    page.wait_for_function("() => document.querySelector('.lm-camera video').videoWidth > 0")
    explorer.get_by_role("button", name="take it").click()
    expect(explorer.locator("video")).to_be_hidden()
    assert explorer.locator("video").evaluate("e => e.srcObject") is None, "it is let go"


def test_locate(opened):
    page, picture = opened("locate")
    x = page.locator(".lm-explorer").first
    verdict, pair, message = x.locator("[data-verdict]"), x.locator(".lm-pair"), x.locator(".lm-message")
    cards, examples = x.locator(".lm-picks.lm-grid"), x.locator(".lm-small").first.locator("[data-pick]")
    expect(x.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=30000)
    expect(verdict).to_have_attribute("data-verdict", "known")
    picture("after")

    shown, ground = cards.inner_html(), figure_values(x)
    upload(x, EVIL, noise_png())
    expect(pair).to_contain_text(EVIL, timeout=20000)
    expect(verdict).to_have_attribute("data-verdict", "not in this collection")
    assert cards.inner_html() != shown and figure_values(x) != ground
    upload(x, "notes.png", b"these are notes")
    expect(message).to_contain_text("notes.png: not read")
    expect(pair).to_contain_text(EVIL)

    examples.nth(2).click()  # at night: sure enough for 0.7, not for 0.9
    expect(pair).to_contain_text("at night")
    expect(verdict).to_have_attribute("data-verdict", "not in this collection")
    drag(page, x.locator(".widget-hslider").nth(1), 0.4)
    expect(verdict).to_have_attribute("data-verdict", "known")
    cards.locator("[data-pick]").nth(2).click()
    expect(pair).to_have_attribute("data-selected", "2")
    expect(x.locator(".lm-grid .lm-picked")).to_have_count(1)
    click_point(page, x, 4, 4)
    expect(pair).to_have_attribute("data-selected", "4")

    verdict.evaluate(DROP, ["dropped.png", list(noise_png(60))])  # anywhere on the explorer
    expect(pair).to_contain_text("dropped.png")
    expect(x.locator(".lm-small").last.locator("figure")).to_have_count(5)
    take_with_camera(page, x)
    expect(pair).to_contain_text("camera ", timeout=20000)
    assert x.locator("figure img").evaluate_all(LOADED) and page.locator("img[src=x]").count() == 0
    nothing_wrong(page)


# Names

SEARCHED = """
import numpy as np
from landmark_nb.core import Ranking
from landmark_nb.data.layouts.folder import read_folder
from landmark_nb.search.problems import SoftLabels
from landmark_nb.viz.explorers.results import Predictions, Results
from landmark_nb.viz.widgets import DescriptorMap, KnobExplorer, RetrievalExplorer

def evil(n, times=1):
    return [f"<img src=x onerror=alert({n})>"] * times

queries, database = read_folder("queries"), read_folder("database")
classes, conf = np.array([[0, 1, 2]] * 3), np.full((3, 3), 0.5)
found = Ranking(np.array([[0, 1, 2]] * 3), np.array([[0.9, 0.8, 0.7]] * 3))
right = [np.array([i]) for i in range(3)]
said = Predictions(classes, conf, classes, conf, evil(3, 3))
results = Results(queries, database, {evil(2)[0]: found}, right, said, conditions=evil(4, 3))
retrieval = RetrievalExplorer(results)
retrieval
"""
KNOBS = """
problem = SoftLabels(found, classes, conf, classes, conf, right)
KnobExplorer(problem, results, retrieval=retrieval)
"""
ATLAS = """
DescriptorMap(database, np.eye(3, dtype=np.float32), dict(kind=evil(5, 3)), method="pca")
"""


def write_notebook(path: Path, *cells: str):
    "A notebook of code."
    kernel = dict(display_name="python3", language="python", name="python3")
    code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(metadata=dict(kernelspec=kernel), cells=code), path)


def test_names_are_no_markup(browser, lab):
    "Folders of photographs with names that a page must not take for markup."
    from PIL import Image

    evil = "<img src=x onerror=alert(1)>.png"
    for part in ("database", "queries"):
        (lab["folder"] / part).mkdir()
        for i, name in enumerate((evil, "b.png", "c.png")):
            Image.new("RGB", (60, 40), (80 * i, 120, 90)).save(lab["folder"] / part / name)
    write_notebook(lab["folder"] / "names.ipynb", SEARCHED, KNOBS, ATLAS)
    page = run_all(browser, lab, "names.ipynb")
    expect(page.locator(".lm-found").first).to_contain_text("<img src=x onerror=alert(4)>")
    page.locator(".lm-explorer").nth(2).get_by_text(evil).first.wait_for(timeout=30000)
    page.wait_for_timeout(500)
    nothing_wrong(page)  # an alert would be there
    assert page.locator("img[src=x]").count() == 0
    page.close()


# Without code


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder, port = project(tmp_path_factory.mktemp("app")), free_port()
    args = [
        *(sys.executable, "-m", "voila", str(folder)),
        *("--template=offline", f"--token={TOKEN}", "--no-browser"),
        *("--Voila.ip=127.0.0.1", f"--port={port}"),
    ]
    with serving(args, folder, port, f"/?token={TOKEN}") as app:
        yield app


def open_app(browser, app, name: str, **size):
    "A page of an app, and its first explorer."
    page = watched(browser, app["url"], **size)
    address = f"{app['url']}/voila/render/explore_{name}.ipynb?token={TOKEN}"
    page.goto(address, timeout=120000)  # it loads until the cells have run
    x = page.locator(".lm-explorer").first
    x.wait_for(timeout=90000)
    expect(x.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=60000)
    return page, x


def test_app_without_code(browser, app, artefacts):
    "Voila shows an explorer without its code, to those who have the token."
    address = f"{app['url']}/voila/render/explore_groups.ipynb"
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert "/login" in answer.url, "without the token one is asked for it"
    page, x = open_app(browser, app, "groups")
    classes = x.locator("[data-classes]")
    numbers = classes.inner_text()
    drag(page, x.locator(".widget-hslider").first, 0.5)
    expect(classes).not_to_have_text(numbers, timeout=20000)
    assert "import" not in page.locator("body").inner_text()
    assert page.errors == [] and page.others == [], (page.errors, page.others)
    page.screenshot(path=artefacts / "app.png")
    page.close()


def test_app_on_a_telephone(browser, app, artefacts):
    "A photograph is asked about on a narrow page without code."
    page, x = open_app(browser, app, "locate", width=390, height=844)
    verdict, ground = x.locator("[data-verdict]"), x.locator(".js-plotly-plot").first
    expect(verdict).to_have_attribute("data-verdict", "known")
    assert "this answer" in x.locator(".js-plotly-plot").nth(1).inner_text(), "figures are as they are now"
    upload(x, "holiday.png", noise_png(60))
    expect(x.locator(".lm-pair")).to_contain_text("holiday.png", timeout=20000)
    expect(verdict).to_have_attribute("data-verdict", "not in this collection")
    ground.scroll_into_view_if_needed()
    page.wait_for_timeout(600)
    assert ground.bounding_box()["width"] <= 390
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert "import" not in page.locator("body").inner_text()
    assert page.errors == [] and page.others == [], (page.errors, page.others)
    page.screenshot(path=artefacts / "app-telephone.png")
    page.close()


@pytest.mark.skipif(
    not os.environ.get("PICTURES"), reason="only `make pictures` needs the chapters' pictures"
)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapters(browser, lab, chapter):
    "Pictures of the explorers in the chapters that define them."
    shutil.copy(ROOT / f"nbs/viz/explorers/{chapter}.ipynb", lab["folder"])
    page = run_all(browser, lab, f"{chapter}.ipynb")
    page.set_viewport_size(TALL)
    page.wait_for_timeout(800)
    for n in range(page.locator(".lm-explorer").count()):
        keep_picture(page.locator(".lm-explorer").nth(n), chapter, n)
    page.close()

"The documentation site: what the converter must never do, and the site itself, as a reader finds it."

import copy
import functools
import html.parser
import http.server
import re
import shutil
import threading
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.markdown import PageError, commonmark, results
from tools.pages import Site, directives
from tools.site import build, leaves

HEAD = "# A title\n\n> What it is about."


@pytest.fixture
def project(root, tmp_path):
    "Makes a project of the notebooks that it is given, with this project's own tools and looks."

    def make(draft=False, **notebooks):
        shutil.copytree(root / "tools/site", tmp_path / "p/tools/site", dirs_exist_ok=True)
        (tmp_path / "p/nbs").mkdir(exist_ok=True)
        for name, cells in notebooks.items():
            cells = [new_markdown_cell(HEAD)] + [
                new_markdown_cell(c) if isinstance(c, str) else c for c in cells
            ]
            nbformat.write(new_notebook(cells=cells), tmp_path / f"p/nbs/{name}.ipynb")
        cfg = yaml.safe_load((root / "mkdocs.yml").read_text()) | dict(
            nav=[f"{re.sub(r'^[0-9]+_', '', n)}.md" for n in notebooks] + ["api.md"]
        )
        (tmp_path / "p/mkdocs.yml").write_text(yaml.safe_dump(cfg))
        return functools.partial(build, tmp_path / "p", draft=draft, say=lambda *_: None)

    return make


def page_of(tmp_path, *cells, name="a"):
    "Markdown and outputs of one notebook, whose outputs are those that the cells bring."
    (tmp_path / "nbs").mkdir(exist_ok=True)
    nbformat.write(
        new_notebook(cells=[new_markdown_cell(HEAD), *map(copy.deepcopy, cells)]),
        tmp_path / f"nbs/{name}.ipynb",
    )
    site = Site(tmp_path, tmp_path / "out", {})
    nb = next(n for n in site.notebooks if n.path.stem == name)
    return site.fill(site.convert(nb, nb), nb.page)


def shown(kind, data):
    return new_code_cell("x", outputs=[new_output("display_data", data={kind: data})])


# The converter


def test_a_broken_link_is_an_error(project):
    with pytest.raises(PageError) as e:
        project(a=["[there](nowhere.ipynb)", "[part](b.ipynb#no-such-part)"], b=["## A part"])(execute=False)
    assert "'a.md'" in str(e.value) and "nowhere.ipynb" in str(e.value) and "#no-such-part" in str(e.value)
    project(a=["[there](b.ipynb#a-part) and `nbs/b.ipynb`"], b=["## A part"])(execute=False)


def test_navigation_holds_every_notebook(project, tmp_path):
    go = project(a=["text"])
    nbformat.write(new_notebook(cells=[new_markdown_cell(HEAD)]), tmp_path / "p/nbs/lost.ipynb")
    with pytest.raises(PageError, match="not in the navigation.*nbs/lost.ipynb"):
        go(execute=False)
    (tmp_path / "p/nbs/lost.ipynb").unlink()
    (tmp_path / "p/nbs/a.ipynb").unlink()
    with pytest.raises(PageError, match="do not exist: a.md"):
        go(execute=False)
    go(execute=False, draft=True)


def test_an_explorer_needs_its_picture(tmp_path):
    widget = shown("application/vnd.jupyter.widget-view+json", dict(model_id="1"))
    with pytest.raises(
        PageError, match=r"nbs/a.ipynb: explorer 1 has no picture docs/widgets/a.png; `make pictures`"
    ):
        page_of(tmp_path, widget)
    (tmp_path / "docs/widgets").mkdir(parents=True)
    (tmp_path / "docs/widgets/a.png").write_bytes(b"png")
    assert (
        'src="docs/widgets/a.png"' in page_of(tmp_path, widget)
        and (tmp_path / "out/docs/widgets/a.png").is_file()
    )
    with pytest.raises(PageError, match="explorer 2 has no picture docs/widgets/a-2.png"):
        page_of(tmp_path, widget, widget)


def test_mathematics_outside_code_only(tmp_path):
    prose = "Half: $\\frac12$, a shell's `$A $B`, 5 $ and 6 $."
    shell = "```\nsrun -N $SLURM_NNODES -p $B\n```"
    page = page_of(tmp_path, new_markdown_cell(f"{prose}\n\n{shell}\n\n$$a_i * b_i * c$$"))
    assert (
        page.count("<math") == 2
        and "`$A $B`" in page
        and "srun -N $SLURM_NNODES -p $B" in page
        and "5 $ and 6 $" in page
    )
    assert "*" not in page.split('display="block"')[1], "nothing in a formula that Markdown could read"
    for tex in ("\\frac", "\\wrong x"):
        with pytest.raises(PageError, match=r"a.md: the formula"):
            page_of(tmp_path, new_markdown_cell(f"${tex}$"))


def test_names_and_texts_are_escaped(tmp_path):
    bad = "<img src=x onerror=alert(1)>.jpg"
    stream = new_code_cell(
        "x",
        outputs=[
            new_output("stream", name="stdout", text=f"no such file: {bad}\n"),
            new_output(
                "stream",
                name="stderr",
                text=" 50%|#####     | 5/10 [00:01<00:01, 5.0it/s]\r100%|####| 10/10\nodd\n",
            ),
        ],
    )
    figure = shown("application/vnd.plotly.v1+json", dict(data=[dict(name=f"</script>{bad}")], layout={}))
    page = page_of(tmp_path, stream, figure, shown("text/plain", bad))
    assert "<img" not in page and page.count("&lt;img src=x") == 2 and page.count("</script>") == 1
    assert "it/s" not in page and "100%" not in page and '<pre class="nb-text nb-stderr">odd</pre>' in page
    nbformat.write(
        new_notebook(cells=[new_markdown_cell(f'# {bad}\n\n> "One" line.')]), tmp_path / "nbs/a.ipynb"
    )
    site = Site(tmp_path, tmp_path / "out", {})
    assert "<img" not in site.convert(site.notebooks[0])


def test_an_exported_cell_is_its_signature(tmp_path):
    source = '''#| export
def gem(x: Tensor,          # [b, c, h, w] a map | of features
        p: float | None = 3.,
        *, eps=(1, 2),      # floor
       ) -> Tensor:         # [b, c]
    "Generalised mean; see `Pool` and [b, c]."
class Pool:
    "Pools."
    def __init__(self, size: int = 2, **kw): pass
    def forward(self): "Does it."'''
    page = page_of(
        tmp_path,
        new_code_cell("#| default_exp models.pool"),
        new_code_cell(source),
        new_code_cell("#| hide\nsecret"),
        new_code_cell("gem(1)"),
        new_markdown_cell("As `gem()` and `Pool.forward`, but not `[x](y)`, say."),
    )
    assert (
        "gem(x, p=3.0, *, eps=(1, 2)) -> Tensor" in page
        and "secret" not in page
        and "#| " not in page
        and "def gem" not in page
    )
    assert (
        "| `x` | `Tensor` |  | \\[b, c, h, w\\] a map \\| of features |" in page
        and "| `p` | `float | None` | `3.0` |  |" in page
        and "| *returns* | `Tensor` |  | \\[b, c\\] |" in page
    )
    assert (
        "[`Pool`](#models.pool.Pool)" in page
        and "[`gem()`](#models.pool.gem)" in page
        and "[`Pool.forward`](#models.pool.Pool.forward)" in page
        and "Pool(size=2, **kw)" in page
    )


def test_settings_of_a_class(tmp_path):
    source = """#| export
class C(Config):
    "Settings."

    loss: Chosen = choose(LOSSES, "cosface", "of a batch", free=True)
    scale: float = knob(30.0, "of cosines", 0, 100)
    drawn: ClassVar[dict] = {}"""
    page = page_of(tmp_path, new_code_cell("#| default_exp a"), new_code_cell(source))
    assert "C(loss='cosface', scale=30.0)" in page
    assert "| `loss` | `Chosen` | `'cosface'` | of a batch |" in page
    assert "| `scale` | `float` | `30.0` | of cosines (from 0 to 100) |" in page


def test_modules_of_one_last_name_and_fronts(tmp_path):
    for name, cells in {
        "places/00_data": ["#| default_exp places.data", "#| export\ndef read(): ..."],
        "landmark/00_data": [
            "#| default_exp landmark.data",
            "#| export\ndef read(): ...\ndef deal(): ...",
        ],
        "landmark/09_all": ["#| default_exp landmark.__init__"],
    }.items():
        file = tmp_path / f"nbs/{name}.ipynb"
        file.parent.mkdir(parents=True, exist_ok=True)
        cells = [new_markdown_cell(HEAD), *map(new_code_cell, cells)]
        nbformat.write(new_notebook(cells=cells), file)
    page = page_of(
        tmp_path,
        new_markdown_cell(
            "`read`, `data.read`, `places.data.read`, `deal`, `data.deal`, `landmark_nb.landmark`"
        ),
    )
    assert "`read`, `data.read`, [`places.data.read`](places/data.md#places.data.read)" in page
    to = "landmark/data.md#landmark.data.deal"
    assert f"[`deal`]({to}), [`data.deal`]({to}), [`landmark_nb.landmark`](landmark/all.md)" in page
    site = Site(tmp_path, tmp_path / "out", {})
    assert "\n# landmark\n" in site.convert(next(nb for nb in site.notebooks if nb.path.stem == "09_all"))


def test_small_things():
    assert directives("#| export\n#| eval:false\nx = 1\n#| no") == ({"export", "eval: false"}, "x = 1\n#| no")
    assert (
        commonmark("So:\n- a\n  - b\n- c\n\n```\nx\n- y\n```")
        == "So:\n\n- a\n    - b\n- c\n\n```\nx\n- y\n```"
    )
    assert commonmark("::: {.callout-note}\nword\n:::") == "!!! note\n\n    word\n"
    assert list(results(dict(n=1200, by={"a": dict(x=1), "b": dict(x=2, y=None)}))) == [
        "|  | value |\n| --- | --- |\n| n | 1,200 |",
        "**by**",
        "|  | x | y |\n| --- | --- | --- |\n| a | 1 |  |\n| b | 2 | None |",
    ]


# Running


def test_a_failing_notebook_is_named_and_the_rest_is_kept(project, tmp_path):
    note = "with open('../runs.txt', 'a') as f: f.write('x')"
    source = f"from pathlib import Path\n{note}\nprint(6 * 7, Path.cwd().name)"
    go = project(
        good=[new_code_cell(source), new_code_cell("#| eval: false\n1 / 0")],
        bad=[new_code_cell("ok = 1"), new_code_cell("int('seven')")],
    )
    words = r"1 of 2 notebooks failed.*nbs/bad.ipynb, cell 2: ValueError: invalid literal.*int\('seven'\)"
    with pytest.raises(PageError, match=f"(?s){words}"):
        go()
    (tmp_path / "p/nbs/bad.ipynb").unlink()
    out = go(draft=True)
    assert (
        ">42 nbs</pre>" in (out / "good.html").read_text() and (tmp_path / "p/runs.txt").read_text() == "x"
    ), "run once, and in its own folder"


# The site


class Links(html.parser.HTMLParser):
    "Where a page leads, what it loads, and the places in it."

    def __init__(self, page):
        super().__init__()
        self.to, self.loads, self.ids = [], [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.ids |= {d[k] for k in ("id", "name") if d.get(k)}
        to = [d[k] for k in ("href", "src") if d.get(k)]
        self.to += to
        if tag != "a":
            self.loads += to


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    d = tmp_path_factory.mktemp("site")
    return build(root, out=d / "_site", source=d / "source", execute=False)


def test_every_notebook_has_its_page_and_no_link_is_broken(root, site):
    nav = leaves(yaml.safe_load((root / "mkdocs.yml").read_text())["nav"])
    assert len(nav) == len(set(nav)) and all((site / p).with_suffix(".html").is_file() for p in nav)
    pages = {p: Links(p.read_text(encoding="utf-8")) for p in site.rglob("*.html") if p.name != "404.html"}
    assert len(pages) == len(nav) > 100
    for page, links in pages.items():
        others = [link for link in links.loads if re.match(r"(https?:)?//", link)]
        assert not others, f"{page.relative_to(site)} loads from another host"
        for link in links.to:
            if re.match(r"[a-z]+:|//", link):
                continue
            path, anchor = urldefrag(link)
            to = (page.parent / unquote(path)).resolve() if path else page
            assert to.is_file(), f"{page.relative_to(site)} links to {link}, which is not there"
            assert not anchor or to.suffix != ".html" or anchor in pages[to].ids, (
                f"{page.relative_to(site)} links to {link}: no such place"
            )


@pytest.fixture(scope="module")
def served(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_as_a_reader_finds_it(browser, served, artefacts):
    page, asked, errors = browser.new_page(viewport=dict(width=1300, height=900)), [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    kinds = dict(
        index="index.html",
        tutorial="tutorials/places.html",
        api="search/metrics.html",
        results="explanations/numbers.html",
        benchmarks="benchmarks.html",
    )
    for name, url in kinds.items():
        page.goto(served + url)
        page.screenshot(path=artefacts / f"site-{name}.png")
        assert page.locator("article h1").count() == 1
    page.goto(served + "index.html")
    page.get_by_role("textbox", name="Search").fill("arcface margin")
    found = page.locator(".md-search-result__item a.md-search-result__link").first
    found.wait_for()
    assert page.locator(".md-search-result__link[href*=arcface]").count()
    page.screenshot(path=artefacts / "site-search.png")
    page.keyboard.press("Escape")
    page.locator("label[title=Dark]").click()
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
    page.goto(served + kinds["api"])
    page.screenshot(path=artefacts / "site-dark.png")
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate", "the choice is kept"
    page.set_viewport_size(dict(width=390, height=844))
    for name, url in kinds.items():
        page.goto(served + url)
        page.screenshot(path=artefacts / f"site-{name}-phone.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, (
            f"{url}: no sideways scrolling on a phone"
        )
    assert [u for u in asked if not u.startswith((served, "data:", "blob:"))] == [] and errors == []
    page.close()


def test_figures_in_light_and_dark(browser, project, artefacts):
    layout = "dict(paper_bgcolor='#ffffff', font=dict(color='#1d2733'))"
    figure = f"go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout={layout})"
    cell = new_code_cell(f"import plotly.graph_objects as go\n{figure}")
    go = project(a=[cell], b=["no figure"])
    out = go()
    page, asked, errors = browser.new_page(), [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto((out / "b.html").as_uri())
    assert not [u for u in asked if "plotly" in u], "pages without a figure do not load plotly"
    page.goto((out / "a.html").as_uri())
    page.wait_for_selector(".nb-figure .main-svg")
    plot = "document.querySelector('.nb-plot')._fullLayout"

    def paper():
        return page.evaluate(f"(l => [l.paper_bgcolor, l.plot_bgcolor, l.font.color])({plot})")

    assert paper()[2] == "#1d2733"
    page.locator("label[title=Dark]").click()
    page.wait_for_function(f"{plot}.font.color != '#1d2733'")
    assert paper() == ["rgba(0,0,0,0)", "rgba(0,0,0,0)", "#dbe3ec"]
    page.screenshot(path=artefacts / "site-figure-dark.png")
    assert [u for u in asked if not u.startswith(("file:", "data:", "blob:"))] == [] and errors == []
    page.close()

"The report, opened as a person would."

FIGURES = "() => document.querySelectorAll('.js-plotly-plot .main-svg').length > 5"
LOADED = "els => els.length > 20 && els.every(e => e.complete && e.naturalWidth > 0)"
NARROW = "() => document.documentElement.scrollWidth <= 391"  # no sideways scrolling on a phone
INSIDE = ("file:", "data:", "blob:")  # where everything must come from


def test_report_opens_without_a_network(browser, smoke_run, artefacts):
    page = browser.new_page(viewport=dict(width=1200, height=900))
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(smoke_run.report.as_uri())
    page.wait_for_function(FIGURES)
    assert [url for url in asked if not url.startswith(INSIDE)] == [] and errors == []
    assert page.locator(".lm-card img").evaluate_all(LOADED)
    assert page.locator(".lm-query").count() >= 2 and page.locator(".lm-wrong").count() > 0
    page.screenshot(path=artefacts / "report.png", full_page=True)

    page.set_viewport_size(dict(width=390, height=800))
    page.wait_for_function(NARROW)  # figures follow the width of the page, after a while
    page.screenshot(path=artefacts / "report-phone.png")
    page.close()

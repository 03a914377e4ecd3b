"The report, opened as a person would."


def test_report_opens_without_a_network(browser, smoke_run, artefacts):
    page = browser.new_page(viewport=dict(width=1200, height=900))
    asked, errors = [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(smoke_run.report.as_uri())
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .main-svg').length > 5")
    assert [u for u in asked if not u.startswith(("file:", "data:", "blob:"))] == [] and errors == []
    assert page.locator(".lm-card img").evaluate_all(
        "els => els.length > 20 && els.every(e => e.complete && e.naturalWidth > 0)"
    )
    assert page.locator(".lm-query").count() >= 2 and page.locator(".lm-wrong").count() > 0
    page.screenshot(path=artefacts / "report.png", full_page=True)
    page.set_viewport_size(dict(width=390, height=800))
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 391, "no sideways scrolling on a phone"
    page.screenshot(path=artefacts / "report-phone.png")
    page.close()

"""The page of `entrain lab report` in a real browser: complete in itself, quiet, readable on a telephone, in the dark and on paper."""

import base64
import json
import os
import shutil

import pytest
from program import TINY, entrain, write_recipe

selenium = pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="chromium or chromedriver is not installed")
needs_gnuplot = pytest.mark.skipif(not shutil.which("gnuplot"), reason="gnuplot is not installed")

HOSTILE = "bags & <b>'4' $x_{2}^λ"


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    """The report of a tiny experiment: two arms, two seeds, a ladder."""
    folder = tmp_path_factory.mktemp("lab")
    recipe = write_recipe(folder / "base.toml", data, {"budget.steps": 40, "evaluation.every": 4})
    quoted = json.dumps(HOSTILE, ensure_ascii=False)
    (folder / "plan.toml").write_text(f"""
[lab]
question = "Does a higher rate <i>help</i> & why?"
recipe = {json.dumps(recipe.name)}
reference = "plain"
seeds = [1, 2]
match = "flops"
ladder = [0.25, 0.5]
ladder_arms = ["plain", {quoted}]

[metrics]
primary = ["loss"]
secondary = ["bits_per_byte"]
block_tokens = 64
resamples = 200
prompt = "the of"
sample_tokens = 8

[arms.plain]

[arms.{quoted}]
optimizer.lr = {2 * TINY["optimizer.lr"]}
""")
    entrain("lab", "run", folder / "plan.toml", "--out", folder / "out")
    entrain("lab", "report", folder / "out")
    return folder / "out" / "report" / "index.html"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=CHROMEDRIVER))  # a named driver: nothing is fetched
    yield driver
    driver.quit()


def open_page(browser, page, width=1200, scheme="light"):
    for log in ("browser", "performance"):
        browser.get_log(log)  # what came before does not count
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get(page.as_uri())
    return browser


def requests_of(browser):
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def test_page_is_quiet_and_complete(browser, page):
    open_page(browser, page)
    assert browser.get_log("browser") == []
    assert [url for url in requests_of(browser) if url != page.as_uri() and not url.startswith("data:")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    assert browser.execute_script("return document.scripts.length") == 0
    assert browser.execute_script("return [...document.querySelectorAll('h1')].map(e => e.textContent)") == ["Does a higher rate <i>help</i> & why?"]
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    links = browser.execute_script("return [...document.querySelectorAll('a')].map(e => e.getAttribute('href'))")
    assert links and all(link.startswith("#") and link[1:] in ids for link in links)


def test_tables_have_captions_heads_and_all_arms(browser, page):
    open_page(browser, page)
    tables = browser.execute_script("""return [...document.querySelectorAll('table')].map(t => ({
        caption: t.caption ? t.caption.textContent : '',
        columns: [...t.querySelectorAll('thead th[scope=col]')].map(e => e.textContent),
        rows: [...t.querySelectorAll('tbody tr')].map(r => ({head: r.querySelector('th[scope=row]').textContent, cells: r.querySelectorAll('td').length}))}))""")
    by_caption = {table["caption"].split(":")[0].split(",")[0]: table for table in tables}
    for caption in ("What each arm reached", "What each arm cost", "Primary comparisons", "Exploratory comparisons", "Every run and its state.", "How much the reference needs for the loss an arm reached"):
        assert caption in by_caption, sorted(by_caption)
    for table in tables:
        assert table["caption"] and all(len(table["columns"]) == row["cells"] + 1 for row in table["rows"])
    assert [row["head"] for row in by_caption["What each arm reached"]["rows"]] == ["plain", HOSTILE]
    assert [row["head"] for row in by_caption["Primary comparisons"]["rows"]] == [f"{HOSTILE}against plain"]
    assert len(by_caption["Every run and its state."]["rows"]) == 12  # two arms, two seeds, three budgets
    assert "12 runs: 12 done." in browser.execute_script("return document.querySelector('#runs').textContent")
    order = browser.execute_script("return [...document.querySelectorAll('section')].map(e => e.id)")
    expected = ["decision", "cautions", "arms", "primary", "exploratory", "curves", "scaling", "runs", "samples", "again"]
    assert order == expected


@needs_gnuplot
def test_figures_are_drawn_and_named(browser, page):
    open_page(browser, page)
    figures = browser.execute_script("""return [...document.querySelectorAll('svg')].map(s => ({
        role: s.getAttribute('role'), label: s.getAttribute('aria-label'), id: s.id,
        width: s.getBoundingClientRect().width, height: s.getBoundingClientRect().height,
        outside: [...s.querySelectorAll('text')].filter(t => t.textContent.trim() && t.getBoundingClientRect().width === 0).length,
        shapes: s.querySelectorAll('path, use, polygon').length}))""")
    ids = [figure["id"] for figure in figures]
    assert ids[:5] == ["forest-1", "curve-1", "curve-2", "curve-3", "curve-4"] and "scaling-1" in ids
    for figure in figures:
        assert figure["role"] == "img" and HOSTILE in figure["label"]
        assert figure["width"] > 200 and figure["height"] > 80 and figure["shapes"] > 4 and figure["outside"] == 0, figure
    assert "This figure is missing" not in browser.page_source


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1200])
def test_no_sideways_scrolling(browser, page, width):
    open_page(browser, page, width)
    scroll, inner = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert inner == width and scroll <= width
    wide = browser.execute_script("""return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll') && !e.closest('pre')
        && !e.closest('svg')).map(e => e.outerHTML.slice(0, 80))""")
    assert wide == []
    assert browser.execute_script("return [...document.querySelectorAll('.scroll')].every(e => e.clientWidth <= innerWidth && getComputedStyle(e).overflowX === 'auto')")


CONTRASTS = """
const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const luminance = rgb => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
const numbers = css => css.match(/[0-9.]+/g).map(Number);
const background = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
return [...document.querySelectorAll('h1, h2, p, li, td, th, dt, dd, caption, figcaption, pre, span, a, summary, blockquote, svg text')].filter(e => e.textContent.trim()).map(e => {
  const style = getComputedStyle(e), a = luminance(numbers(e.namespaceURI.endsWith('svg') ? style.fill : style.color)), b = luminance(background(e));
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.trim().slice(0, 40)]; }).sort((x, y) => x[0] - y[0]).slice(0, 3)
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(browser, page, scheme):
    open_page(browser, page, scheme=scheme)
    lowest = browser.execute_script(CONTRASTS)
    assert lowest[0][0] >= 4.5, lowest  # WCAG 2.1, level AA
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_prints(browser, page):
    open_page(browser, page)
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
    assert pdf.startswith(b"%PDF-") and len(pdf) > 10_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.execute_script("return document.querySelector('#again details pre').getBoundingClientRect().height") > 100  # the plan is on paper


def test_written_without_gnuplot(page):
    folder = page.parents[1]
    before = page.read_text()
    try:
        entrain("lab", "report", folder, env=os.environ | {"PATH": "/nonexistent"})
        text = page.read_text()
        assert "This figure is missing" in text and "gnuplot-nox" in text and "<svg" not in text
    finally:
        page.write_text(before)

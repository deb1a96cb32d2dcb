"""The page of all nine studies, run with the preset `quick`, in a browser: its size, requests, first screen, paper."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from bathymetry.studies.catalogue import SHIPPED
from report.browsing import until

pytestmark = pytest.mark.slow

MOST_PIXELS = {1280: 12_000, 390: 24_000, 360: 26_000}  # of height, by width
MOST_PAGES = 15  # of A4
MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All nine studies on drawn digits, and with the published ones where these are stored."""
    out = tmp_path_factory.mktemp("quick") / "out"
    data = "mnist" if os.environ.get("BATHYMETRY_DATA") else "strokes"
    command = [sys.executable, "-m", "bathymetry.cli.main", "run", "all", "--preset", "quick", "--data", data]
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return out


@pytest.fixture(scope="module")
def stored(folder):
    return folder / "report.html"


def open_page(browser, path, width=1280, **options):
    said = []
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    tab.goto(path.as_uri())
    until(tab, "window.bathymetryReady === true")
    return tab, said


@pytest.mark.parametrize("width", sorted(MOST_PIXELS))
def test_the_page_is_short_and_does_not_scroll_sideways_fetch_or_complain(stored, browser, width):
    tab, said = open_page(browser, stored, width)
    assert tab.evaluate("document.documentElement.scrollHeight") <= MOST_PIXELS[width]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate("document.querySelectorAll('details:not(.menu)').forEach(fold => { fold.open = true; })")
    tab.wait_for_timeout(500)
    until(tab, "[...document.querySelectorAll('[data-chart]')].every(box => box.querySelector('canvas, svg'))")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    tab.context.close()


def test_the_file_is_small(stored):
    assert stored.stat().st_size <= MOST_BYTES


def test_all_nine_answers_with_their_charts_are_on_the_first_screen(stored, browser):
    tab, _ = open_page(browser, stored)
    cards = tab.locator(".card")
    assert cards.count() == len(SHIPPED)
    for card in cards.all():
        at = card.bounding_box()
        assert at["y"] + at["height"] <= 900
        assert card.locator("canvas").count() == 1
        data = "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        assert card.locator("canvas").evaluate(f"c => {data}.filter((v, i) => i % 4 < 3 && v < 200).length") > 100
        assert len(card.locator("p").inner_text()) > 30
    tab.context.close()


def test_every_claim_is_there_exactly_once(stored, browser, folder):

    claims = [claim["id"] for claim in json.loads((folder / "claims.json").read_text())]
    tab, _ = open_page(browser, stored)
    shown = tab.eval_on_selector_all("details.claim", "rows => rows.map(row => row.id.replace('claim-', ''))")
    assert sorted(shown) == sorted(claims)
    tab.context.close()


def test_on_paper_it_takes_fifteen_pages_of_which_the_first_is_the_overview(stored, browser):
    tab, said = open_page(browser, stored)
    printed = tab.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= MOST_PAGES
    assert said == []
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.querySelector('.cards')).breakAfter") == "page"
    assert tab.evaluate("getComputedStyle(document.querySelector('.claim')).breakInside") == "avoid"
    tab.context.close()


def test_descriptions_survive_drawing_and_terms_lead_to_the_glossary(stored, browser):
    tab, _ = open_page(browser, stored)
    drawn = "boxes.filter(box => box.querySelector('canvas'))"
    words = f"boxes => {drawn}.map(box => [box.getAttribute('role'), box.getAttribute('aria-label')])"
    described = tab.eval_on_selector_all("[data-chart]", words)
    assert len(described) > len(SHIPPED)
    assert all(role == "img" and len(words) > 60 for role, words in described)
    for term in ("member", "reference", "undecided", "interval", "holm"):
        assert tab.locator(f"#term-{term}").count() == 1
        link = tab.locator(f'a[href="#term-{term}"]').first
        if link.is_visible():
            link.focus()
            tab.keyboard.press("Enter")
            assert f"s=term-{term}" in tab.url
            assert tab.evaluate("document.activeElement.id") == f"term-{term}"
    tab.context.close()


def test_a_slider_reads_off_stored_results_in_three_studies(stored, browser):
    tab, _ = open_page(browser, stored)
    studies = tab.eval_on_selector_all("input[data-slider]", "all => all.map(one => one.dataset.slider)")
    assert {"capacity", "interpolation", "batch-size"} <= set(studies)
    for study in studies:
        output = tab.locator(f"#study-{study} output")
        tab.locator(f"input[data-slider={study}]").focus()
        tab.keyboard.press("Home")
        first = output.inner_text()
        tab.keyboard.press("ArrowRight")
        assert output.inner_text() != first
        assert re.search(r"\(.+ to .+\)", output.inner_text())
    assert f"at={studies[0]}:1" in tab.url
    tab.context.close()


def test_the_python_of_a_figure_draws_it_from_what_is_stored(stored, browser, folder, monkeypatch):
    tab, _ = open_page(browser, stored)
    tab.locator("#study-depth-function details.python summary").first.click()
    code = tab.locator("#study-depth-function details.python pre").first.inner_text()
    tab.context.close()
    monkeypatch.chdir(folder.parent)
    exec(code, {})
    figures = [one.name for one in (folder.parent / "figures").iterdir()]
    assert sorted(figures) == ["figure-01-loss-cos.png", "figure-01-loss-cos.svg"]
    shutil.rmtree(folder.parent / "figures")

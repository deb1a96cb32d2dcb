"""A browser that visits pages as a reader does: from a file, without a network."""

import shutil
from collections.abc import Iterator

import pytest

from report.browsing import FLAGS, Visit, until


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium), which is not installed here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def browser_visit(browser):
    contexts = []

    def go(path, width=1280, scheme="light", fragment="") -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        seen = Visit(context.new_page())
        seen.tab.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
        seen.tab.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
        seen.tab.on("request", lambda request: seen.asked_for.append(request.url))
        seen.tab.goto(f"{path.as_uri()}#{fragment}" if fragment else path.as_uri())
        until(seen.tab, "window.bathymetryReady === true")
        seen.tab.evaluate("document.querySelectorAll('details.more').forEach(fold => { fold.open = true; })")
        until(seen.tab, "[...document.querySelectorAll('[data-chart]')].every(box => box.querySelector('canvas, svg'))")
        return seen

    yield go
    for context in contexts:
        context.close()

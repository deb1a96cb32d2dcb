"""Take the picture of the page that README.md shows.

    python docs/screenshot.py FOLDER

The folder is one that `bathymetry run all` wrote. It needs Chromium.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("page.png")
WIDTH, HEIGHT = 1280, 900


def main(folder: Path) -> None:
    """Open the page as a reader does, wait for its charts, and store its first screen."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto((folder / "report.html").resolve().as_uri())
        while not tab.evaluate("window.bathymetryReady === true"):
            tab.wait_for_timeout(50)
        tab.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

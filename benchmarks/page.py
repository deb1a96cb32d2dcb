"""How long does the page of nine stored studies take: to write, and to read in a browser?

It is written when no figure is drawn yet and when nothing changed. In Chromium, where that is installed, it is opened
five times at each of two widths: the time to its first chart, and the longest stall of its main thread until all charts
are drawn, each the median with the least and the most. A busy machine makes both longer, so its load stands next to
them. The nine studies are run with the preset `smoke` unless the first argument names a folder that holds them:
`python benchmarks/page.py [FOLDER] [RESULT.json]`. All figures are deleted before they are drawn for the first time.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory


def seconds(*arguments: str) -> tuple[float, float]:
    """Run the program; give its seconds, and those of all its processes on a core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "bathymetry.cli.main", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


_WATCH = """
window.stalls = [];
const watch = new PerformanceObserver(list => stalls.push(...list.getEntries().map(one => one.duration)));
watch.observe({entryTypes: ["longtask"]});
new MutationObserver((_, drawn) => {
  if (!document.querySelector("[data-thumb] canvas, [data-chart] canvas")) return;
  window.firstChart = performance.now();
  drawn.disconnect();
}).observe(document, {childList: true, subtree: true});
"""
_TIMES = 5
_WIDTHS = (1280, 390)


def read(page: Path) -> list[dict[str, object]]:
    """Open the page and give the milliseconds to its first chart and of its longest stall."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is not installed here: reading was not timed.")
        return []
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in _WIDTHS:
            found = []
            for _ in range(_TIMES):
                tab = browser.new_page(viewport={"width": width, "height": 900})
                tab.add_init_script(_WATCH)
                tab.goto(page.as_uri())
                while not tab.evaluate("window.bathymetryReady === true"):
                    tab.wait_for_timeout(50)
                found.append(tab.evaluate("[window.firstChart, Math.max(0, ...window.stalls)]"))
                tab.close()
            for what, several in zip(("first chart", "longest stall"), zip(*found, strict=True), strict=True):
                least, middle, most = (round(one) for one in (min(several), median(several), max(several)))
                name = f"{what}, {width} pixels wide"
                rows.append({"what": name, "milliseconds": middle, "least": least, "most": most})
                print(f"{name:<42} {middle:8} ms  ({least} to {most})")
        browser.close()
    return rows


def main() -> None:
    """Write the page with no figures and again, read it, print how long that took, keep it as JSON."""
    given = [one for one in sys.argv[1:] if not one.endswith(".json")]
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        if given:
            shutil.copytree(given[0], out)
        else:
            seconds("run", "all", "--preset", "smoke", "--data", "digits", "--out", str(out))
        for figures in out.glob("*/figures"):
            shutil.rmtree(figures)
        rows: list[dict[str, object]] = []
        for what in ("no figure drawn", "nothing changed"):
            wall, core = seconds("report", str(out))
            name, figures = f"page of nine studies, {what}", len(list(out.glob("*/figures/*.svg")))
            rows.append({"what": name, "seconds": wall, "core_seconds": core, "figures": figures})
            print(f"{name:<42} {wall:8.1f} s  {core:8.1f} s on a core")
        rows += read(out / "report.html")
    written = [one for one in sys.argv[1:] if one.endswith(".json")]
    if written:
        cores = len(os.sched_getaffinity(0))
        Path(written[0]).write_text(json.dumps({"cores": cores, "load": os.getloadavg()[0], "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

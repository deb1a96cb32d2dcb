"""How long does it take to draw the page of nine stored studies, when nothing is drawn yet and when nothing changed?

The nine studies are run with the preset `smoke` unless the first argument names a folder that holds them:
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
from tempfile import TemporaryDirectory


def seconds(*arguments: str) -> tuple[float, float]:
    """Run the program; give its seconds, and those of all its processes on a core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "bathymetry.cli.main", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Draw the page with no figures and again, print the seconds, keep them as JSON."""
    given = [one for one in sys.argv[1:] if not one.endswith(".json")]
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        if given:
            shutil.copytree(given[0], out)
        else:
            seconds("run", "all", "--preset", "smoke", "--data", "digits", "--out", str(out))
        for figures in out.glob("*/figures"):
            shutil.rmtree(figures)
        rows = []
        for what in ("no figure drawn", "nothing changed"):
            wall, core = seconds("report", str(out))
            name, figures = f"page of nine studies, {what}", len(list(out.glob("*/figures/*.svg")))
            rows.append({"what": name, "seconds": wall, "core_seconds": core, "figures": figures})
            print(f"{name:<42} {wall:8.1f} s  {core:8.1f} s on a core")
    written = [one for one in sys.argv[1:] if one.endswith(".json")]
    if written:
        cores = len(os.sched_getaffinity(0))
        Path(written[0]).write_text(json.dumps({"cores": cores, "load": os.getloadavg()[0], "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

"""A program that reads units of runs for another process: requests as lines of JSON, results as entries of the cache.

It ends with its standard input, so that none outlives the program that started it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from bathymetry.core.errors import BathymetryError
from bathymetry.runs import cache
from bathymetry.runs.run import Layout, Unit


def main() -> None:
    """Answer each request with the error's sentence, or nothing."""
    from bathymetry.runs.files import FORMATS, read_unit

    formats = {one.name: one for one in FORMATS}
    for line in sys.stdin:
        request = json.loads(line)
        unit = Unit(request["name"], tuple(map(Path, request["files"])))
        words: dict[str, Any] = request["layout"]
        layout = Layout(tuple(words["keys"]), tuple(words["metrics"]), words["step"], words["run"])
        try:
            runs = read_unit(formats[request["format"]], unit, layout)
            cache.store(Path(request["folder"]), request["key"], runs, unit, request["digests"])
            error = ""
        except BathymetryError as refused:
            error = str(refused)
        sys.stdout.write(json.dumps({"error": error}) + "\n")
        sys.stdout.flush()

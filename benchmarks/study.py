"""How long does a whole study take, from the command line to the page, and how much memory?"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def main() -> None:
    """Run `depth-function` in full, print seconds and peak memory, keep them as JSON."""
    with TemporaryDirectory() as folder:
        command = ["run", "depth-function", "--preset", "full", "--out", f"{folder}/out"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bathymetry.cli.main", *command], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    print(f"{'run depth-function --preset full':<42} {seconds:8.1f} s  {gigabytes:8.2f} GB")
    if len(sys.argv) > 1:
        row = {"what": "run depth-function --preset full", "seconds": seconds, "peak_gigabytes": gigabytes}
        Path(sys.argv[1]).write_text(json.dumps({"rows": [row]}, indent=1))


if __name__ == "__main__":
    main()

"""What the documentation calls `bm.…` is there in a fresh process, right after `import bathymetry as bm`."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*.py"))]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

CHECK = """
import sys
import bathymetry as bm
missing = []
for name in sys.argv[1:]:
    first, *rest = name.split(".")
    if first not in bm.__all__:  # what only an earlier import has put there would not be in a fresh process
        missing.append(name)
        continue
    value = getattr(bm, first)
    for part in rest:
        value = getattr(value, part, None)
    if value is None:
        missing.append(name)
print(*missing)
"""


def test_every_name_in_the_documentation_is_there_in_a_fresh_process():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (*PAGES, *SOURCES))
    names = set(re.findall(r"\bbm\.([a-z_]+(?:\.[A-Za-z_]+)?|[A-Z]\w+)", text))
    assert {"training.stability_threshold", "probes.eigenvalues", "train", "LossSurface"} <= names
    found = subprocess.run([sys.executable, "-c", CHECK, *sorted(names)], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []

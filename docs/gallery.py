"""Make the pictures of docs/gallery.md by running its code: `python docs/gallery.py`."""

import contextlib
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent


def main() -> None:
    names: dict[str, Any] = {}
    with contextlib.chdir(DOCS):
        for block in re.findall(r"```python\n(.*?)```", Path("gallery.md").read_text(encoding="utf-8"), re.DOTALL):
            exec(compile(block, "gallery.md", "exec"), names)
        for pixels in Path("gallery").glob("*.png"):  # the page shows the SVGs, which are smaller
            pixels.unlink()


if __name__ == "__main__":
    main()

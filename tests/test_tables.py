"""The tables of verdicts in README.md and docs/claims.md are those of the kept full run."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tables_are_what_the_kept_verdicts_make_of_them():
    pages = runpy.run_path(str(ROOT / "docs" / "tables.py"))["pages"]
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is behind: run python docs/tables.py"

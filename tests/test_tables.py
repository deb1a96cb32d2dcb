"""The tables of verdicts in docs/claims.md are those of the reference run."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_tables_are_what_the_kept_verdicts_make_of_them():
    pages = runpy.run_path(str(ROOT / "docs" / "tables.py"))["pages"]
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is behind: run python docs/tables.py"


@pytest.mark.parametrize(
    ("why", "words"),
    [({}, r"no entry \[weight-decay\]"), ({"weight-decay": {"b": {}}}, r"no a in \[weight-decay\]")],
)
def test_a_claim_without_its_reason_is_named(why, words):
    entry = runpy.run_path(str(ROOT / "docs" / "tables.py"))["_entry"]
    with pytest.raises(SystemExit, match=f"docs/claims.toml has {words}"):
        entry(why, "weight-decay", "a")

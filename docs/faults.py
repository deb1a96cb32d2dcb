"""Write the table of faults into docs/faults.md, from what the tests recorded.

    python docs/faults.py build/faults.xml [LATER.xml ...]

`make test-long` runs it. A test that causes a fault takes the fixture `fault` and calls it with the fault in words and
what came of it in figures; tests of many hostile inputs take the fixture `fuzz`, which does so. Rows of tests that were
not run stay as they are.
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

PAGE = Path(__file__).with_name("faults.md")
_BEGIN, _END = "<!-- faults -->", "<!-- end of faults -->"
_HEAD = ["| fault | what came of it | test |", "|---|---|---|"]


def recorded(report: Path) -> tuple[dict[str, str], set[str]]:
    """Read the rows in a report of pytest, by test, and the tests that failed."""
    rows, failed = {}, set[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').removeprefix('tests.').replace('.', '/')}.py::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
            continue
        found = {one.get("name"): one.get("value", "") for one in case.iter("property")}
        if "fault" in found:
            rows[name] = f"| {found['fault']} | {found['outcome']} | `{name}` |"
    return rows, failed


def main() -> None:
    """Replace the rows of the tests that were run; a test that failed must have passed in a later report."""
    text = PAGE.read_text(encoding="utf-8")
    before, table, after = re.split(f"{_BEGIN}|{_END}", text)
    rows = {row.split("`")[-2]: row for row in table.strip().splitlines()[len(_HEAD) :]}
    failed: set[str] = set()
    for report in sys.argv[1:]:
        found, not_passed = recorded(Path(report))
        rows |= found
        failed = (failed - found.keys()) | not_passed
    if failed:
        raise SystemExit(f"{', '.join(sorted(failed))} failed: no table is written")
    lines = [_BEGIN, "", *_HEAD, *(rows[name] for name in sorted(rows)), "", _END]
    PAGE.write_text(before + "\n".join(lines) + after, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write the tables of verdicts into docs/claims.md, from those of the reference run in the package.

    python docs/tables.py

Run it after docs/reference.py. claims.toml says why a verdict differs from the homework report's sentence, and which
verdict it explains: if the verdict has changed since, this stops, because the reason would be about another one.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bathymetry.claims.judging import ReferenceVerdict
from bathymetry.report.reference import reference_verdicts
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED

DOCS = Path(__file__).parent
P_HOLM = {one["id"]: one["p_holm"] for one in json.loads((DOCS.parent / "results" / "claims.json").read_text("utf-8"))}
SYMBOLS = {"supported": "✓ supported", "contradicted": "✗ contradicted", "undecided": "? undecided"}
_BEGIN, _END = "<!-- verdicts -->", "<!-- end of verdicts -->"


def symbol(claim: str, decision: str) -> str:
    """Write a verdict, and whether it is lost when p is adjusted for the number of claims."""
    lost = decision != "undecided" and (P_HOLM[claim] or 0) > 0.05
    return SYMBOLS[decision] + (", not significant after Holm correction" if lost else "")


def explained() -> str:
    """Write the table of docs/claims.md: the report's claim, the verdict over many members, and why they differ."""
    reference = reference_verdicts()
    why = tomllib.loads((DOCS / "claims.toml").read_text(encoding="utf-8"))
    parts = []
    for study in map(find, SHIPPED):
        parts += [
            f"## {study.question}",
            "",
            "| claim | verdict over many members | why |",
            "|---|---|---|",
        ]
        for claim in study.claims():
            key, reason = f"{study.name}.{claim.letter}", _entry(why, study.name, claim.letter)
            one = _verdict(reference, key)
            if reason["explains"] != one.decision:
                raise SystemExit(f"{key} is {one.decision}; claims.toml explains {reason['explains']}: update it")
            verdict = f"{symbol(key, one.decision)} ({one.members} members). {one.finding}".replace("|", "\\|")
            parts.append(f"| {claim.text} | {verdict} | {reason['why']} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def _entry(why: dict[str, Any], study: str, letter: str) -> dict[str, str]:
    """Find why a verdict is what it is."""
    if letter not in why.get(study, {}):
        missing = f"no {letter} in [{study}]" if study in why else f"no entry [{study}]"
        raise SystemExit(f"docs/claims.toml has {missing}: say for each claim what explains its verdict")
    found: dict[str, str] = why[study][letter]
    return found


def _verdict(reference: Mapping[str, ReferenceVerdict], key: str) -> ReferenceVerdict:
    if key not in reference:
        raise SystemExit(f"the reference run has no {key}: name a run of its study to docs/reference.py first")
    return reference[key]


def filled(text: str, table: str) -> str:
    """Insert a table between the marks of a page."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table}\n{_END}{after}"


def pages() -> dict[Path, str]:
    """Make the page."""
    path = DOCS / "claims.md"
    return {path: filled(path.read_text(encoding="utf-8"), explained())}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")

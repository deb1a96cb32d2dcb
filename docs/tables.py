"""Write the tables of verdicts into README.md and docs/claims.md, from those of the reference run in the package.

    python docs/tables.py

Run it after docs/reference.py. Why a verdict differs from the homework report's sentence stands in claims.toml, with
the verdict that it explains: where the verdict is another since, this refuses, for the reason would be about something
else.
"""

import tomllib
from pathlib import Path

from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.studies.reference import reference_verdicts

DOCS = Path(__file__).parent
SYMBOLS = {"supported": "✓ supported", "contradicted": "✗ contradicted", "undecided": "? undecided"}
_BEGIN, _END = "<!-- verdicts -->", "<!-- end of verdicts -->"


def overview() -> str:
    """Give the README's table: every claim with its verdict."""
    kept = reference_verdicts()
    rows = ["| study | as the homework report has it | verdict |", "|---|---|---|"]
    for study in map(find, SHIPPED):
        for claim in study.claims():
            name = f"`{study.name}`" if claim.letter == "a" else ""
            rows.append(f"| {name} | {claim.text} | {SYMBOLS[kept[f'{study.name}.{claim.letter}'].decision]} |")
    return "\n".join(rows)


def explained() -> str:
    """Give the table of docs/claims.md: what was said, what many members say, and why they differ."""
    kept = reference_verdicts()
    why = tomllib.loads((DOCS / "claims.toml").read_text(encoding="utf-8"))
    parts = []
    for study in map(find, SHIPPED):
        parts += [
            f"## {study.question}",
            "",
            "| as the homework report has it | what many members say | why |",
            "|---|---|---|",
        ]
        for claim in study.claims():
            one, reason = kept[f"{study.name}.{claim.letter}"], why[study.name][claim.letter]
            if reason["explains"] != one.decision:
                wrong = f"{study.name}.{claim.letter} is {one.decision} now; claims.toml explains why it was"
                raise SystemExit(f"{wrong} {reason['explains']}: look at it again")
            said = f"{SYMBOLS[one.decision]} ({one.members} members). {one.finding}".replace("|", "\\|")
            parts.append(f"| {claim.text} | {said} | {reason['why']} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def filled(text: str, table: str) -> str:
    """Put a table between the marks of a page."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table}\n{_END}{after}"


def pages() -> dict[Path, str]:
    """Give both pages as they should be."""
    wanted = {DOCS.parent / "README.md": overview(), DOCS / "claims.md": explained()}
    return {path: filled(path.read_text(encoding="utf-8"), table) for path, table in wanted.items()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")

"""Write the tables of README.md and docs/studies: settings of the presets, claims with the reference verdicts, figures.

    python docs/study_pages.py

Run it after docs/reference.py, and after a change of a study's settings, claims or figures. The rest of these pages is
written by hand.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bathymetry.charts.sheet import cited_as
from bathymetry.studies import Study, find
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.studies.settings import PRESETS, as_text

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "results"
SYMBOLS = {"supported": "✓", "contradicted": "✗", "undecided": "?"}
COMMON = {"seed", "data_seed", "device"}  # settings of every study, which docs/studies/index.md describes


def overview() -> Iterator[str]:
    """Write the README's row for each study, with the counts of its reference verdicts."""
    stored = json.loads((RESULTS / "claims.json").read_text(encoding="utf-8"))
    yield from ("| study | question | " + " | ".join(SYMBOLS) + " |", "|---|---|" + "---|" * len(SYMBOLS))
    for study in map(find, SHIPPED):
        verdicts = [one["verdict"] for one in stored if one["id"].partition(".")[0] == study.name]
        counts = " | ".join(str(verdicts.count(one) or "") for one in SYMBOLS)
        yield f"| [`{study.name}`](docs/studies/{study.name}.md) | {study.question} | {counts} |"


def settings(study: type[Study]) -> Iterator[str]:
    """Write a row for each setting, with its value in each preset where they differ."""
    yield from ("| option | what | " + " | ".join(PRESETS) + " |", "|---|---|" + "---|" * len(PRESETS))
    made = [study.preset(preset) for preset in PRESETS]
    for field, info in study.model_fields.items():
        if field not in COMMON:
            values = [" ".join(as_text(getattr(one, field), info)) for one in made]
            yield f"| `--{field.replace('_', '-')}` | {info.description} | " + " | ".join(values) + " |"


def claims(study: type[Study]) -> Iterator[str]:
    """Write a row for each claim, with its verdict in the reference run."""
    stored = {one["id"]: one for one in json.loads((RESULTS / "claims.json").read_text(encoding="utf-8"))}
    yield from ("| | claim, and how it is decided | reference run |", "|---|---|---|")
    for claim in study.claims():
        one = stored[f"{study.name}.{claim.letter}"]
        lost = one["verdict"] != "undecided" and (one["p_holm"] or 0) > 0.05
        verdict = f"{SYMBOLS[one['verdict']]} **{one['verdict']}**" + ", not significant after Holm correction" * lost
        rule = one["rule"][:1].upper() + one["rule"][1:]
        mark = " †" * claim.absolute
        yield f"| {claim.letter}{mark} | **{claim.text}**<br>{rule} | {verdict}.<br>{one['finding']} |"


def figures(study: type[Study]) -> Iterator[str]:
    """Show each figure of the reference run; how to read it is part of the picture."""
    marks = {mark.method.replace("_", "-"): mark for mark in study.figures()}
    for path in sorted((RESULTS / study.name / "figures").glob("*.svg")):  # those with a number first
        number, name = re.fullmatch(r"figure-(?:(\d+)-)?(.+)", path.stem).groups()  # type: ignore[union-attr]
        method = next((one for one in marks if name == one or name.startswith(f"{one}-")), "")
        title = marks[method].title if method in marks else name.replace("-", " ")
        title = re.sub(r"\{\w+\}", name.removeprefix(f"{method}-"), title)
        several = marks[method].number if method in marks and not marks[method].each else None
        several = tuple(several.values()) if isinstance(several, Mapping) else several
        cited = cited_as(several or int(number)) + ". " if number else ""
        yield from (f"![{cited}{title}](../../{path.relative_to(DOCS.parent).as_posix()})", "")


def filled(text: str, block: str, lines: Iterator[str]) -> str:
    """Replace what stands between the two marks of a block."""
    begin, end = f"<!-- {block} -->", f"<!-- end of {block} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"expected the marks {begin} and {end}")
    return f"{before}{begin}\n{chr(10).join(lines).rstrip()}\n{end}{after}"


def pages() -> dict[Path, str]:
    """Make README.md and the nine pages."""
    readme = DOCS.parent / "README.md"
    made = {readme: filled(readme.read_text(encoding="utf-8"), "studies", overview())}
    for study in map(find, SHIPPED):
        path = DOCS / "studies" / f"{study.name}.md"
        text = path.read_text(encoding="utf-8")
        for block in (settings, claims, figures):
            text = filled(text, block.__name__, block(study))
        made[path] = text
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")

"""Make the verdicts of the reference run again, from the parts that are stored in results/claims.json.

    python docs/reference.py [FOLDER ...]

A folder is one that `bathymetry run --preset full` wrote: for each of its studies the claims, figures and provenance in
results/ are replaced by its own. Then every claim is combined from its parts as `combine` does it now, p is adjusted
over all claims, and the same file is written into the package. Nothing is written by hand. Afterwards
docs/tables.py writes the tables.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bathymetry.claims.judging import Claim
from bathymetry.stats import Part, holm
from bathymetry.stats.verdict import RENAMED, combine
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PACKAGED = ROOT / "src" / "bathymetry" / "studies" / "reference_claims.json"
NEUTRAL = {"majority": 0.5, "stochastic_order": 0.5, "best_of": 0.5, "mean_sign": 0.0, "correlation": 0.0}
# The side of 0 that a claim expects, for parts which were stored before their direction was
EXPECTED = {("capacity.a", "loss"): -1, ("capacity.a", "accuracy"): 1, ("capacity.b", "loss"): -1,
            ("capacity.b", "accuracy"): 1}  # fmt: skip


def direction(claim: str, kind: str, part: dict[str, Any]) -> str:
    """Tell on which side of the claim a stored part lies."""
    if "direction" in part:
        return str(part["direction"])
    if part["verdict"] in ("supported", "contradicted"):
        return "for" if part["verdict"] == "supported" else "against"
    if part["estimate"] is None or part["estimate"] == NEUTRAL[kind]:
        return "neither"
    side = 1 if part["estimate"] > NEUTRAL[kind] else -1
    if kind in ("mean_sign", "correlation"):
        side *= EXPECTED[claim, next(iter(part["coordinates"].values()))]
    return "for" if side > 0 else "against"


def rebuilt(claim: str, kind: str, stored: dict[str, Any]) -> Part:
    """Take a stored part back to what its rule returned."""
    low, high = (float("nan") if end is None else end for end in stored["interval"])
    return Part(
        decision=RENAMED.get(stored["verdict"], stored["verdict"]),  # type: ignore[arg-type]
        estimate=float("nan") if stored["estimate"] is None else stored["estimate"],
        interval=(low, high),
        p=stored["p"],
        members=stored["members"],
        summary=stored["summary"],
        coordinates=stored["coordinates"],
        direction=direction(claim, kind, stored),  # type: ignore[arg-type]
    )


def combined(stored: dict[str, Any], claim: Claim) -> dict[str, Any]:
    """Decide a stored claim again."""
    parts = [rebuilt(stored["id"], claim.rule.kind, part) for part in stored["parts"]]
    verdict = combine(claim.rule.kind, parts)
    kept = [one | {"direction": part.direction} for one, part in zip(stored["parts"], parts, strict=True)]
    changed = {
        "text": claim.text, "rule": claim.rule.words, "kind": claim.rule.kind, "verdict": verdict.decision,
        "reason": verdict.reason, "members": verdict.members, "p": verdict.p, "parts": kept,
    }  # fmt: skip
    if claim.rule.kind == "majority":  # all that the sentence says stands in the parts
        changed["finding"] = claim.rule.finding(verdict)
    return stored | changed


def taken_over(folder: Path, claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace the claims, figures and provenance of a run's studies by its own."""
    ran = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    provenance = json.loads((RESULTS / "provenance.json").read_text(encoding="utf-8"))
    written(RESULTS / "provenance.json", {name: ran.get(name, provenance.get(name)) for name in provenance | ran})
    for study in ran:
        shutil.rmtree(RESULTS / study / "figures", ignore_errors=True)
        (RESULTS / study / "figures").mkdir(parents=True)
        for figure in (folder / study / "figures").glob("*.svg"):
            shutil.copy(figure, RESULTS / study / "figures")
    own = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    return [one for one in claims if one["id"].partition(".")[0] not in ran] + own


def written(path: Path, content: Any) -> None:
    """Write a file as `bathymetry run` writes it."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """The version of Bathymetry that ran each study."""
    provenance = json.loads((RESULTS / "provenance.json").read_text(encoding="utf-8"))
    return {name: one["provenance"]["versions"]["bathymetry"] for name, one in provenance.items()}


def main(folders: list[Path]) -> None:
    """Make results/claims.json again, and the copy of it in the package."""
    claims = json.loads((RESULTS / "claims.json").read_text(encoding="utf-8"))
    before = {one["id"]: one["verdict"] for one in claims}
    for folder in folders:
        claims = taken_over(folder, claims)
    stored = {one["id"]: one for one in claims}
    studies = [find(name) for name in SHIPPED]
    named = {f"{study.name}.{claim.letter}": claim for study in studies for claim in study.claims()}
    if absent := [name for name in named if name not in stored]:
        raise SystemExit(
            f"results/claims.json has no {absent[0]}: run its study with --preset full and name the folder"
        )
    made = [combined(stored[name], claim) for name, claim in named.items()]
    for one, p_holm in zip(made, holm([one["p"] for one in made]), strict=True):
        if one["verdict"] != before.get(one["id"]):
            sys.stdout.write(f"{one['id']}: {before.get(one['id'], 'nothing')} before, {one['verdict']} now\n")
        one["p_holm"] = p_holm
    written(RESULTS / "claims.json", made)
    written(PACKAGED, {"versions": versions(), "claims": made})


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])

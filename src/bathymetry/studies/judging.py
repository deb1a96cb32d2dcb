"""From results to verdicts: every claim of a study decided by its own rule, and said in one sentence."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bathymetry import statistics
from bathymetry.studies.claim import Claim
from bathymetry.studies.settings import StudySettings
from bathymetry.studies.study import Study
from bathymetry.studies.wording import field_name, joined

if TYPE_CHECKING:
    import xarray as xr

    from bathymetry.statistics import Part, Verdict


_SHARE = "the share of "  # how the rule of a claim about a share begins: what follows names those that are counted


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict."""

    id: str  # "depth-function.a"
    text: str
    rule: str
    verdict: "Verdict"
    finding: str  # one sentence, its numbers taken from the results

    def __str__(self) -> str:
        return f"{self.id} {self.verdict.decision}: {self.finding}"


def judge(study: Study, results: "xr.DataTree") -> tuple[Judged, ...]:
    """Decide every claim of a study.

    Args:
        study: The study.
        results: Its results, with the settings and the data they came from among the attributes.

    Returns:
        The claims in their order.
    """
    obstacle = departure(study, results)
    judged = []
    for claim in study.claims:
        verdict = _verdict(claim, results, obstacle)
        words = [_finding(claim, verdict), claim.beside(results) if verdict.parts else ""]
        finding = " ".join(one for one in words if one)
        judged.append(Judged(f"{study.name}.{claim.letter}", claim.text, claim.rule, verdict, finding))
    return tuple(judged)


def departure(study: Study, results: "xr.DataTree") -> str:
    """Say in what a run departs from the protocol's data and schedule.

    Args:
        study: The study.
        results: Its results.

    Returns:
        The settings or data that differ, in words; empty if none does.
    """
    given = study.settings.model_validate(results.attrs["settings"])
    usual = study.settings.preset("full")
    ignored = StudySettings.free | ({"data"} if study.protocol_data else set())
    differing = [
        field_name(field)
        for field in study.settings.model_fields
        if field not in ignored and getattr(given, field) != getattr(usual, field)
    ]
    if study.protocol_data and study.protocol_data not in results.attrs["data"]:
        differing.insert(0, "data")
    return f"it is about the protocol's {joined(differing)}, and this run has others" if differing else ""


def _verdict(claim: Claim, results: "xr.DataTree", obstacle: str) -> "Verdict":
    parts = tuple(claim.decide(results))
    if claim.absolute and obstacle:
        members = min((part.members for part in parts), default=0)
        return statistics.Verdict(claim.kind, "not judged", parts, members, None, obstacle)
    if not parts:
        reason = "what it speaks of was not run"
        return statistics.Verdict(claim.kind, "not judged", (), 0, None, reason)
    return statistics.combine(claim.kind, parts)


def _finding(claim: Claim, verdict: "Verdict") -> str:
    """Tell the outcome in one sentence; parts that have the same are named together. All numbers stand in the parts."""
    if not verdict.parts:
        return _sentence(verdict.reason)
    if verdict.kind == "share" and claim.rule.startswith(_SHARE):
        who = claim.rule.partition(";")[0].removeprefix(_SHARE)
        return _sentence(f"{who}: {joined([_counted(part) for part in verdict.parts])}")
    together: dict[str, list[str]] = {}
    for part in verdict.parts:
        together.setdefault(part.told or part.summary, []).append(" ".join(part.coordinates.values()))
    named = [f"{joined(names)}: {told}" if any(names) else told for told, names in together.items()]
    return _sentence("; ".join(named))


def _counted(part: "Part") -> str:
    count = round(part.estimate * part.members) if part.members else 0
    about = f" ({', '.join(part.coordinates.values())})" if part.coordinates else ""
    return f"{count} of {part.members}{about}"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."

"""From results to verdicts: every claim of a study decided by its own rule, and said in one sentence."""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from bathymetry import stats
from bathymetry.studies.claim import Claim
from bathymetry.studies.study import Study
from bathymetry.studies.wording import field_name, joined, shown

if TYPE_CHECKING:
    import xarray as xr

    from bathymetry.stats import Part, Verdict


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

    def _repr_html_(self) -> str:
        """Show the claim with its verdict in a notebook."""
        return f"<table>{self._row()}</table>"

    def _row(self) -> str:
        cells = (escape(self.id), escape(self.text), f"<b>{escape(self.verdict.decision)}</b>", escape(self.finding))
        return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


class Judgements(tuple[Judged, ...]):
    """All claims of a study with their verdicts: a tuple that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<table>{''.join(one._row() for one in self)}</table>"


def judge(study: Study, results: "xr.DataTree") -> Judgements:
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
        words = [finding(claim, verdict), claim.beside(results) if verdict.decision != "not tested" else ""]
        said = " ".join(one for one in words if one)
        judged.append(Judged(f"{study.name}.{claim.letter}", claim.text, claim.rule, verdict, said))
    return Judgements(judged)


def departure(study: Study, results: "xr.DataTree") -> str:
    """Say in what a run departs from the protocol's data and schedule.

    Args:
        study: The study.
        results: Its results.

    Returns:
        What a claim about the protocol's data and schedule needs and what this run had; empty if nothing differs.
    """
    given = study.settings.model_validate(results.attrs["settings"])
    usual = study.settings.preset("full")
    ignored = type(given).free | ({"data"} if study.protocol_data else set())
    differing = [
        field
        for field in study.settings.model_fields
        if field not in ignored and getattr(given, field) != getattr(usual, field)
    ]
    needed, had = ([_setting(field, getattr(one, field)) for field in differing] for one in (usual, given))
    if study.protocol_data and study.protocol_data not in results.attrs["data"]:
        needed.insert(0, study.protocol_data.upper() if study.protocol_data == "mnist" else study.protocol_data)
        had.insert(0, joined(list(results.attrs["data"])) or "other data")
    return f"the claim needs {joined(needed)}; this run used {joined(had)}" if needed else ""


def _setting(field: str, value: object) -> str:
    """Write a setting with its value, as "120 epochs" or "learning rate 0.01"."""
    name = field_name(field)
    if value is None:
        return f"all {name}"
    if isinstance(value, tuple) and len(value) > 4:
        return f"{len(value)} {name}"
    words = shown(value).replace(", ", "/") if isinstance(value, tuple) else shown(value)
    return f"{words} {name}" if name.endswith("s") and not isinstance(value, tuple) else f"{name} {words}"


def _verdict(claim: Claim, results: "xr.DataTree", obstacle: str) -> "Verdict":
    if claim.absolute and obstacle:
        return stats.Verdict(claim.kind, "not tested", (), 0, None, obstacle)
    parts = tuple(claim.decide(results)) or (stats.not_run("this run has nothing to test it by", {}),)
    return stats.combine(claim.kind, parts)


def finding(claim: Claim, verdict: "Verdict") -> str:
    """Tell the outcome in one sentence; parts that have the same are named together. All numbers stand in the parts.

    Args:
        claim: The claim.
        verdict: Its verdict.

    Returns:
        The sentence.
    """
    parts = [part for part in verdict.parts if part.decision != "not tested"]
    if verdict.decision == "not tested" or not parts:
        return f"Not tested: {verdict.reason}."
    if verdict.kind == "majority" and claim.rule.startswith(_SHARE):
        who = claim.rule.partition(";")[0].removeprefix(_SHARE)
        return _sentence(f"{who}: {joined([_counted(part) for part in parts])}")
    together: dict[str, list[str]] = {}
    for part in parts:
        together.setdefault(part.finding or part.summary, []).append(" ".join(part.coordinates.values()))
    named = [f"{joined(names)}: {told}" if any(names) else told for told, names in together.items()]
    return _sentence("; ".join(named))


def _counted(part: "Part") -> str:
    count = round(part.estimate * part.members) if part.members else 0
    about = f" ({', '.join(part.coordinates.values())})" if part.coordinates else ""
    return f"{count} of {part.members}{about}"


def _sentence(words: str) -> str:
    # a formula stays as it is written
    plain = words.partition(" ")[0].rstrip(":,;").isalpha()
    return f"{words[:1].upper() if plain else words[:1]}{words[1:]}."

"""A claim of a study, and the one record of what became of it: its verdict and its finding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeVar

from bathymetry.claims.rules import Evidence, Rule
from bathymetry.stats import Verdict
from bathymetry.stats.verdict import Decision, combine, not_run, significance_level

ClaimMethod = TypeVar("ClaimMethod", bound=Callable[..., Evidence | tuple[Evidence, str]])


@dataclass(frozen=True)
class Claim:
    """A sentence that a study can support or contradict."""

    letter: str  # "a": the claim is known as STUDY.a
    text: str
    rule: Rule
    group: str  # of the results that its evidence is taken from
    absolute: bool  # marked †: tested only with the data and schedule of the preset `full`

    def _repr_html_(self) -> str:
        letter, text, rule = map(escape, (self.letter, self.text, self.rule.words))
        return f"<p><b>{letter}{' †' * self.absolute}</b> {text}<br>{self.rule.kind}: {rule}</p>"


def claim(
    text: str, rule: Rule, *, group: str = "main", absolute: bool = False
) -> Callable[[ClaimMethod], ClaimMethod]:
    """Mark a method of a study as the evidence for a claim; its name is the claim's letter.

    The method receives a group of the results, members that diverged as NaN. It returns labelled arrays over `member`
    (one part per cell of their other axes) or parts, alone or with a sentence without which the finding would mislead.

    Args:
        text: What is claimed.
        rule: How it is decided.
        group: The group of the results.
        absolute: Whether the claim contains an absolute number or is about the end of training, and so is tested only
            with the data and schedule of the preset `full`.

    Returns:
        A decorator that returns the method itself.
    """

    def mark(method: ClaimMethod) -> ClaimMethod:
        method.__dict__["mark"] = Claim(method.__name__, text, rule, group, absolute)
        return method

    return mark


@dataclass(frozen=True)
class ReferenceVerdict:
    """What the reference run says of a claim."""

    verdict: Verdict
    finding: str
    p_holm: float | None  # adjusted over all claims of the reference run
    version: str  # of Bathymetry, that made it

    @property
    def decision(self) -> Decision:
        return self.verdict.decision

    @property
    def members(self) -> int:
        return self.verdict.members

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know next to the finding."""
        return _remarks(self.verdict, self.finding, self.p_holm)


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict: all that a page says of it."""

    id: str  # "depth-function.a"
    text: str
    rule: str
    verdict: Verdict
    finding: str  # one sentence, its numbers taken from the results
    p_holm: float | None = None  # adjusted over all claims of a page; None where there is no p
    reference: ReferenceVerdict | None = None
    predicted: Decision | None = None  # by the reader

    @property
    def differs(self) -> bool:
        """Whether both runs tested it and decided otherwise."""
        if self.reference is None or "not tested" in (self.verdict.decision, self.reference.decision):
            return False
        return self.reference.decision != self.verdict.decision

    @property
    def hit(self) -> bool | None:
        """Whether the reader predicted the verdict; None where nothing was predicted or tested."""
        untested = self.predicted is None or self.verdict.decision == "not tested"
        return None if untested else self.predicted == self.verdict.decision

    @property
    def lost_by_holm(self) -> bool:
        """Whether it is decided at 5 %, but not after Holm's correction for the number of claims."""
        return _is_lost(self.verdict, self.p_holm)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know next to the finding: why it is undecided, or that Holm's correction undoes it."""
        return _remarks(self.verdict, self.finding, self.p_holm)

    def __str__(self) -> str:
        return f"{self.id} {self.verdict.decision}: {self.finding}"

    def _repr_html_(self) -> str:
        return f"<table>{self._row()}</table>"

    def _row(self) -> str:
        cells = (escape(self.id), escape(self.text), f"<b>{escape(self.verdict.decision)}</b>", escape(self.finding))
        return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


class Judgements(tuple[Judged, ...]):
    """All claims of a study with their verdicts: a tuple that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<table>{''.join(one._row() for one in self)}</table>"


def _is_lost(verdict: Verdict, p_holm: float | None) -> bool:
    return verdict.decision in ("supported", "contradicted") and (p_holm or 0.0) > significance_level()


def _remarks(verdict: Verdict, finding: str, p_holm: float | None) -> tuple[str, ...]:
    reason, remarks = verdict.reason.rstrip("."), list[str]()
    if reason and reason.lower() not in finding.lower() and not reason.startswith("0 members,"):  # as findings say
        remarks.append(f"{reason[0].upper()}{reason[1:]}.")
    if _is_lost(verdict, p_holm):
        remarks.append(f"{verdict.decision.capitalize()} at 5 %; not significant after Holm correction.")
    return tuple(remarks)


def hits(claims: Sequence[Judged]) -> str:
    """How many verdicts the reader predicted: "5 of 7 right"; nothing if no claim has a prediction."""
    tested = [one.hit for one in claims if one.hit is not None]
    untested = sum(one.predicted is not None for one in claims) - len(tested)
    words = f"{sum(tested)} of {len(tested)} right" if tested else ""
    rest = f"{untested} {'prediction is of a claim' if untested == 1 else 'predictions are of claims'} not tested"
    return "; ".join([words] * bool(words) + [rest] * bool(untested))


def judge(study: str, one: Claim, evidence: Callable[[], Any], obstacle: str = "") -> Judged:
    """Decide a claim from its evidence, which is made only where no obstacle says why it cannot be tested."""
    caveat = ""
    if obstacle:
        verdict = Verdict(one.rule.kind, "not tested", (), 0, None, obstacle)
    else:
        found = evidence()
        values, caveat = found if isinstance(found, tuple) else (found, "")
        verdict = combine(one.rule.kind, one.rule(values) or [not_run("this run has nothing to test it by", {})])
    finding = one.rule.finding(verdict)
    if caveat and verdict.decision != "not tested":
        finding += f" {caveat}"
    return Judged(f"{study}.{one.letter}", one.text, one.rule.words, verdict, finding)

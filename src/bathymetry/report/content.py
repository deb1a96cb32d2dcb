"""What the page consists of, before it is a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bathymetry.charts.figure import Figure
from bathymetry.stats.verdict import CONFIDENCE, Decision, Verdict

_LEVEL = round(1 - CONFIDENCE, 12)


@dataclass(frozen=True)
class Kept:
    """What the reference run says of a claim, to be shown where this run cannot test it or says otherwise."""

    decision: Decision
    finding: str
    source: str = "The reference run says otherwise"  # which run, in words


@dataclass(frozen=True)
class ClaimRow:
    """One claim with what became of it."""

    id: str  # "depth-function.a"
    text: str  # as the homework report has it
    rule: str  # how it is decided, in words
    verdict: Verdict
    finding: str  # one sentence with numbers from the data
    p_holm: float | None = None  # adjusted over all claims of the page; None where there is no p
    kept: Kept | None = None

    @property
    def light(self) -> bool:
        """Whether it is decided at 5 %, but not after Holm's correction for the number of claims."""
        return self.verdict.decision in ("supported", "contradicted") and (self.p_holm or 0.0) > _LEVEL

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know beside the finding: why it is not decided, or that Holm's correction undoes it."""
        remarks = []
        reason = self.verdict.reason[:1].upper() + self.verdict.reason[1:].rstrip(".")
        if reason and reason.lower() not in self.finding.lower():
            remarks.append(f"{reason}.")
        if self.light:
            remarks.append(f"{self.verdict.decision.capitalize()} at 5 %; not significant after Holm correction.")
        return tuple(remarks)


@dataclass(frozen=True)
class Picture:
    """A figure that an earlier page drew, shown as it was stored."""

    name: str
    title: str
    source: str  # a data URI of a PNG or SVG
    finding: str
    reading: str


@dataclass(frozen=True)
class StudySection:
    """One study: its question and all that answers it."""

    name: str  # "depth-function"
    part: str  # "Part 1: depth"
    question: str
    about: str  # what it measures
    reading: str  # how to read its charts
    seen: tuple[str, ...]  # what was seen, sentence by sentence
    figures: tuple[Figure, ...]
    claims: tuple[ClaimRow, ...]
    settings: Mapping[str, str]
    code: str  # the few lines of Python that make it
    warnings: tuple[str, ...] = ()  # for example who diverged
    pictures: tuple[Picture, ...] = ()  # where the study's own figures can't be drawn
    compared: str = ""  # in what this run differs from the reference run, whose verdicts stand beside its own


@dataclass(frozen=True)
class Report:
    """All that the page says."""

    title: str
    opening: tuple[str, ...]  # first lines: the data, when, what was run
    studies: tuple[StudySection, ...]
    provenance: Mapping[str, str]
    reproduce: str  # the command that makes all this again
    notes: tuple[str, ...] = field(default=())  # what else a reader should know, above the provenance

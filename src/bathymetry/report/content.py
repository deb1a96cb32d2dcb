"""What the page consists of, before it is a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bathymetry.charts.figure import Figure
from bathymetry.statistics.verdict import Decision, Verdict


@dataclass(frozen=True)
class Kept:
    """What a kept full run says of a claim, to be shown where this run can't judge it."""

    decision: Decision
    finding: str
    source: str = "kept full run"  # which run, in words


@dataclass(frozen=True)
class ClaimRow:
    """One claim with what became of it."""

    id: str  # "depth-function.a"
    text: str  # as the report has it
    rule: str  # how it is decided, in words
    verdict: Verdict
    finding: str  # one sentence with numbers from the data
    p_holm: float | None = None  # adjusted over all claims of the page; None where there is no p
    kept: Kept | None = None


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


@dataclass(frozen=True)
class Report:
    """All that the page says."""

    title: str
    opening: tuple[str, ...]  # first lines: the data, when, what was run
    studies: tuple[StudySection, ...]
    provenance: Mapping[str, str]
    reproduce: str  # the command that makes all this again
    notes: tuple[str, ...] = field(default=())  # what else a reader should know, above the provenance

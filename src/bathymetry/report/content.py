"""What the page consists of, before it is a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bathymetry.charts.figure import Figure
from bathymetry.claims import Judged


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
    claims: tuple[Judged, ...]
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

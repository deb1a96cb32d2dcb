"""Which verdicts changed between two runs: two output folders or `claims.json` files, or the reference run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from bathymetry.claims.judging import Judged, ReferenceVerdict
from bathymetry.core.errors import DamagedError, InputError, abridged
from bathymetry.core.showing import joined, plural
from bathymetry.report import page_json
from bathymetry.report.page import Report, page
from bathymetry.report.page_json import CLAIMS_FILE, PROVENANCE_FILE, claim_of, misfit
from bathymetry.report.reference import reference_claims
from bathymetry.report.sections import StudySection
from bathymetry.stats.verdict import RENAMED, Decision
from bathymetry.store import storage
from bathymetry.store.folder import check_folder, check_output_folder, is_output_folder
from bathymetry.store.storage import Place, place_of
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED, entries
from bathymetry.studies.settings import field_name, shown

REFERENCE = "reference"  # stands for the stored reference run
_FREE = ("device", "data")  # settings that are no difference; data count by their digests


@dataclass(frozen=True)
class Verdicts:
    """The claims of one of the two, by their ids, and what is known of how they were made."""

    name: str
    claims: Mapping[str, Judged]
    provenance: Mapping[str, Mapping[str, Any]]  # by study: its settings and data, where they are known


@dataclass(frozen=True)
class Comparison:
    """What two runs say of the same claims."""

    a: Verdicts
    b: Verdicts
    both: tuple[Judged, ...]  # with b's verdict, and a's as their reference
    settings: Mapping[str, str]  # by study: in what the settings of both differ; empty where they don't
    unknown: tuple[str, ...]  # studies of which one has no settings
    only: tuple[tuple[str, ...], tuple[str, ...]]  # ids that only a has, and only b

    @property
    def changed(self) -> list[Judged]:
        return [one for one in self.both if one.differs]

    @property
    def tested_in_one(self) -> list[Judged]:
        return [one for one in self.both if one.verdict.decision != _before(one) and not one.differs]

    @property
    def counts(self) -> str:
        """How many verdicts changed, in one sentence."""
        if not self.both:
            return "A and B have no claim in common."
        changed, untested = len(self.changed), len(self.tested_in_one)
        more = (
            f"; {untested} more {'was' if untested == 1 else 'were'} tested in one of the two only" if untested else ""
        )
        return f"{changed} of {len(self.both)} {plural('verdict', len(self.both))} changed{more}."

    @property
    def notes(self) -> list[str]:
        """What is said of the settings, and which claims one of the two lacks."""
        differing = {study: words for study, words in self.settings.items() if words}
        same = [study for study, words in self.settings.items() if not words]
        notes = [f"The settings of {joined(same)} are the same in both."] if same else []
        notes += [f"Other settings in {study} (A → B): {words}." for study, words in differing.items()]
        if others := [one.id for one in self.both if one.reference and one.reference.verdict.kind != one.verdict.kind]:
            notes.append(f"A and B decided {joined(others)} by different rules.")
        if self.unknown:
            notes.append(f"It is not known whether the settings of {joined(self.unknown)} are the same.")
        runs = zip("AB", self.only, (self.b, self.a), strict=True)
        return notes + [f"Only in {run}: {joined(_shortened(ids, other))}." for run, ids, other in runs if ids]


def _shortened(ids: Sequence[str], other: Verdicts) -> list[str]:
    """Name claims, those of a study that the other run has nothing of by the study."""
    studies = {one.rpartition(".")[0] for one in other.claims}
    return list(dict.fromkeys(one if one.rpartition(".")[0] in studies else one.rpartition(".")[0] for one in ids))


def _before(claim: Judged) -> Decision:
    assert claim.reference is not None
    return claim.reference.decision


def compare(a: str, b: str) -> Comparison:
    """Compare the verdicts of two runs, each an output folder, a `claims.json` file, or the word "reference"."""
    if _identity(a) == _identity(b):
        raise InputError("b", b, "that is A too; expected two different runs")
    first, second = read_verdicts("a", a), read_verdicts("b", b)
    common = [one for one in first.claims if one in second.claims]
    studies = list(dict.fromkeys(one.rpartition(".")[0] for one in common))
    known = [one for one in studies if one in first.provenance and one in second.provenance]
    return Comparison(
        first,
        second,
        tuple(replace(second.claims[one], reference=_as_reference(first.claims[one])) for one in common),
        {one: _differences(one, first.provenance[one], second.provenance[one]) for one in known},
        tuple(one for one in studies if one not in known),
        (_without(first, second), _without(second, first)),
    )


def _identity(value: str) -> Place | str:
    place = place_of("folder", value)
    resolved = place.resolve() if isinstance(place, Path) else place
    return value if value == REFERENCE else resolved.parent if resolved.name == CLAIMS_FILE else resolved


def _without(one: Verdicts, other: Verdicts) -> tuple[str, ...]:
    return tuple(claim for claim in one.claims if claim not in other.claims)


def _as_reference(claim: Judged) -> ReferenceVerdict:
    return ReferenceVerdict(claim.verdict, claim.finding, claim.p_holm, "")


def read_verdicts(field: str, value: str) -> Verdicts:
    """Read the claims of an output folder or of a `claims.json` file, or those of the reference run."""
    if value == REFERENCE:
        return _reference()
    place = place_of(field, value)
    path = place if place.suffix == ".json" else place / CLAIMS_FILE
    if is_output_folder(place):
        check_folder(place, None)
    if not storage.exists(path):
        if path is place:
            raise InputError(field, value, "there is no such file")
        check_output_folder(place)
        remedy = f"it holds no {CLAIMS_FILE}, which `bathymetry report {value}` writes from stored results"
        raise InputError(field, value, remedy)
    stored = _load(path)
    if not isinstance(stored, list) or not stored or not all(map(_is_claim, stored)):
        raise InputError(field, value, f"{path.name} holds no claims; expected the {CLAIMS_FILE} of an output folder")
    for one in stored:
        if wrong := misfit(one):
            remedy = f"the claim {one['id']} is damaged: {wrong}; `bathymetry report FOLDER` writes the file again"
            raise InputError(field, value, remedy)
    claims = {one["id"]: claim_of(one, one["id"].rpartition(".")[0]) for one in stored}
    for one in stored:
        if RENAMED.get(one["verdict"], one["verdict"]) not in get_args(Decision):
            word = f"“{one['verdict']}”, the verdict of {one['id']}"
            raise InputError(field, value, f"{word}, is of another version of Bathymetry; use the one that wrote it")
    beside = path.with_name(PROVENANCE_FILE)
    found = _load(beside) if storage.exists(beside) else {}
    provenance = found if isinstance(found, dict) else {}
    return Verdicts(value, claims, {one: known for one, known in provenance.items() if _has_settings(known)})


def _load(path: Place) -> Any:
    try:
        return page_json.load(path)
    except DamagedError as error:
        remedy = f"it is damaged; `bathymetry report {path.parent}` writes it again from stored results"
        raise InputError("file", path, remedy) from error


def _is_claim(one: Any) -> bool:
    return isinstance(one, dict) and all(isinstance(one.get(name), str) for name in ("id", "kind", "verdict"))


def _has_settings(known: Any) -> bool:
    return isinstance(known, dict) and isinstance(known.get("settings"), dict)


def _reference() -> Verdicts:
    """The stored reference run: every study with its preset full, those of images on MNIST."""
    claims = reference_claims()
    provenance: dict[str, Mapping[str, Any]] = {}
    for study in dict.fromkeys(one.rpartition(".")[0] for one in claims):
        kind = find(study)
        data = {} if kind.reference_data is None else {kind.reference_data: ""}
        provenance[study] = {"settings": kind.preset("full").model_dump(mode="json"), "data": data}
    return Verdicts(REFERENCE, claims, provenance)


def _differences(study: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In what the settings of two runs of a study differ: "members 6 → 10; epochs 30 → 120"."""
    fields = find(study).model_fields if study in SHIPPED else {}
    usual = {name: info.default for name, info in fields.items() if not info.is_required()}  # for runs before a setting
    here, there = (usual | dict(_flat(run["settings"])) for run in (one, other))
    words = [
        f"{field_name(name)} {abridged(shown(here.get(name, '–')))} → {abridged(shown(there.get(name, '–')))}"
        for name in dict.fromkeys((*here, *there))
        if name not in _FREE and here.get(name, "–") != there.get(name, "–")
    ]
    data = [run["data"] if isinstance(run.get("data"), dict) else {} for run in (one, other)]
    if all(data) and _digests(data[0], data[1]) != _digests(data[1], data[0]):
        first, second = (joined(list(map(str, run))) for run in data)
        words.append(f"data {first} → {second}" if first != second else f"other examples of {first}")
    return "; ".join(words)


def _digests(data: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, str]:
    """The digests of data sets by their names, as far as the other run has them too."""
    return {name: str(data[name]).rpartition(", digest ")[2] if others.get(name, True) else "" for name in data}


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by name, those of a sweep's specification as well: "training epochs"."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, before if name == "specification" else f"{before}{name} ")
        else:
            yield f"{before}{name}", _as_tuples(value)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def comparison_page(found: Comparison) -> str:
    """Write the page of a comparison as HTML: the report's, whose rows have a lane for A and one for B."""
    by_study: dict[str, list[Judged]] = {}
    for one in found.both:
        by_study.setdefault(one.id.rpartition(".")[0], []).append(one)
    known = entries()
    sections = [
        StudySection(
            study,
            question=known[study].question if study in known else study,
            answer=f"{sum(one.differs for one in claims)} of {len(claims)} verdicts changed.",
            claims=tuple(claims),
            warnings=tuple(note for note in found.notes if note.startswith(f"Other settings in {study} ")),
        )
        for study, claims in by_study.items()
    ]
    report = Report(
        title="Which verdicts changed",
        meta=f"A: {found.a.name} · B: {found.b.name}",
        opening=(f"A: {found.a.name}. B: {found.b.name}.",),
        studies=tuple(sections),
        provenance={},
        reproduce=shlex.join(["bathymetry", "diff", found.a.name, found.b.name, "--out", "diff.html"]),
        notes=(found.counts, *(note for note in found.notes if not note.startswith("Other settings in "))),
        reference_leads=True,
        names=(("A", found.a.name), ("B", found.b.name)),
    )
    return page(report, library="", template="diff.html.j2")

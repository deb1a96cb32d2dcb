"""From the results in an output folder to everything that a reader takes away: page, claims, provenance, figures.

A folder may come from anybody. Nothing in it leads to code: a study that does not come with Bathymetry is judged and
drawn again only if the caller names it, and is otherwise shown as an earlier page left it.
"""

import json
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from bathymetry.charts.drawing import DrawingError, DrawingPool
from bathymetry.charts.sheet import check_addresses
from bathymetry.claims.judging import Judged
from bathymetry.core.errors import BathymetryError, DamagedError, InputError, StorageError, first_line
from bathymetry.core.showing import plain
from bathymetry.execution.load_study import is_sweep, rebuild_study, understood
from bathymetry.execution.study_run import StudyRun
from bathymetry.report import figure_files, page_json, sections
from bathymetry.report.figure_files import Drawing
from bathymetry.report.page import Report, page
from bathymetry.report.page_json import CLAIMS_FILE, FIGURES, PAGE_FILE, PROVENANCE_FILE
from bathymetry.report.reference import reference_verdicts
from bathymetry.report.sections import StudySection
from bathymetry.stats import holm
from bathymetry.stats.verdict import Decision
from bathymetry.store import storage
from bathymetry.store.folder import check_output_folder, nothing_in, output_folder, writing
from bathymetry.store.results import RESULT, OutdatedError, read_results
from bathymetry.store.storage import Place, label, place_of
from bathymetry.studies import Study, find
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.sweeps.sweep import Sweep

PAGE = "report.html"
_PROVENANCE = ("settings", "data", "chunks", "seconds", "provenance", "sources")

T = TypeVar("T")


@dataclass
class _Shown:
    """A study on its way to the page."""

    section: StudySection
    attributes: Mapping[Any, Any]  # of its results
    run: StudyRun | None = None  # None: it is shown as an earlier page left it
    failures: list[str] = field(default_factory=list)  # what could not be made, and why
    drawings: Sequence[Drawing] = ()  # its figures on their way into files
    undrawn: str = ""  # why they got no files


class StudyCodeError(BathymetryError):
    """A claim or figure of a user's own study that fails, or a figure that can't be drawn; the page is written."""

    def __init__(self, text: str, page: Place, claims: tuple[Judged, ...]) -> None:
        super().__init__(text)
        self.page, self.claims = page, claims


def publish(
    out: str | Place,
    studies: Sequence[str | Path | type[Study]] = (),
    *,
    workers: int | None = None,
    predictions: Mapping[str, Decision] | None = None,
) -> tuple[Place, tuple[Judged, ...]]:
    """Write the page, `claims.json`, `provenance.json` and the figures from all results in a folder.

    `studies` do not come with Bathymetry and their code may be run: the files that define them, the names under which
    packages offer them, or the studies themselves. If their claims or figures fail, the page is written all the same,
    and then StudyCodeError is raised. Only figures that changed are drawn, by so many processes at most as there are
    `workers`, which are by default the cores available. `predictions` are the verdicts that the reader predicts, by
    claim. Returns the page's path and all claims on it.
    """
    out = place_of("folder", out)
    check_output_folder(out)
    named = named_studies(studies)
    with output_folder(out), writing(out), DrawingPool(workers) as pool:
        check_addresses()
        library = pool.charting_library()
        shown, unread = _read(out, named, pool)
        check_named(out, named, [one.section.name for one in shown])
        if not shown:
            raise InputError("folder", out, unread[0].rstrip(".") if unread else nothing_in(out))
        claims = _write(out, shown, unread, library, predictions or {})
    failures = [words for one in shown if one.section.name not in SHIPPED for words in one.failures]
    failures += [one.undrawn for one in shown if one.undrawn]
    if failures:
        raise StudyCodeError(" ".join(failures), out / PAGE, claims)
    return out / PAGE, claims


def named_studies(studies: Sequence[str | Path | type[Study]]) -> dict[str, type[Study]]:
    """Find the studies that the caller names, which runs their code."""
    return {one.name: one for one in (one if isinstance(one, type) else find(one) for one in studies)}


def check_named(out: Place, named: Mapping[str, type[Study]], present: Sequence[str]) -> None:
    """Refuse a study that is named and of which there are no results."""
    for name, study in named.items():
        if name not in present:
            raise InputError("study", study.location, f"{out} holds no results of the study {name} that it defines")


def study_folders(out: Place, named: Iterable[str] = ()) -> list[Place]:
    """Find the folders of studies, in the order of the page."""
    order = [*SHIPPED, *named]
    found = [out / name for name in storage.names(out)]
    folders = [folder for folder in found if any(storage.exists(folder / one) for one in (RESULT, PAGE_FILE))]
    return sorted(
        folders, key=lambda folder: (order.index(folder.name) if folder.name in order else len(order), folder.name)
    )


def _write(
    out: Place,
    shown: Sequence[_Shown],
    unread: Sequence[str],
    library: Future[str],
    predictions: Mapping[str, Decision],
) -> tuple[Judged, ...]:
    runs = [one.run for one in shown if one.run is not None]
    preferred = sections.common_first(runs)
    _compare(shown, preferred, predictions)
    claims = tuple(claim for one in shown for claim in one.section.claims)
    storage.write(out / CLAIMS_FILE, _json([page_json.claim_fields(claim) for claim in claims]))
    sources = {one.section.name: {n: one.attributes[n] for n in _PROVENANCE if n in one.attributes} for one in shown}
    storage.write(out / PROVENANCE_FILE, _json(sources))
    for one in shown:
        if one.run is not None and not one.failures:
            _store(out / one.section.name, one)
    report = Report(
        title=sections.title([one.section for one in shown]),
        meta=sections.meta(runs),
        opening=sections.opening(runs, [one.section.name for one in shown if one.run is None]),
        studies=tuple(one.section for one in shown),
        provenance=sections.provenance(runs),
        reproduce=sections.reproduce_all(runs, preferred),
        notes=tuple(unread),
        folders=sections.folders(runs),
        points=sections.points(runs),
        own_files=sections.own_files(runs),
        reference_leads=bool(runs) and len(runs) == len(shown) and sections.is_demonstration(runs),
    )
    storage.write(out / PAGE, page(report, library.result()).encode(errors="replace"))
    return claims


def _compare(shown: Sequence[_Shown], preferred: Sequence[str], predictions: Mapping[str, Decision]) -> None:
    """Complete the sections with what depends on the whole page: adjusted p, the reference run, and commands."""
    adjusted = iter(holm([claim.verdict.p for one in shown for claim in one.section.claims]))
    for one in shown:
        claims = tuple(
            replace(claim, p_holm=next(adjusted), predicted=predictions.get(claim.id)) for claim in one.section.claims
        )
        if one.run is not None:
            claims = tuple(map(_with_reference, claims))
            words = sections.compared(one.run) if any(claim.reference for claim in claims) else ""
            setup = sections.setup(one.run) if words else ""
            one.section = replace(one.section, compared=words, setup=setup, code=sections.code(one.run, preferred))
        one.section = replace(one.section, claims=claims)


def _with_reference(claim: Judged) -> Judged:
    return replace(claim, reference=reference_verdicts().get(claim.id))


def _store(folder: Place, one: _Shown) -> None:
    """Store a study's figures and what the page says of it, never through a link in a folder from elsewhere."""
    for place in (folder, folder / FIGURES):
        if isinstance(place, Path) and place.is_symlink():
            raise StorageError(f"{place} is a link, and nothing is written through it: put a folder in its place.")
    try:
        stored = figure_files.store(folder, one.drawings)
    except DrawingError as error:
        one.undrawn = f"The figures of {one.section.name} could not be drawn ({str(error).rstrip('.')})."
        one.section = replace(one.section, warnings=(one.undrawn, *one.section.warnings))
        return
    page_json.write_section(folder, one.section, one.attributes["settings"], stored)


def _read(out: Place, named: Mapping[str, type[Study]], pool: DrawingPool) -> tuple[list[_Shown], list[str]]:
    """Read and judge every study and begin to draw it; one that can't be read keeps no other from the page."""
    shown: dict[str, _Shown] = {}
    unread = []
    for folder in study_folders(out, named):
        try:
            one = _one(folder, named)
            if one.section.name in shown:
                raise StorageError(f"it holds results of {one.section.name} as another folder does")
            shown[one.section.name] = one
            if one.run is not None and not one.failures:
                one.drawings = figure_files.begin(out / one.section.name, one.section.figures, pool)
        except BathymetryError as error:
            unread.append(f"{folder.name} is not on this page: {error}")
    return list(shown.values()), unread


def _one(folder: Place, named: Mapping[str, type[Study]]) -> _Shown:
    """Judge and draw one study's results as far as that can be done; take the rest from the page before."""
    before = page_json.read_section(folder)
    try:
        results = read_results(folder / RESULT)
    except StorageError as error:
        if storage.exists(folder / RESULT) and not isinstance(error, DamagedError | OutdatedError):
            raise
        return _rebuilt(folder, named, before, error)
    name = str(results.attrs.get("study") or folder.name)
    study = Sweep if is_sweep(results.attrs) else known_study(name, named)
    if study is None:
        why = (
            f"This study, {name}, does not come with Bathymetry, so it is shown as an earlier page left it: texts, "
            "verdicts and pictures from the folder, which were not recomputed and can't be verified. To judge and draw "
            "it again, name the file that defines it, which runs the code in it: "
            f"bathymetry report {label(folder.parent)} --study FILE.py"
        )
        return _as_stored(before, results.attrs, why)
    try:
        settings, results.attrs = understood(study, results.attrs)
    except BathymetryError as error:
        return _as_stored(before, results.attrs, str(error))
    return _made(StudyRun(settings, results, folder.parent), before)


def known_study(name: str, named: Mapping[str, type[Study]]) -> type[Study] | None:
    """Find a study that the caller names or that comes with Bathymetry: nothing stored leads to code."""
    return named.get(name) or (find(name) if name in SHIPPED else None)


def _rebuilt(folder: Place, named: Mapping[str, type[Study]], before: StudySection, cause: StorageError) -> _Shown:
    """Rebuild results that are damaged, outdated or gone from the stored chunks."""
    study = known_study(folder.name, named)
    if study is not None and before.settings:
        try:
            run = rebuild_study(study, before.settings, folder.parent)
            return _made(run, before, f"{cause} The results were rebuilt from the stored chunks.")
        except BathymetryError as error:
            if not isinstance(cause, OutdatedError):
                cause = StorageError(f"{cause} They could not be rebuilt from stored chunks. {error}")
    if not (before.claims or before.pictures):
        raise cause
    return _as_stored(before, {}, str(cause))


def _made(run: StudyRun, before: StudySection, *notes: str) -> _Shown:
    """Judge and draw results; what can't be made of them, for they may be of another version, is that of before."""
    failures, words = [], list(notes)

    def made(what: str, make: Callable[[], T], instead: T, shows_before: object) -> T:
        try:
            return make()
        except Exception as error:  # noqa: BLE001
            where = f"{type(error).__name__}: {first_line(error)}, in {_place(error, run.found_as)}"
            kept = "; those of the page before are shown" if shows_before else ""
            words.append(f"The {what} could not be made from these results ({where}){kept}.")
            failures.append(f"The {what} of {run.study.name} could not be made ({where}).")
            return instead

    claims = made("verdicts", lambda: tuple(run.claims), before.claims, before.claims)
    sheets = made("figures", lambda: tuple(one.sheet() for one in run.figures), before.figures, before.pictures)
    main = made("main findings", lambda: tuple(run.main_findings), before.main_findings, before.main_findings)
    answer = made("answer", lambda: run.answer, before.answer, before.answer)
    card = made("card", lambda: sections.card_of(run), None, "")
    section = sections.section_of(run)
    section = replace(section, claims=claims, figures=sheets, main_findings=main, warnings=(*words, *section.warnings))
    section = replace(section, answer=answer, card=card)
    if failures and not sheets:
        section = replace(section, pictures=before.pictures)
    return _Shown(section, run.results.attrs, run, failures)


def _place(error: Exception, file: str) -> str:
    """Where an error was raised: the last line of the user's own file, or else the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if file.endswith(".py") and Path(one.filename).resolve() == Path(file).resolve()]
    last = [*frames, *own][-1]
    return f"{Path(last.filename).name}, line {last.lineno}"


def _as_stored(before: StudySection, attributes: Mapping[Any, Any], why: str) -> _Shown:
    question, settings, notes = (attributes.get(one) for one in ("question", "settings", "notes"))
    section = replace(
        before,
        question=before.question or (question if isinstance(question, str) else "") or before.name,
        settings=settings if isinstance(settings, dict) else {},
        warnings=(why, *before.warnings, *(map(str, notes) if isinstance(notes, list) else ())),
    )
    return _Shown(section, attributes)


def _json(content: Any) -> bytes:
    return (json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="replace")

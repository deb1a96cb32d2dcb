"""From the results in an output folder to everything that a reader takes away: page, claims, provenance, figures.

A folder may come from anybody. Nothing in it leads to code: a study that does not come with Bathymetry is judged and
drawn again only if the caller names it, and is otherwise shown as an earlier page left it (`stored.py`).
"""

import json
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from bathymetry.charts import Figure, save
from bathymetry.charts.figure import check_addresses
from bathymetry.claims import Judged
from bathymetry.core.errors import BathymetryError, DamagedError, InputError, StorageError, first_line, path_of
from bathymetry.core.showing import joined
from bathymetry.core.storage import get, put
from bathymetry.execution import RESULT, StudyRun, rebuild_study, understood
from bathymetry.report.content import Report, StudySection
from bathymetry.report.page import page
from bathymetry.report.sections import common_first, opening, reproduce, section, stored_section
from bathymetry.report.stored import (
    CLAIMS_FILE,
    FIGURES,
    PAGE_FILE,
    StoredPage,
    claim_fields,
    plain,
    read_page,
    write_page,
)
from bathymetry.stats import holm
from bathymetry.store import OutdatedError, is_output_folder, output_folder, read_results
from bathymetry.studies import SHIPPED, Study, find, reference_verdicts

PAGE = "report.html"
_NOTES = (
    "A claim that contains an absolute number or speaks of where training ends is tested only on the protocol's data "
    "and schedule. Elsewhere it is not tested, and its row shows the verdict of the reference run: the full preset, on "
    "MNIST where a study takes images.",
)

_COUNT = dict(enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2))

T = TypeVar("T")


@dataclass
class _Shown:
    """A study on its way to the page."""

    name: str
    run: StudyRun | None = None  # None: it is shown as an earlier page left it
    attributes: Mapping[str, Any] = field(default_factory=dict)
    stored: StoredPage = field(default_factory=StoredPage)
    claims: tuple[Judged, ...] = ()
    figures: tuple[Figure, ...] = ()
    seen: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    failed: bool = False  # whether something of it had to be taken from an earlier page
    broken: list[str] = field(default_factory=list)  # what a study of the user's own could not make, and why


class StudyCodeError(BathymetryError):
    """A claim or figure of a study of one's own that fails; the rest of the page is written.

    Args:
        text: What fails, in which line.
        page: The page's path.
        claims: All claims on it.
    """

    def __init__(self, text: str, page: Path, claims: "tuple[Judged, ...]") -> None:
        super().__init__(text)
        self.page, self.claims = page, claims


def publish(out: Path, studies: Sequence[str | Path | type[Study]] = ()) -> tuple[Path, tuple[Judged, ...]]:
    """Write the page, `claims.json`, `provenance.json` and the figures from all results in a folder.

    Args:
        out: The output folder.
        studies: Studies that do not come with Bathymetry and whose code may be run: the Python files that define them,
            the names under which packages offer them, or the studies themselves.

    Returns:
        The page's path, and all claims on it.

    Raises:
        InputError: If the folder is not one of ours or holds no results, or none of a study that is named.
        StudyCodeError: If claims or figures of a named study fail, once the page is written.
    """
    out = path_of("folder", out)
    if not is_output_folder(out):
        raise InputError("folder", out, "it is no output folder of Bathymetry; give one that `bathymetry run` wrote")
    named = {one.name: one for one in (given if isinstance(given, type) else find(given) for given in studies)}
    with output_folder(out):
        shown, unread = _read(out, named)
        for name, study in named.items():
            if name not in {one.name for one in shown}:
                raise InputError("study", study.where, f"{out} holds no results of the study {name} that it defines")
        if not shown:
            remedy = unread[0].rstrip(".") if unread else "it holds no results yet; run a study into it first"
            raise InputError("folder", out, remedy)
        where, rows = _write(out, shown, unread)
    broken = [words for one in shown for words in one.broken]
    if broken:
        raise StudyCodeError(" ".join(broken), where, rows)
    return where, rows


def _write(out: Path, shown: Sequence[_Shown], unread: Sequence[str]) -> tuple[Path, tuple[Judged, ...]]:
    check_addresses()
    rows = _rows(shown)
    runs = [one.run for one in shown if one.run is not None]
    rather = common_first(runs)
    sections = [_section(one, own, out, rather) for one, own in zip(shown, rows, strict=True)]
    report = Report(
        title=_title([one.question for one in sections]),
        opening=opening(runs, [one.name for one in shown if one.run is None]),
        studies=tuple(sections),
        provenance=_shown_provenance(runs),
        reproduce="\n".join(reproduce(run, out, rather) for run in runs),
        notes=(*_NOTES, *unread),
    )
    every = tuple(row for own in rows for row in own)
    put(out / CLAIMS_FILE, _json([claim_fields(row) for row in every]))
    put(out / "provenance.json", _json({one.name: _provenance(one.attributes) for one in shown}))
    for one, own in zip(shown, sections, strict=True):
        if one.run is not None and not one.failed:
            folder = _own_folder(out / one.name)
            files = {figure.name: save(figure, _own_folder(folder / FIGURES)) for figure in one.figures}
            _drop_others(folder / FIGURES, [path for some in files.values() for path in some])
            write_page(folder, own, one.attributes["settings"], files)
    put(out / PAGE, page(report).encode(errors="replace"))
    return out / PAGE, every


def _own_folder(folder: Path) -> Path:
    """Keep from writing and deleting through a link in a folder that came from elsewhere."""
    if folder.is_symlink():
        raise StorageError(f"{folder} is a link, and nothing is written through it: put a folder in its place.")
    return folder


def _drop_others(folder: Path, written: Sequence[Path]) -> None:
    # Figures of an earlier run with other settings would be taken for this one's.
    for path in [*folder.glob("figure-*.svg"), *folder.glob("figure-*.png")]:
        if path not in written:
            path.unlink(missing_ok=True)


def _read(out: Path, named: Mapping[str, type[Study]]) -> tuple[list[_Shown], list[str]]:
    """Read every study's results; one that can't be read is said on the page and keeps no other from it."""
    order = [*SHIPPED, *named]
    folders = [folder for folder in out.iterdir() if any(os.path.lexists(folder / one) for one in (RESULT, PAGE_FILE))]
    folders.sort(key=lambda folder: (order.index(folder.name) if folder.name in order else len(order), folder.name))
    shown: dict[str, _Shown] = {}
    unread = []
    for folder in folders:
        try:
            one = _one(folder, named)
            if one.name in shown:
                raise StorageError(f"it holds results of {one.name} as another folder does")
            shown[one.name] = one
        except BathymetryError as error:
            unread.append(f"{folder.name} is not on this page: {error}")
    return list(shown.values()), unread


def _one(folder: Path, named: Mapping[str, type[Study]]) -> _Shown:
    """Judge and draw one study's results as far as that can be done; take the rest from the page before."""
    stored = read_page(folder)
    try:
        results = read_results(folder / RESULT)
    except (DamagedError, OutdatedError) as error:
        return _again(folder, named, stored, error)
    except StorageError as error:
        if os.path.lexists(folder / RESULT):
            raise
        return _again(folder, named, stored, error)
    name = str(results.attrs.get("study") or folder.name)
    study = _known(name, named)
    if study is None:
        return _as_stored(folder, stored, results.attrs, _not_named(name, folder))
    try:
        settings, results.attrs = understood(study, results.attrs)
    except BathymetryError as error:
        return _as_stored(folder, stored, results.attrs, str(error))
    return _live(StudyRun(settings, results, folder.parent), stored)


def _known(name: str, named: Mapping[str, type[Study]]) -> type[Study] | None:
    return named.get(name) or (find(name) if name in SHIPPED else None)


def _again(folder: Path, named: Mapping[str, type[Study]], stored: StoredPage, cause: StorageError) -> _Shown:
    """Put results that are damaged, outdated or gone together again from the chunks that are stored."""
    study = _known(folder.name, named)
    settings = stored.settings or _settings_in_provenance(folder)
    if study is not None and settings is not None:
        try:
            run = rebuild_study(study, settings, folder.parent)
        except BathymetryError as error:
            cause = StorageError(f"{cause} They could not be put together again from stored chunks. {error}")
        else:
            shown = _live(run, stored)
            shown.notes.insert(0, f"{cause} The results were put together again from the chunks that are stored.")
            return shown
    if not (stored.claims or stored.pictures):
        raise cause
    return _as_stored(folder, stored, {}, str(cause))


def _settings_in_provenance(folder: Path) -> Mapping[str, Any] | None:
    """Find the settings where earlier versions left them; the names of the chunks say whether they are right."""
    try:
        settings = json.loads(get(folder.parent / "provenance.json"))[folder.name]["settings"]
    except (StorageError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def _live(run: StudyRun, stored: StoredPage) -> _Shown:
    attributes = {str(name): value for name, value in run.results.attrs.items()}
    shown = _Shown(run.study.name, run, attributes, stored)

    def made(what: str, make: Callable[[], T], instead: T, have: bool) -> T:
        try:
            return make()
        except Exception as error:  # noqa: BLE001  # results of another version may lack anything
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if run.found_as.endswith(".py") and _same(frame.filename, run.found_as)]
            place = [*frames, *own][-1]
            where = f"{type(error).__name__}: {first_line(error)}, in {Path(place.filename).name}, line {place.lineno}"
            shown.notes.append(f"The {what} could not be made from these results ({where}){_those_before(have)}.")
            shown.failed = True
            if run.study.name not in SHIPPED:
                shown.broken.append(f"The {what} of {run.study.name} could not be made ({where}).")
            return instead

    shown.claims = made("verdicts", lambda: run.claims, stored.claims, bool(stored.claims))
    shown.figures = made("figures", lambda: tuple(run.figures), (), bool(stored.pictures))
    shown.seen = made("summary", lambda: tuple(run.seen), stored.seen, bool(stored.seen))
    return shown


def _same(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()


def _those_before(have: bool) -> str:
    return "; those of the page before are shown" if have else ""


def _as_stored(folder: Path, stored: StoredPage, attributes: Mapping[Any, Any], why: str) -> _Shown:
    notes = [why, *stored.notes]
    given = {str(name): value for name, value in attributes.items()}
    return _Shown(folder.name, None, given, stored, stored.claims, (), stored.seen, notes, failed=True)


def _not_named(name: str, folder: Path) -> str:
    return (
        f"This study, {name}, does not come with Bathymetry, so it is shown as an earlier page left it: texts, "
        "verdicts and pictures from the folder, which were not made again and can't be vouched for. To judge and draw "
        "it again, name the file that defines it, which runs the code in it: "
        f"bathymetry report {folder.parent.name} --study FILE.py"
    )


def _section(one: _Shown, rows: Sequence[Judged], out: Path, rather: Sequence[str]) -> StudySection:
    if one.run is None:
        return stored_section(one.name, one.attributes, one.stored, rows, one.notes)
    pictures = one.stored.pictures if one.failed and not one.figures else ()
    return section(
        one.run, rows, out, figures=one.figures, seen=one.seen, pictures=pictures, notes=one.notes, rather=rather
    )


def _rows(shown: Sequence[_Shown]) -> list[tuple[Judged, ...]]:
    judged = [claim for one in shown for claim in one.claims]
    adjusted = iter(holm([claim.verdict.p for claim in judged]))
    return [tuple(_row(claim, next(adjusted), own=one.run is not None) for claim in one.claims) for one in shown]


def _row(claim: Judged, p_holm: float | None, *, own: bool) -> Judged:
    reference = reference_verdicts().get(claim.id) if own else None
    same = reference is not None and reference.decision == claim.verdict.decision
    return replace(claim, p_holm=p_holm, reference=None if same else reference)


def _title(questions: Sequence[str]) -> str:
    return (
        questions[0]
        if len(questions) == 1
        else f"What {_COUNT.get(len(questions), len(questions))} studies of neural networks found"
    )


def _provenance(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: attributes[name] for name in ("settings", "data", "chunks", "seconds", "provenance") if name in attributes
    }


def _shown_provenance(runs: Sequence[StudyRun]) -> dict[str, str]:
    machine: Mapping[str, Any] = runs[-1].results.attrs["provenance"] if runs else {}
    versions = machine.get("versions")
    shown = {name: str(version) for name, version in versions.items()} if isinstance(versions, dict) else {}
    named = ("python", "system", "processor", "threads", "device")
    shown |= {name.capitalize(): str(machine[name]) for name in named if name in machine}
    return shown | _data_of(runs)


def _data_of(runs: Sequence[StudyRun]) -> dict[str, str]:
    """Say where data came from, study by study where studies took other parts of them."""
    named: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for name, origin in run.results.attrs["data"].items():
            named.setdefault((name, origin), []).append(run.study.name)
    names = [name for name, _ in named]
    return {
        f"Data: {name}" + (f", of {joined(studies)}" if names.count(name) > 1 else ""): origin
        for (name, origin), studies in named.items()
    }


def _json(content: Any) -> bytes:
    return (json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="replace")

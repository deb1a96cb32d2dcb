"""Whether an output folder is whole: every digest, and whether the stored verdicts follow from the stored results.

A digest shows damage, not forgery: who can change a file can change its digest as well.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import xarray as xr

from bathymetry.claims.judging import Judged
from bathymetry.core.errors import BathymetryError, DamagedError, InputError, StorageError, first_line
from bathymetry.core.identity import digest
from bathymetry.core.showing import joined, plain, plural
from bathymetry.execution.load_study import is_sweep, understood
from bathymetry.execution.study_run import StudyRun
from bathymetry.report import page_json
from bathymetry.report.page_json import CLAIMS_FILE, FIGURES, PAGE_FILE, claim_fields, claim_of, misfit
from bathymetry.report.publishing import check_named, known_study, named_studies, study_folders
from bathymetry.stats import holm
from bathymetry.store import chunks, storage
from bathymetry.store.chunks import CHUNKS
from bathymetry.store.folder import check_output_folder, nothing_in
from bathymetry.store.results import RESULT, read_results
from bathymetry.store.storage import Place, place_of
from bathymetry.studies import Study
from bathymetry.sweeps.sweep import Sweep

_RESULTS = re.compile(r"result.*\.nc")
_MOST_MEMBERS = 10**6
_PRECISION = 1e-6  # relative: another machine may round differently
_TRAINED_AGAIN = "run the study again, which trains only what is not whole"

Claims = Sequence[Mapping[str, Any]]  # as they are stored


@dataclass
class Checked:
    """One study of a folder, or what belongs to none."""

    name: str
    counts: dict[str, int] = field(default_factory=dict)  # what was found whole: "figure" → 6
    problems: list[str] = field(default_factory=list)  # each a sentence with its remedy
    notes: list[str] = field(default_factory=list)  # on what is no problem
    unchecked: BathymetryError | None = None  # why something was not read, or the verdicts not recomputed

    def check(self, what: str, read: Callable[[], Any]) -> Any:
        """Count what can be read, and write down what can't."""
        try:
            found = read()
        except DamagedError as error:
            self.problems.append(str(error))
            return None
        except StorageError as error:  # of another version
            self.unchecked = self.unchecked or error
            return None
        self.counts[what] = self.counts.get(what, 0) + 1
        return found

    @property
    def summary(self) -> str:
        """What was found, in a few words."""
        counts = {"problem": len(self.problems)} if self.problems else {}
        words = [f"{count} {plural(what, count)}" for what, count in (counts | self.counts).items()]
        if self.unchecked is not None:
            words.append("not all checked" if "verdict" in self.counts else "verdicts not recomputed")
        return f"{'' if self.problems else 'whole: '}{', '.join(words)}"


def verify(out: str | Place, studies: Sequence[str | Path | type[Study]] = ()) -> list[Checked]:
    """Check an output folder; `studies` do not come with Bathymetry and their code may be run, as for `publish`."""
    out = place_of("folder", out)
    check_output_folder(out)
    folders = study_folders(out)
    if not folders:
        raise InputError("folder", out, nothing_in(out))
    named = named_studies(studies)
    check_named(out, named, [one.name for one in folders])
    if not storage.exists(out / CLAIMS_FILE):
        remedy = f"it holds no {CLAIMS_FILE}, which `bathymetry report {out}` writes from stored results"
        raise InputError("folder", out, remedy)
    claims, whole = _claims(out, [one.name for one in folders])
    used: set[str] = set()
    read = cache(partial(_read_chunks, out))
    found = []
    for folder in folders:
        one = Checked(folder.name)
        results = _results(one, folder)
        said = _page(one, folder)
        for config, ranges in _made_from(results).items():
            used.add(config)
            _chunks(one, out, read(config), config, ranges)
        if results is not None:
            _verdicts(one, out, results, named, {CLAIMS_FILE: claims} | ({PAGE_FILE: said} if said is not None else {}))
        found.append(one)
    others = Checked("other chunks")
    for config in storage.names(out / CHUNKS):
        if config not in used:
            _chunks(others, out, read(config), config, [])
    return [*found, *([others] if others.counts or others.problems else []), whole]


def _results(one: Checked, folder: Place) -> xr.DataTree | None:
    """Read a study's results, and those with other settings next to them."""
    found = {
        name: one.check("result", partial(read_results, folder / name, earlier=name != RESULT))
        for name in storage.names(folder)
        if _RESULTS.fullmatch(name)
    }
    if RESULT not in found:
        remedy = f"`bathymetry report {folder.parent}` puts it together again from stored chunks"
        one.problems.append(f"{folder / RESULT} is missing: {remedy}.")
    return found.get(RESULT)


def _made_from(results: xr.DataTree | None) -> dict[str, list[range]]:
    """The members of each config that results were made from, as far as they say so."""
    stored = results.attrs.get("chunks") if results is not None else None
    found: dict[str, list[range]] = {}
    with suppress(TypeError, ValueError):
        for config, pairs in stored.items() if isinstance(stored, dict) else ():
            ranges = [range(start, stop) for start, stop in pairs]
            found[config] = [one for one in ranges if 0 <= one.start < one.stop <= _MOST_MEMBERS]
    return found


def _page(one: Checked, folder: Place) -> Claims | None:
    """Check what an earlier page said and its figures; return its claims."""
    again = f"`bathymetry report {folder.parent}` makes it again"
    if not storage.exists(folder / PAGE_FILE):
        one.problems.append(f"{folder / PAGE_FILE} is missing: {again}.")
        return None
    content = one.check("page", lambda: page_json.checked(folder / PAGE_FILE))
    if content is None:
        return None
    for figure in page_json.stored_figures(folder).values():
        for name, expected in figure["files"].items() if isinstance(figure.get("files"), dict) else ():
            one.check("figure file", partial(_figure, folder / FIGURES / name, expected, again))
    claims = content.get("claims")
    return [one for one in claims if isinstance(one, dict)] if isinstance(claims, list) else []


def _figure(path: Place, expected: str, again: str) -> None:
    if not storage.exists(path):
        raise DamagedError(f"{path} is missing: {again}.")
    if digest(storage.read(path)) != expected:
        raise DamagedError(f"{path} is damaged: it does not have the digest that it was stored with; {again}.")


def _read_chunks(out: Place, config: str) -> list[tuple[range, StorageError | None]]:
    """Read all chunks of a config, with what is wrong with each."""
    found: list[tuple[range, StorageError | None]] = []
    for members in chunks.stored(out, config):
        try:
            chunks.read_chunk(chunks.chunk_path(out, config, members)).select(members)
            found.append((members, None))
        except StorageError as error:
            found.append((members, error))
    return found


def _chunks(
    one: Checked, out: Place, read: Sequence[tuple[range, StorageError | None]], config: str, ranges: Sequence[range]
) -> None:
    """Count a config's whole chunks; say which are damaged and which members have none, unless no chunks were kept."""
    for _, error in read:
        if isinstance(error, DamagedError):
            one.problems.append(f"{str(error).rstrip('.')}; {_TRAINED_AGAIN}.")
        elif error is not None:  # of another version
            one.unchecked = one.unchecked or error
        else:
            one.counts["chunk"] = one.counts.get("chunk", 0) + 1
    if read:
        have = [members for members, _ in read]
        for gap in (gap for wanted in ranges for gap in chunks.missing(have, wanted)):
            members = f"members {gap.start} to {gap.stop - 1}"
            one.problems.append(f"{out / CHUNKS / config} has no {members}: {_TRAINED_AGAIN}.")


def _claims(out: Place, studies: Sequence[str]) -> tuple[Claims, Checked]:
    """Read `claims.json`, and check what concerns all of it: that it is whole, and Holm's correction."""
    whole = Checked(CLAIMS_FILE)
    again = f"`bathymetry report {out}` writes it again"
    claims: list[Any] = whole.check("file", lambda: page_json.load(out / CLAIMS_FILE)) or []
    if whole.problems or not isinstance(claims, list) or not all(isinstance(one, dict) for one in claims):
        whole.problems[:] = [f"{out / CLAIMS_FILE} is damaged: {again}."]
        return [], whole
    if wrong := [f"the claim {one.get('id')} has {words}" for one in claims if (words := misfit(one))]:
        whole.problems[:] = [f"{out / CLAIMS_FILE} is damaged: {wrong[0]}; {again}."]
        return [], whole
    others = [str(one.get("id")) for one in claims if str(one.get("id")).rpartition(".")[0] not in studies]
    if others:
        whole.problems.append(f"{CLAIMS_FILE} has {', '.join(others)}, of which there are no results: {again}.")
    read = [claim_of(one, "") for one in claims]
    if not all(map(_same, (one.p_holm for one in read), holm([one.verdict.p for one in read]))):
        whole.problems.append(f"The adjusted p in {CLAIMS_FILE} do not follow from its p: {again}.")
    return claims, whole


def _verdicts(
    one: Checked, out: Place, results: xr.DataTree, named: Mapping[str, type[Study]], stored: Mapping[str, Claims]
) -> None:
    """Recompute the verdicts, and compare them with those that are stored in each file."""
    name = str(results.attrs.get("study") or one.name)
    try:
        fresh = _recomputed(name, out, results, named)
    except BathymetryError as error:
        one.unchecked = error
        return
    again = f"`bathymetry report {out}` writes it again"
    files, reworded = dict[str, None](), dict[str, None]()
    for file, claims in stored.items():
        by_id = {str(fields.get("id")): fields for fields in claims}
        own = {claim: by_id[claim] for claim in by_id if claim.startswith(f"{name}.")}
        for claim in dict.fromkeys((*fresh, *own)):
            if words := _wrong(own.get(claim), fresh.get(claim)):
                one.problems.append(f"{file} does not follow from the results: {words}; {again}.")
            elif _words(own[claim]) != _words(fresh[claim]):
                files[file] = reworded[claim] = None
    if reworded:
        where, which = joined(list(files)), joined(list(reworded))
        one.notes.append(f"This version has other words than {where} for {which}; {again}.")
    one.counts["verdict"] = len(fresh)


def _recomputed(name: str, out: Place, results: xr.DataTree, named: Mapping[str, type[Study]]) -> dict[str, Judged]:
    """Judge stored results again, as far as their study is known."""
    study = Sweep if is_sweep(results.attrs) else known_study(name, named)
    if study is None:
        remedy = "it does not come with Bathymetry and stored results run no code; name its file: --study FILE.py"
        raise InputError("study", name, remedy)
    settings, results.attrs = understood(study, results.attrs)
    try:
        return {claim.id: claim for claim in StudyRun(settings, results, out).claims}
    except BathymetryError:
        raise
    except Exception as error:  # results of another version, or a user's own code
        cause = f"{type(error).__name__}: {first_line(error)}"
        raise BathymetryError(f"The verdicts of {name} can't be recomputed ({cause}).") from error


def _wrong(stored: Mapping[str, Any] | None, fresh: Judged | None) -> str:
    """In what a stored claim is not the one that follows from the results; empty where it is."""
    if stored is None or fresh is None:
        return f"{fresh.id} is missing" if fresh is not None else f"{(stored or {})['id']} is no claim of the study"
    study = fresh.id.rpartition(".")[0]
    here, there = claim_of(stored, study), claim_of(plain(claim_fields(fresh)), study)
    if here.verdict.decision != there.verdict.decision:
        return f"{fresh.id} is stored as {here.verdict.decision}, and they say {there.verdict.decision}"
    numbers = [
        [one.verdict.members, one.verdict.p, *(n for part in one.verdict.parts for n in _numbers(part))]
        for one in (here, there)
    ]
    if len(numbers[0]) != len(numbers[1]) or not all(map(_same, *numbers)):
        return f"{fresh.id} is stored with other numbers"
    return ""


def _words(claim: Judged | Mapping[str, Any]) -> tuple[str, ...]:
    """What a claim says besides its numbers, which another version may say differently."""
    one = claim if isinstance(claim, Judged) else claim_of(claim, "")
    return (one.text, one.rule, one.finding, one.verdict.reason, *(part.summary for part in one.verdict.parts))


def _numbers(part: Any) -> tuple[float | None, ...]:
    return (part.estimate, *part.interval, part.p, part.members)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None or math.isnan(one) or math.isnan(other):
        return (one is None or math.isnan(one)) and (other is None or math.isnan(other))
    return math.isclose(one, other, rel_tol=_PRECISION, abs_tol=1e-12)

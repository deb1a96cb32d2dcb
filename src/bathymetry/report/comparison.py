"""The page of a comparison of runs, and the files next to it: the report's page, with a table of pairs."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bathymetry.charts.drawing import DrawingError, DrawingPool
from bathymetry.charts.sheet import Sheet
from bathymetry.core.errors import StorageError
from bathymetry.core.identity import digest
from bathymetry.core.showing import joined, label, plain, plural
from bathymetry.report import figure_files, page_json
from bathymetry.report.page import Report, page
from bathymetry.report.page_json import CLAIMS_FILE, FIGURES, PROVENANCE_FILE, claim_fields
from bathymetry.report.publishing import PAGE
from bathymetry.report.sections import StudySection
from bathymetry.runs.answer import LOOKS, answer, correction, counted, remarks
from bathymetry.runs.at import read_at
from bathymetry.runs.comparing import Comparison
from bathymetry.runs.figures import count_diverged, figures_of
from bathymetry.runs.pairs import Pair
from bathymetry.runs.wording import settled_by, signed, verdict_words, with_ends
from bathymetry.stats.verdict import Decision
from bathymetry.stats.wording import percent, percent_range
from bathymetry.store import storage
from bathymetry.store.folder import output_folder, writing
from bathymetry.store.storage import Place, place_of

COMPARISON_FILE = "comparison.json"
_NAME = "compare"  # of the claims: compare.adam-sgd
_NAMED = 200  # runs that the page names, and files
_FILES = 20  # whose digests the page shows


@dataclass(frozen=True)
class PairRow:
    """A pair in the page's table."""

    names: str
    at: tuple[str, ...]
    members: str
    difference: str
    ratio: str
    superiority: str
    verdict: str
    glyph: Decision
    p: float | None
    p_holm: float | None
    needed: str


@dataclass(frozen=True, kw_only=True)
class ComparisonReport(Report):
    """The page of a comparison."""

    correction: str  # over how many tests p is adjusted
    axes: tuple[str, ...]  # besides the setting that is compared
    ratio: str  # the head of the column of ratios; empty where there is none
    pairs: tuple[PairRow, ...]
    left_out: tuple[str, ...]
    refresh: int  # seconds after which a browser loads it again, while runs go on; 0: never


def publish(
    found: Comparison, out: str | Place, command: Sequence[str], call: Mapping[str, Any], refresh: float = 0
) -> Place:
    """Write the page, `claims.json`, `comparison.json`, `provenance.json` and the figures into a folder.

    `command` are the words of the command line, and `call` the arguments of `bm.compare` that are no defaults; both
    reproduce the comparison. With `refresh`, a browser loads the page again after so many seconds. Returns its path.
    """
    out = place_of("out", out)
    with output_folder(out, "comparison"), writing(out), DrawingPool() as pool:
        library = pool.charting_library()
        sheets = tuple(one.sheet() for one in figures_of(found))
        drawings = figure_files.begin(out, sheets, pool)
        report = comparison_report(found, sheets, command, call, math.ceil(refresh))
        if isinstance(out, Path) and (out / FIGURES).is_symlink():
            raise StorageError(f"{out / FIGURES} is a link, and nothing is written through it: put a folder there.")
        storage.write(out / CLAIMS_FILE, _json([claim_fields(one) for one in found.claims]))
        storage.write(out / COMPARISON_FILE, _json(found.to_dict() | {"runs": _runs(found), "files": _files(found)}))
        settings = {"at": found.results.attrs["at"], "paired": None} | dict(call)
        settings = {name: value for name, value in settings.items() if name not in ("runs", "cache")}
        provenance = {"settings": settings, "data": {found.source: f"runs, digest {_digest(found)}"}}
        storage.write(out / PROVENANCE_FILE, _json({_NAME: provenance | {"versions": _versions()}}))
        try:
            page_json.write_section(out, report.studies[0], settings, figure_files.store(out, drawings))
        except DrawingError as error:
            note = f"The figures could not be drawn into files ({str(error).rstrip('.')})."
            report = replace(report, notes=(*report.notes, note))
        text = page(report, library.result(), template="comparison.html.j2")
        storage.write(out / PAGE, text.encode(errors="replace"))
    return out / PAGE


def comparison_report(
    found: Comparison, sheets: tuple[Sheet, ...], command: Sequence[str], call: Mapping[str, Any], refresh: int
) -> ComparisonReport:
    """Put into words all that the page says."""
    values = [] if found.compare is None else [label(one) for one in found.results[found.compare].values.tolist()]
    diverged = {name: count for name, count in count_diverged(found).items() if count} if found.metric else {}
    of, total = joined([f"{count:,} of {name}" for name, count in diverged.items()]), sum(diverged.values())
    gone = [f"{total:,} {plural('run', total)} diverged ({of}) and {'counts' if total == 1 else 'count'} as worst"]
    section = StudySection(
        "comparison",
        question=_question(found, values),
        answer=answer(found),
        main_findings=(*([counted("stated ", found.stated)] if found.pairs and found.stated else []), *remarks(found)),
        figures=sheets,
        claims=tuple(found.claims),
        code=python_of(call),
    )
    members = found.results.attrs["members"]
    axes = tuple(found.pairs[0].at) if found.pairs else ()
    return ComparisonReport(
        title=section.question,
        meta=_meta(found, values),
        opening=(f"Read from {found.results.attrs.get('path', '')} ({found.source}) on {_today()}.",),
        studies=(section,),
        provenance=_provenance(found),
        notes=(f"Runs are read again every {refresh:,} s, and so is this page. {LOOKS}",) if refresh else (),
        refresh=refresh,
        reproduce=shlex.join(["bathymetry", "compare", *command]),
        names=(("", ""), ("Claims", "")),
        noun="run",
        each=members,
        most_narrow=4,
        read_at=_compared_at(found),
        opens_all=len(sheets) > 1 and all(len(one.panels) == 1 for one in sheets),
        correction=correction(found),
        axes=axes,
        ratio={"linear": "", "log": "Ratio", "logit": "Odds ratio"}[found.scale],
        pairs=tuple(_row(one) for one in found.pairs),
        left_out=(*(gone if diverged else ()), *found.left_out),
    )


def _compared_at(found: Comparison) -> float:
    """The step that is compared, or where lines end."""
    point = read_at(found.results.attrs["at"])
    return point.number if point.kind == "step" else math.inf


def _question(found: Comparison, values: Sequence[str]) -> str:
    if found.metric is None:
        return f"What holds of {joined(found.metrics)}?"
    if len(values) == 2:
        return f"Is {values[0]} better than {values[1]} on {found.metric}?"
    return f"Which {found.compare} is best on {found.metric}?"


def _row(one: Pair) -> PairRow:
    ratio = ""
    if one.ratio is not None and one.ratio_interval is not None:
        value, ends = with_ends(one.ratio, one.ratio_interval, 1.0, is_decided=one.decision != "undecided")
        ratio = f"{value} ({_short(ends)})"
    members = f"{one.members[0]} pairs" if one.paired else " and ".join(map(str, dict.fromkeys(one.members)))
    return PairRow(
        f"{one.first}, {one.second}",
        tuple(one.at.values()),
        members if one.paired or one.members[0] != one.members[1] else f"{one.members[0]} each",
        signed(one).replace("95 % interval ", ""),
        ratio,
        f"{percent(one.superiority)} % ({percent_range(*one.superiority_interval)})",
        verdict_words(one, short=True),
        "undecided" if one.decision == "undecided" else "supported",
        one.p,
        one.p_holm,
        settled_by(one),
    )


def _short(ends: str) -> str:
    return ends.removeprefix("95 % interval ")


def _meta(found: Comparison, values: Sequence[str]) -> str:
    status = found.results["status"].values
    count = int((status != "missing").sum())
    members = found.results.sizes["member"]
    each = found.results.attrs["members"]
    return " · ".join(
        [
            f"{found.title}",
            f"{count:,} {plural('run', count)} of {found.source}",
            *([f"{len(values)} values of {found.compare}"] if values else []),
            *([f"{members:,} {each}s"] if each != "run" else []),
            _today(),
        ]
    )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def python_of(call: Mapping[str, Any]) -> str:
    """Write the Python that reproduces a comparison."""
    first = ", ".join(_literal(call[name]) for name in ("runs", "metric") if name in call)
    options = "".join(
        f"    {name}={_literal(value)},\n" for name, value in call.items() if name not in ("runs", "metric")
    )
    return (
        f"import bathymetry as bm\n\nfound = bm.compare(\n    {first},\n{options})\n"
        "found.claims    # the verdicts\nfound.pairs    # differences, intervals, p\nfound.figures   # the charts"
    )


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_literal(name)}: {_literal(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)


def _runs(found: Comparison) -> list[dict[str, Any]]:
    """Every run with its settings, status and values."""
    results, metrics = found.results, found.metrics
    dims = [str(one) for one in results["status"].dims]
    columns = ["run", "status", *metrics, *(f"{one}_last_step" for one in metrics)]
    frame = results[columns].to_dataframe(dim_order=dims)
    frame = frame[frame["status"] != "missing"].reset_index()
    return [
        {"run": one["run"], "status": one["status"]}
        | {results.attrs["members"] if name == "member" else name: one[name] for name in dims if name != "run"}
        | {"values": {name: one[name] for name in metrics}}
        | {"last_steps": {name: one[f"{name}_last_step"] for name in metrics}}
        for one in frame.to_dict("records")
    ]


def _files(found: Comparison) -> dict[str, str]:
    listed = found.results.attrs.get("digests", [])
    listed = [listed] if isinstance(listed, str) else listed
    return dict(one.rpartition(" ")[::2] for one in listed)


def _digest(found: Comparison) -> str:
    return digest(json.dumps(sorted(_files(found).items())).encode())


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("bathymetry", "numpy", "scipy", "xarray")}


def _provenance(found: Comparison) -> dict[str, str]:
    """Name the runs and the files with their digests, as far as a page has room for."""
    names = [one["run"] for one in _runs(found)]
    files = _files(found)
    listed = dict(_versions()) | {"Tool": found.source, "Folder or file": str(found.results.attrs.get("path", ""))}
    more = f" and {len(names) - _NAMED:,} more, which {COMPARISON_FILE} lists" if len(names) > _NAMED else ""
    listed[f"Runs ({len(names):,})"] = ", ".join(names[:_NAMED]) + more
    if len(files) <= _FILES:
        return listed | {f"SHA-256 of {name}": value for name, value in files.items()}
    words = f"BLAKE2b of the list {_digest(found)}; {COMPARISON_FILE} has the SHA-256 of each"
    return listed | {f"{len(files):,} files": words}


def _json(content: Any) -> bytes:
    return (json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="replace")

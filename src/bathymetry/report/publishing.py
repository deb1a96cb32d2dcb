"""From the results in an output folder to everything that a reader takes away: page, claims, provenance, figures."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bathymetry.charts import save
from bathymetry.core.errors import BathymetryError, InputError
from bathymetry.core.storage import put
from bathymetry.execution import StudyRun, load_study
from bathymetry.report.content import ClaimRow, Kept, Report
from bathymetry.report.page import page
from bathymetry.report.sections import opening, reproduce, section
from bathymetry.statistics import Decision, Part, holm
from bathymetry.store import check_folder, is_output_folder
from bathymetry.studies import joined, shipped
from bathymetry.studies.kept import kept_verdicts

PAGE = "report.html"
_NOTES = ("A claim with an absolute number in it is judged only on the data and the schedule that it is about.",)

_COUNT = dict(enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2))


def publish(out: Path) -> tuple[Path, tuple[ClaimRow, ...]]:
    """Write the page, `claims.json`, `provenance.json` and the figures from all results in a folder.

    Args:
        out: The output folder.

    Returns:
        The page's path, and all claims on it.

    Raises:
        InputError: If the folder is not one of ours or holds no results.
    """
    if not is_output_folder(out):
        raise InputError("folder", out, "it is no output folder of Bathymetry; give one that `bathymetry run` wrote")
    check_folder(out)
    runs, unread = _runs(out)
    if not runs:
        remedy = unread[0].rstrip(".") if unread else "it holds no results yet; run a study into it first"
        raise InputError("folder", out, remedy)
    rows = _rows(runs)
    of_study = {run.study.name: [row for row in rows if row.id.startswith(f"{run.study.name}.")] for run in runs}
    report = Report(
        title=_title(runs),
        opening=opening(runs),
        studies=tuple(section(run, of_study[run.study.name], out) for run in runs),
        provenance=_shown_provenance(runs),
        reproduce="\n".join(reproduce(run, out) for run in runs),
        notes=(*_NOTES, *unread),
    )
    put(out / "claims.json", _json([_claim(row) for row in rows]))
    put(out / "provenance.json", _json({run.study.name: _provenance(run) for run in runs}))
    for run in runs:
        written = [path for figure in run.figures for path in save(figure, out / run.study.name / "figures")]
        _drop_others(out / run.study.name / "figures", written)
    put(out / PAGE, page(report).encode())
    return out / PAGE, rows


def _drop_others(folder: Path, written: Sequence[Path]) -> None:
    # Figures of an earlier run with other settings would be taken for this one's.
    for path in [*folder.glob("figure-*.svg"), *folder.glob("figure-*.png")]:
        if path not in written:
            path.unlink()


def _runs(out: Path) -> tuple[list[StudyRun], list[str]]:
    """Read every study's results; one that can't be read is said on the page and keeps no other from it."""
    order = [study.name for study in shipped()]
    folders = sorted(
        (folder for folder in out.iterdir() if (folder / "result.nc").is_file()),
        key=lambda folder: (order.index(folder.name) if folder.name in order else len(order), folder.name),
    )
    runs, unread = [], []
    for folder in folders:
        try:
            runs.append(load_study(folder))
        except BathymetryError as error:
            unread.append(f"{folder.name} is not on this page: {error}")
    return runs, unread


def _rows(runs: Sequence[StudyRun]) -> tuple[ClaimRow, ...]:
    judged = [claim for run in runs for claim in run.claims]
    adjusted = holm([claim.verdict.p for claim in judged])
    among = sum(claim.verdict.p is not None for claim in judged)
    kept = kept_verdicts()
    rows = []
    for claim, p_holm in zip(judged, adjusted, strict=True):
        beside = kept.get(claim.id)
        if beside is not None and beside.verdict == claim.verdict.decision:
            beside = None
        rows.append(
            ClaimRow(
                id=claim.id,
                text=claim.text,
                rule=claim.rule,
                verdict=claim.verdict,
                finding=claim.finding,
                p_holm=p_holm,
                kept=None if beside is None else Kept(beside.verdict, beside.finding, _beside(claim.verdict.decision)),
                among=among,
            )
        )
    return tuple(rows)


def _beside(decision: Decision) -> str:
    return f"The kept full run {'can judge it' if decision == 'not judged' else 'says otherwise'}"


def _title(runs: Sequence[StudyRun]) -> str:
    return (
        runs[0].study.question
        if len(runs) == 1
        else f"What {_COUNT.get(len(runs), len(runs))} studies of neural networks found"
    )


def _claim(row: ClaimRow) -> dict[str, Any]:
    verdict = row.verdict
    return {
        "id": row.id,
        "text": row.text,
        "kind": verdict.kind,
        "verdict": verdict.decision,
        "finding": row.finding,
        "reason": verdict.reason,
        "members": verdict.members,
        "p": verdict.p,
        "p_holm": row.p_holm,
        "parts": [_part(part) for part in verdict.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "coordinates": dict(part.coordinates),
        "verdict": part.decision,
        "estimate": part.estimate,
        "interval": list(part.interval),
        "p": part.p,
        "members": part.members,
        "summary": part.summary,
    }


def _provenance(run: StudyRun) -> dict[str, Any]:
    attributes = run.results.attrs
    return {
        name: attributes[name] for name in ("settings", "data", "units", "seconds", "provenance") if name in attributes
    }


def _shown_provenance(runs: Sequence[StudyRun]) -> dict[str, str]:
    machine = runs[-1].results.attrs["provenance"]
    shown = {name: str(version) for name, version in machine["versions"].items()}
    shown |= {name.capitalize(): str(machine[name]) for name in ("python", "system", "processor", "threads", "device")}
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
    return (json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(content: Any) -> Any:
    """Write what has no number as null, which is all that JSON has for it."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    return [_plain(value) for value in content] if isinstance(content, list) else content

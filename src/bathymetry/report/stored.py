"""What a page said of a study, stored beside its results, for pages that are made without the study's code.

A study of one's own is code, and code is run only when its user names it. Without it a page shows what an earlier page
said: texts, verdicts, and figures as images. Whoever made the folder can have written anything into them, so all of it
is read as plain text, numbers and pixels. `page.json` has a digest over its content, which covers the figures as well.
"""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from bathymetry.claims import Judged
from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.core.identity import canonical, digest
from bathymetry.core.storage import get, names, put
from bathymetry.report.content import Picture, StudySection
from bathymetry.stats.verdict import RENAMED, Decision, Direction, Part, Verdict

PAGE_FILE = "page.json"
CLAIMS_FILE = "claims.json"
FIGURES = "figures"
_FORMAT = 1
_NAME = re.compile(r"\w[\w.-]{0,99}")
_MOST_BYTES = 20_000_000  # of a figure's file, and of a page's texts
_MOST_PIXELS = 100_000_000
_NEVER_IN_AN_SVG = re.compile(rb"<!ENTITY|<(\w+:)?(script|use|foreignObject|image|style)\b", re.IGNORECASE)
_UNTESTED: Decision = "not tested"
_WITHOUT_DIGEST = "An earlier version stored this study's verdicts and figures without a digest; damage would not show."


@dataclass(frozen=True)
class StoredPage:
    """What an earlier page said of a study."""

    question: str = ""
    part: str = ""
    about: str = ""
    reading: str = ""
    seen: tuple[str, ...] = ()
    claims: tuple[Judged, ...] = ()
    pictures: tuple[Picture, ...] = ()
    settings: Mapping[str, Any] | None = None  # for putting results together again
    notes: tuple[str, ...] = ()


def write_page(
    folder: Path, section: StudySection, settings: Mapping[str, Any], files: Mapping[str, Sequence[Path]]
) -> None:
    """Store what a page says of a study.

    Args:
        folder: The study's folder, `OUT/STUDY`.
        section: The study's section.
        settings: The settings of its results.
        files: The files of each figure, by the figure's name.
    """
    content = plain({
        "format": _FORMAT,
        **{name: getattr(section, name) for name in ("name", "question", "part", "about", "reading")},
        "seen": list(section.seen),
        "settings": dict(settings),
        "claims": [claim_fields(row) for row in section.claims],
        "figures": [
            {
                **{name: getattr(figure, name) for name in ("name", "title", "number", "finding", "reading")},
                "files": {path.name: digest(get(path)) for path in files.get(figure.name, ())},
            }
            for figure in section.figures
        ],
    })  # fmt: skip
    stored = {"digest": digest(canonical(content)), "content": content}
    put(folder / PAGE_FILE, json.dumps(stored, indent=1).encode())


def read_page(folder: Path) -> StoredPage:
    """Read what an earlier page said of a study, as far as this version understands it.

    Args:
        folder: The study's folder, `OUT/STUDY`.

    Returns:
        Texts, verdicts and pictures; empty where nothing is stored. What was left out stands among the notes.
    """
    try:
        if PAGE_FILE not in names(folder):
            return _of_an_earlier_version(folder)
        content = _whole(folder / PAGE_FILE)
    except StorageError as error:
        return StoredPage(notes=(str(error),))
    notes: list[str] = []
    pictures = [_picture(folder, _mapping(one), notes) for one in _list(content.get("figures"))]
    return StoredPage(
        **{name: _text(content.get(name)) for name in ("question", "part", "about", "reading")},
        seen=tuple(map(_text, _list(content.get("seen")))),
        claims=tuple(_claim(_mapping(one), folder.name) for one in _list(content.get("claims"))),
        pictures=tuple(one for one in pictures if one is not None),
        settings=_mapping(content.get("settings")),
        notes=tuple(notes),
    )


def claim_fields(row: Judged) -> dict[str, Any]:
    """Write a claim with its verdict as plain fields, as `claims.json` has them.

    Args:
        row: The claim.

    Returns:
        Its fields; what has no number may be NaN.
    """
    verdict = row.verdict
    return {
        "id": row.id,
        "text": row.text,
        "rule": row.rule,
        "kind": verdict.kind,
        "verdict": verdict.decision,
        "finding": row.finding,
        "reason": verdict.reason,
        "members": verdict.members,
        "p": verdict.p,
        "p_holm": row.p_holm,
        "parts": [
            {
                "coordinates": dict(part.coordinates),
                "verdict": part.decision,
                "estimate": part.estimate,
                "interval": list(part.interval),
                "p": part.p,
                "members": part.members,
                "direction": part.direction,
                "summary": part.summary,
                "reason": part.reason,
                "rule": part.rule,
            }
            for part in verdict.parts
        ],
    }


def plain(content: Any) -> Any:
    """Write what has no number as null, which is all that JSON has for it.

    Args:
        content: Mappings, lists and plain values.

    Returns:
        The same without NaN and infinities.
    """
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {str(name): plain(value) for name, value in content.items()}
    return [plain(value) for value in content] if isinstance(content, list | tuple) else content


def _whole(path: Path) -> dict[str, Any]:
    """Read a file whose digest is right."""
    again = "the study's own page can be made again from its results"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StorageError(f"{path} is not read, because it is larger than {_MOST_BYTES // 10**6} MB.")
        stored = json.loads(get(path))
        content: dict[str, Any] = stored["content"]
        whole = isinstance(content, dict) and stored["digest"] == digest(canonical(content))
    except OSError as error:
        raise StorageError(f"{path} can't be read ({error.strerror or error}).") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {again}.") from error
    if not whole:
        raise DamagedError(f"{path} is damaged: its content does not have the digest that it was stored with; {again}.")
    return content


def _of_an_earlier_version(folder: Path) -> StoredPage:
    """Read the verdicts in `claims.json` and the figures' files, which had no digest."""
    notes: list[str] = []
    claims: list[Any] = []
    path = folder.parent / CLAIMS_FILE
    try:
        if path.stat().st_size <= _MOST_BYTES:
            claims = _list(json.loads(get(path)))
    except FileNotFoundError:
        pass
    except (OSError, StorageError, ValueError, RecursionError):
        notes.append(f"{path} can't be read, so this study's verdicts are not shown.")
    own = [one for one in map(_mapping, claims) if _text(one.get("id")).startswith(f"{folder.name}.")]
    try:
        files = names(folder / FIGURES)
    except StorageError as error:
        notes.append(str(error))
        files = []
    stems = dict.fromkeys(Path(one).stem.removeprefix("figure-") for one in files if one.startswith("figure-"))
    figures = [{"name": stem, "title": stem, "files": None} for stem in stems]
    pictures = [one for one in (_picture(folder, figure, notes) for figure in figures) if one is not None]
    if own or pictures:
        notes.append(_WITHOUT_DIGEST)
    return StoredPage(
        claims=tuple(_claim(one, folder.name) for one in own), pictures=tuple(pictures), notes=tuple(notes)
    )


def _claim(stored: Mapping[str, Any], study: str) -> Judged:
    """Read a claim; a verdict of a kind or with words that this version does not know is shown without one."""
    word, kind = _text(stored.get("verdict")), _text(stored.get("kind"))
    decision, reason = _decision(word), _text(stored.get("reason"))
    if decision == _UNTESTED and RENAMED.get(word, word) != _UNTESTED:
        reason = f"it was stored as “{word}”, which this version does not know"
    verdict = Verdict(
        kind=RENAMED.get(kind, kind),  # type: ignore[arg-type]  # one of another version is only shown
        decision=decision,
        parts=tuple(_part(_mapping(one)) for one in _list(stored.get("parts"))),
        members=_count(stored.get("members")),
        p=_p(stored.get("p")),
        reason=reason,
    )
    letter = _text(stored.get("id")).rpartition(".")[2] or "?"
    text, rule, finding = (_text(stored.get(name)) for name in ("text", "rule", "finding"))
    return Judged(f"{study}.{letter}", text, rule, verdict, finding)


def _part(stored: Mapping[str, Any]) -> Part:
    interval = [_number(one) for one in _list(stored.get("interval"))]
    return Part(
        decision=_decision(_text(stored.get("verdict"))),
        estimate=_number(stored.get("estimate")),
        interval=(interval[0], interval[1]) if len(interval) == 2 else (math.nan, math.nan),
        p=_p(stored.get("p")),
        members=_count(stored.get("members")),
        summary=_text(stored.get("summary")),
        coordinates={_text(name): _text(value) for name, value in _mapping(stored.get("coordinates")).items()},
        reason=_text(stored.get("reason")),
        rule=_text(stored.get("rule")),
        direction=next((one for one in get_args(Direction) if one == stored.get("direction")), "neither"),
    )


def _picture(folder: Path, stored: Mapping[str, Any], notes: list[str]) -> Picture | None:
    """Read a figure's file as an image: a PNG, which can't hold anything else, or else an SVG."""
    name = _text(stored.get("name"))
    if not _NAME.fullmatch(name):
        notes.append("A figure whose name is none is not shown.")
        return None
    expected = stored.get("files")
    causes = []
    for kind, encode in (("png", _png), ("svg", _svg)):
        path = folder / FIGURES / f"figure-{name}.{kind}"
        if not path.exists() or (expected is not None and path.name not in _mapping(expected)):
            continue
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError("it is too large")
            content = get(path)
            if expected is not None and digest(content) != expected[path.name]:
                raise ValueError("it is damaged: it does not have the digest that it was stored with")
            source = encode(content)
        except (OSError, ValueError, StorageError) as error:
            causes.append(f"{path.name} is not shown: {str(error).removesuffix('.')}.")
            continue
        number, title = stored.get("number"), _text(stored.get("title"))
        title = f"Figure {number}. {title}" if isinstance(number, int) else title
        notes += causes
        return Picture(name, title, source, _text(stored.get("finding")), _text(stored.get("reading")))
    notes += causes or [f"The file of figure {name} is missing."]
    return None


def _png(content: bytes) -> str:
    if not content.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        raise ValueError("it is no PNG")
    if int.from_bytes(content[16:20]) * int.from_bytes(content[20:24]) > _MOST_PIXELS:
        raise ValueError("it has too many pixels")
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _svg(content: bytes) -> str:
    # Within an image a browser runs no script and fetches nothing; what could still take its time is refused.
    if not re.match(rb"(<\?xml[^>]*>)?\s*<svg\b", content) or _NEVER_IN_AN_SVG.search(content):
        raise ValueError("it is no plain SVG")
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"


def _decision(word: str) -> Decision:
    known: Mapping[str, Decision] = {one: one for one in get_args(Decision)}
    return known.get(RENAMED.get(word, word), _UNTESTED)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else math.nan


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 10**9 else 0


def _p(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None

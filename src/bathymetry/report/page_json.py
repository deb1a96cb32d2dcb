"""What a page said of a study, stored next to its results, for pages that are made without the study's code.

A user's own study is code, and code is run only when its user names it. Without it a page shows what an earlier page
said: texts, verdicts, and figures as images. Whoever made the folder can have written anything into them, so all of it
is read as plain text, numbers and pixels. `page.json` has a digest over its content, which covers the figures as well.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast, get_args

from bathymetry.charts.sheet import cited_as
from bathymetry.claims.judging import Judged
from bathymetry.core.errors import DamagedError, StorageError, abridged
from bathymetry.core.identity import canonical, digest
from bathymetry.core.showing import plain
from bathymetry.report.sections import Picture, StudySection
from bathymetry.stats import Part, Verdict
from bathymetry.stats.verdict import RENAMED, Decision, Direction
from bathymetry.store import storage
from bathymetry.store.storage import Place

PAGE_FILE = "page.json"
CLAIMS_FILE = "claims.json"
PROVENANCE_FILE = "provenance.json"
FIGURES = "figures"
_FORMAT = 1
_PLAIN = ("question", "about", "reading", "answer")
_WORDS = {"part": "chapter"} | {name: name for name in _PLAIN}  # as stored, and here
_OF_A_PART = ("coordinates", "estimate", "interval", "p", "members", "direction", "summary", "effect")
_NAME = re.compile(r"\w[\w.-]{0,99}")
MOST_BYTES = 20_000_000  # of a figure's file, and of a page's texts
_MOST_PIXELS = 100_000_000
_NEVER_IN_AN_SVG = re.compile(rb"<!ENTITY|<(\w+:)?(script|use|foreignObject|image|style)\b", re.IGNORECASE)
_AGAIN = "the study's own page can be made again from its results"
_WITHOUT_DIGEST = "An earlier version stored this study's verdicts and figures without a digest; damage would not show."


def write_section(
    folder: Place, section: StudySection, settings: Mapping[str, Any], stored: Mapping[str, Mapping[str, Any]]
) -> None:
    """Store what a page says of a study, with its settings as JSON has them and what is stored of each figure."""
    figures = [
        {name: getattr(figure, name) for name in ("name", "title", "number", "finding", "reading")}
        | {"files": {}}
        | dict(stored.get(figure.name, {}))
        for figure in section.figures
    ]
    content = plain(
        {"format": _FORMAT, "name": section.name, "settings": settings, "figures": figures}
        | {"seen": section.main_findings}
        | {stored: getattr(section, name) for stored, name in _WORDS.items()}
        | {"claims": [claim_fields(claim) for claim in section.claims]}
    )
    sealed = {"digest": digest(canonical(content)), "content": content}
    storage.write(folder / PAGE_FILE, json.dumps(sealed, indent=1).encode())


def stored_figures(folder: Place) -> dict[str, dict[str, Any]]:
    """Read what `page.json` holds of each figure, by its name; nothing where it can't be read."""
    with suppress(StorageError):
        return {_text(one.get("name")): one for one in map(_mapping, _list(checked(folder / PAGE_FILE).get("figures")))}
    return {}


def claim_fields(claim: Judged) -> dict[str, Any]:
    """Write a claim with its verdict as plain fields, as `claims.json` has them."""
    verdict = claim.verdict
    words = {"id": claim.id, "text": claim.text, "rule": claim.rule, "kind": verdict.kind, "verdict": verdict.decision}
    outcome = {"finding": claim.finding, "reason": verdict.reason, "members": verdict.members, "p": verdict.p}
    parts = [{"verdict": part.decision} | {name: getattr(part, name) for name in _OF_A_PART} for part in verdict.parts]
    return words | outcome | {"p_holm": claim.p_holm, "parts": parts}


def read_section(folder: Place) -> StudySection:
    """Read what an earlier page said of a study, as far as this version understands it; what was left out is said."""
    notes: list[str] = []
    content: Mapping[str, Any] = {}
    try:
        stored = PAGE_FILE in storage.names(folder)
        content = checked(folder / PAGE_FILE) if stored else _of_an_earlier_version(folder, notes)
    except StorageError as error:
        notes.append(str(error))
    pictures = [_picture(folder, _mapping(one), notes) for one in _list(content.get("figures"))]
    words: dict[str, Any] = {name: _text(content[stored]) for stored, name in _WORDS.items() if stored in content}
    return StudySection(
        folder.name,
        **words,
        main_findings=tuple(map(_text, _list(content.get("seen")))),
        claims=tuple(claim_of(_mapping(one), folder.name) for one in _list(content.get("claims"))),
        pictures=tuple(one for one in pictures if one is not None),
        settings=_mapping(content.get("settings")),
        warnings=tuple(notes),
    )


def load(path: Place) -> Any:
    """Read JSON of a bounded size."""
    try:
        if storage.size(path) > MOST_BYTES:
            raise StorageError(f"{path} is not read, because it is larger than {MOST_BYTES // 10**6} MB.")
        return json.loads(storage.read(path))
    except OSError as error:
        raise StorageError(f"{path} can't be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {_AGAIN}.") from error


def checked(path: Place) -> dict[str, Any]:
    """Read a file whose digest is right."""
    stored = _mapping(load(path))
    content = _mapping(stored.get("content"))
    with suppress(ValueError, RecursionError):
        if stored.get("digest") == digest(canonical(content)):
            return content
    raise DamagedError(f"{path} is damaged: its content does not have the digest that it was stored with; {_AGAIN}.")


def _of_an_earlier_version(folder: Place, notes: list[str]) -> dict[str, Any]:
    """Read the verdicts in `claims.json`, the settings in `provenance.json` and the figures, which had no digest."""
    content: dict[str, Any] = {}
    files: list[str] = []
    try:
        files = [name for name in storage.names(folder / FIGURES) if name.startswith("figure-")]
        for name in (CLAIMS_FILE, PROVENANCE_FILE):
            path = folder.parent / name
            content[name] = load(path) if storage.exists(path) else None
    except StorageError as error:
        notes.append(str(error))
    claims = map(_mapping, _list(content.get(CLAIMS_FILE)))
    own = [one for one in claims if _text(one.get("id")).startswith(f"{folder.name}.")]
    settings = _mapping(_mapping(content.get(PROVENANCE_FILE)).get(folder.name)).get("settings")
    stems = dict.fromkeys(Path(name).stem.removeprefix("figure-") for name in files)
    if own or stems:
        notes.append(_WITHOUT_DIGEST)
    return {"claims": own, "settings": settings, "figures": [{"name": stem, "title": stem} for stem in stems]}


def misfit(stored: Mapping[str, Any]) -> str:
    """The first field of a stored claim with another kind of value than it needs: "members = 'ten'"; else empty."""
    parts = stored.get("parts", [])
    if not isinstance(parts, list) or not all(isinstance(one, dict) for one in parts):
        return f"parts = {abridged(repr(parts))}"
    wrong = [one for fields in (stored, *parts) for one in _misfits(fields)]
    return f"{wrong[0][0]} = {abridged(repr(wrong[0][1]))}" if wrong else ""


def _misfits(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The fields of a claim or part that have another kind than `claim_fields` writes."""
    kinds: dict[str, Callable[[Any], bool]] = {
        **dict.fromkeys(("id", "text", "rule", "kind", "verdict", "finding", "reason"), _is_text),
        **dict.fromkeys(("direction", "summary", "effect"), _is_text),
        **dict.fromkeys(("p", "p_holm"), lambda one: one is None or (_is_number(one) and 0 <= one <= 1)),
        "members": lambda one: isinstance(one, int) and _is_number(one) and _count(one) == one,
        "estimate": lambda one: one is None or _is_number(one),
        "interval": lambda one: isinstance(one, list) and all(end is None or _is_number(end) for end in one),
        "coordinates": lambda one: isinstance(one, dict),
    }
    return [(name, fields[name]) for name, fits in kinds.items() if name in fields and not fits(fields[name])]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def claim_of(stored: Mapping[str, Any], study: str) -> Judged:
    """Read a claim; a verdict in words that this version does not know is shown as not tested."""
    word, kind = _text(stored.get("verdict")), _text(stored.get("kind"))
    decision, reason = _decision(word), _text(stored.get("reason"))
    if decision == "not tested" and RENAMED.get(word, word) != decision:
        reason = f"it was stored as “{word}”, which this version does not know"
    kind = RENAMED.get(kind, kind)
    parts = tuple(_part(_mapping(one)) for one in _list(stored.get("parts")))
    # a kind of another version is only shown
    verdict = Verdict(cast(Any, kind), decision, parts, _count(stored.get("members")), _p(stored.get("p")), reason)
    letter = _text(stored.get("id")).rpartition(".")[2] or "?"
    text, rule, finding = (_text(stored.get(name)) for name in ("text", "rule", "finding"))
    return Judged(f"{study}.{letter}", text, rule, verdict, finding, p_holm=_p(stored.get("p_holm")))


def _part(stored: Mapping[str, Any]) -> Part:
    interval = [_number(one) for one in _list(stored.get("interval"))]
    direction: Any = stored.get("direction")
    return Part(
        decision=_decision(_text(stored.get("verdict"))),
        estimate=_number(stored.get("estimate")),
        interval=(interval[0], interval[1]) if len(interval) == 2 else (math.nan, math.nan),
        p=_p(stored.get("p")),
        members=_count(stored.get("members")),
        coordinates={_text(name): _text(value) for name, value in _mapping(stored.get("coordinates")).items()},
        direction=direction if direction in get_args(Direction) else "neither",
        summary=_text(stored.get("summary")),
        effect=_text(stored.get("effect")),
    )


def _picture(folder: Place, stored: Mapping[str, Any], notes: list[str]) -> Picture | None:
    """Read a figure's file as an image: a PNG, which can't hold anything else, or else an SVG."""
    name, expected = _text(stored.get("name")), stored.get("files")
    if not _NAME.fullmatch(name):
        notes.append("A figure whose name is none is not shown.")
        return None
    causes = []
    for kind, encode in (("png", _png), ("svg", _svg)):
        path = folder / FIGURES / f"figure-{name}.{kind}"
        if not storage.exists(path) or (expected is not None and path.name not in _mapping(expected)):
            continue
        try:
            if storage.size(path) > MOST_BYTES:
                raise ValueError("it is too large")
            content = storage.read(path)
            if expected is not None and digest(content) != expected[path.name]:
                raise ValueError("it is damaged: it does not have the digest that it was stored with")
            source = encode(content)
        except (OSError, ValueError, StorageError) as error:
            causes.append(f"{path.name} is not shown: {str(error).removesuffix('.')}.")
            continue
        notes += causes
        cited = cited_as(stored.get("number"))
        title = (cited and f"{cited}. ") + _text(stored.get("title"))
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
    return cast(Decision, word) if word in get_args(Decision) else "not tested"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any, low: float = -1e300, high: float = 1e300) -> float:
    return float(value) if isinstance(value, int | float) and low <= value <= high else math.nan


def _p(value: Any) -> float | None:
    p = _number(value, 0, 1)
    return None if math.isnan(p) else p


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 10**9 else 0

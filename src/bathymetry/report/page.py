"""The page: one HTML file that holds all it needs, and says what was found as it loads.

The charting scripts stand in it once, all chart data once and by column; each chart is a short description that refers
to its data by name. Nothing is fetched, so it works from a mailbox or a memory stick.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bathymetry.charts.sheet import Sheet, charting_library, common_key
from bathymetry.charts.theme import PALETTE, configuration, sample, twins
from bathymetry.claims.judging import Judged
from bathymetry.core.showing import printable
from bathymetry.report.sections import StudySection
from bathymetry.stats.verdict import Decision, Kind, Part, Verdict
from bathymetry.studies.settings import field_name, shown

_SYMBOLS: Mapping[Decision, str] = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not tested": "–"}
_PLAIN_STYLE = ".waiting { display: none; } .chart { min-height: 0 !important; }"  # where scripts are off
_ROOM = 4.0  # per cent left free at both ends of a drawn effect


@dataclass(frozen=True)
class Report:
    """All that the page says."""

    title: str
    opening: tuple[str, ...]  # first lines: the data, when, what was run
    studies: tuple[StudySection, ...]
    provenance: Mapping[str, str]
    reproduce: str  # the commands that reproduce it
    notes: tuple[str, ...] = ()  # for example what could not be read


@dataclass(frozen=True)
class Effect:
    """Where one part's effect is drawn, in per cent of the width."""

    part: Part
    decision: Decision  # of the part; "not tested" where the whole claim is not
    middle: float
    low: float
    high: float
    neutral: float | None  # where no effect would be; None where there is no such value


def page(report: Report, library: str | None = None) -> str:
    """Write the page as HTML, to be stored as one file; `library` is what `charting_library` gives."""
    datasets: dict[str, Any] = {}
    charts: dict[str, Any] = {}
    drawn = {
        study.name: [_drawn(figure, study.name, datasets, charts) for figure in study.figures]
        for study in report.studies
    }
    claims = [claim for study in report.studies for claim in study.claims]
    style = _style({chart["height"] for some in drawn.values() for one in some for chart in one["charts"]})
    library = _inside_script(library or charting_library())
    scripts = [
        f"(() => {{\n{library}\n}})();",
        f"\n{_inside_script(_read('page.js'))}\n",
    ]
    content = {
        "datasets": {name: columns(rows) for name, rows in datasets.items()},
        "charts": charts,
        "config": configuration(),
        "twins": twins(),
    }
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_held_together,
    )
    environment.filters.update(p=_p, sentence=_sentence, code=escape, setting=field_name, shown=shown)
    environment.globals.update(effects=effects, symbols=_SYMBOLS, in_key=_in_key)
    return environment.get_template("page.html.j2").render(
        report=report,
        drawn=drawn,
        tally=_tally(claims),
        claims=claims,
        fewest=_too_few(claims),
        colour_name={light: name for name, (light, _) in PALETTE.items()},
        policy=Markup(_policy(scripts, [style, _PLAIN_STYLE])),
        style=Markup(style),
        plain_style=Markup(_PLAIN_STYLE),
        library=Markup(scripts[0]),
        script=Markup(scripts[1]),
        content=Markup(_json(content)),
    )


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Allow exactly these scripts and styles and images that stand in the page, and nothing from anywhere else."""
    allowed = {"script-src": scripts, "style-src": styles}
    listed = [f"{kind} {' '.join(map(_hash, sources))}" for kind, sources in allowed.items()]
    return "; ".join(["default-src 'none'", *listed, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _style(heights: Collection[int]) -> str:
    """Write all rules into one element; a style attribute would need a policy that allows any."""
    light = "\n".join(f"  --{name}: {one};" for name, (one, _) in PALETTE.items())
    dark = "\n".join(f"    --{name}: {other};" for name, (_, other) in PALETTE.items())
    samples = "\n".join(f".in-{name} {{ --colour: var(--{name}); }}" for name in PALETTE)
    room = "\n".join(f".high-{height} {{ min-height: {height + 60}px; }}" for height in sorted(heights))
    return (
        f":root {{\n  color-scheme: light dark;\n{light}\n}}\n"
        f"@media screen and (prefers-color-scheme: dark) {{\n  :root {{\n{dark}\n  }}\n}}\n"
        f"{_read('style.css')}\n{samples}\n{room}\n"
    )


def _read(name: str) -> str:
    return files("bathymetry.report").joinpath(name).read_text(encoding="utf-8")


def _drawn(figure: Sheet, study: str, datasets: dict[str, Any], charts: dict[str, Any]) -> dict[str, Any]:
    """Take a figure apart into data, descriptions of charts, and what the page says around them."""
    panels, keys = list[dict[str, Any]](), []
    for place, panel in enumerate(figure.panels):
        view = panel.copied()
        datasets.update(view.pop("datasets", {}))
        for name in ("$schema", "config", "description"):
            view.pop(name, None)
        keys.append(tuple(view.pop("usermeta", {}).get("key", ())))
        for layer in view.get("layer", [view]):  # its key is made of buttons that wrap
            for channel in layer.get("encoding", {}).values():
                if isinstance(channel, dict) and "legend" in channel:
                    channel["legend"] = None
        chart = f"{study}-{figure.name}-{place}"
        charts[chart] = view
        words = {"title": panel.title, "description": panel.description}
        panels.append({"id": chart, "height": int(view.get("height", 300)), **words})
    common, own = common_key(keys)
    charted = [one | {"key": key} for one, key in zip(panels, own, strict=True)]
    return {"figure": figure, "key": common, "charts": charted}


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write rows by column: values, or `levels` with the `place` of each row's, or held for `each` rows in turn."""
    names = list(rows[0]) if rows else []
    return {"rows": len(rows), "columns": {name: _small([_short(row[name]) for row in rows]) for name in names}}


def _small(column: list[Any]) -> Any:
    levels = list(dict.fromkeys(column))
    if len(levels) * 2 > len(column) and len(column) > 2:
        return column
    each = next((place for place, value in enumerate(column) if value != column[0]), len(column))
    if all(value == levels[place // each % len(levels)] for place, value in enumerate(column)):
        return {"levels": levels, "each": each}
    if len(levels) * 4 > len(column):
        return column
    places = {value: place for place, value in enumerate(levels)}
    return {"levels": levels, "place": [places[value] for value in column]}


def _short(value: Any) -> Any:  # 3.0 is written as 3
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def effects(verdict: Verdict) -> tuple[Effect, ...]:
    """Lay out the effects of a verdict's parts on one scale, of those that have an estimate and an interval."""
    parts = [part for part in verdict.parts if all(map(math.isfinite, (part.estimate, *part.interval)))]
    if not parts:
        return ()
    start, end, neutral = _scale(verdict.kind, parts)

    def place(value: float) -> float:
        share = min(max((value - start) / (end - start), 0.0), 1.0)
        return round(_ROOM + (100 - 2 * _ROOM) * share, 2)

    middle = None if neutral is None else place(neutral)
    untested = verdict.decision == "not tested"
    laid = []
    for part in parts:
        low, high = map(place, part.interval)
        decision = "not tested" if untested else part.decision
        laid.append(Effect(part, decision, place(part.estimate), low, high, middle))
    return tuple(laid)


def _scale(kind: Kind, parts: Sequence[Part]) -> tuple[float, float, float | None]:
    """Both ends of the scale, and the value that would mean no effect."""
    if kind in ("majority", "stochastic_order", "best_of"):
        return 0.0, 1.0, 0.5
    if kind == "correlation":
        return -1.0, 1.0, 0.0
    ends = [end for part in parts for end in (part.estimate, *part.interval)]
    if kind == "mean_sign":
        reach = max(map(abs, ends)) or 1.0
        return -reach, reach, 0.0
    low, high = min(ends), max(ends)
    return (low, high, None) if high > low else (low - 1, high + 1, None)


def _tally(claims: Sequence[Judged]) -> list[tuple[Decision, int, int]]:
    """Count the verdicts, in the order in which a reader wants them, and those that Holm's correction undoes."""
    by_decision = {one: [claim for claim in claims if claim.verdict.decision == one] for one in _SYMBOLS}
    return [(one, len(same), sum(claim.lost_by_holm for claim in same)) for one, same in by_decision.items() if same]


def _too_few(claims: Sequence[Judged]) -> int | None:
    """Find the fewest members that all agree and still are too few for a verdict among so many claims."""
    verdicts = [claim.verdict for claim in claims if claim.verdict.kind == "majority" and claim.lost_by_holm]
    return min((one.members for one in verdicts if one.p == 2.0 ** (1 - one.members)), default=None)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "." if words else ""


def _held_together(value: object) -> object:
    """Keep a line from breaking before a per cent sign and within "p = 0.03", and show what would turn it around."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    value = printable(value)
    return re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", re.sub(r"(?<=\d) %", "\u00a0%", value))


def _in_key(entry: Mapping[str, Any]) -> Markup:
    return Markup(sample(entry, "var(--colour)"))


def _json(content: Mapping[str, Any]) -> str:
    """Write JSON that no HTML parser can mistake for markup."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _inside_script(source: str) -> str:
    """Keep a script's own text from ending the element that it stands in."""
    return source.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")

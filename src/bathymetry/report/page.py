"""The page: one HTML file that holds all it needs, and says what was found as it loads.

The charting scripts stand in it once, all chart data once and by column (`columns.py`); each chart is a short
description that refers to its data by name. Nothing is fetched, so it works from a mailbox or a memory stick.
"""

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup, escape

from bathymetry.charts.figure import Figure
from bathymetry.charts.theme import PALETTE, configuration, sample, twins
from bathymetry.claims import Judged
from bathymetry.core.showing import printable
from bathymetry.report.content import Report
from bathymetry.report.sections import chance, columns, effects
from bathymetry.stats.verdict import Decision, decided_by

_SYMBOLS: Mapping[Decision, str] = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not tested": "–"}


_PLAIN_STYLE = ".waiting { display: none; } .chart { min-height: 0 !important; }"  # where scripts are off


@dataclass(frozen=True)
class _Chart:
    """One panel's place on the page."""

    id: str
    title: str
    description: str
    height: int
    key: tuple[Mapping[str, Any], ...]  # empty where the figure's key says it for all its panels


@dataclass(frozen=True)
class _Drawn:
    """A figure's place on the page."""

    figure: Figure
    id: str
    title: str
    key: tuple[Mapping[str, Any], ...]
    charts: tuple[_Chart, ...]


def page(report: Report) -> str:
    """Write the page.

    Args:
        report: All that it says.

    Returns:
        HTML, to be stored as one file.
    """
    datasets: dict[str, Any] = {}
    specifications: dict[str, Any] = {}
    drawn = {
        study.name: [_drawn(figure, study.name, datasets, specifications) for figure in study.figures]
        for study in report.studies
    }
    claims = [claim for study in report.studies for claim in study.claims]
    style = _style({chart.height for some in drawn.values() for one in some for chart in one.charts})
    scripts = [f"(() => {{\n{_inside_script(_library())}\n}})();", f"\n{_inside_script(_read('page.js'))}\n"]
    content = {
        "datasets": {name: columns(rows) for name, rows in datasets.items()},
        "charts": specifications,
        "config": configuration(),
        "twins": twins(),
    }
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, finalize=_held_together,
    )  # fmt: skip
    environment.filters.update(p=_p, sentence=_sentence, code=_code)
    environment.globals.update(effects=effects, symbols=_SYMBOLS, decided_by=decided_by, in_key=_in_key)
    return environment.get_template("page.html.j2").render(
        report=report,
        drawn=drawn,
        tally=_tally(claims),
        claims=len(claims),
        chance=chance(claims),
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


@cache
def _library() -> str:
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _read(name: str) -> str:
    return files("bathymetry.report").joinpath(name).read_text(encoding="utf-8")


def _drawn(figure: Figure, study: str, datasets: dict[str, Any], specifications: dict[str, Any]) -> _Drawn:
    # Take a figure apart into data, descriptions of charts, and words.
    anchor = f"figure-{figure.name}"
    views = []
    for place, panel in enumerate(figure.panels):
        view: dict[str, Any] = panel.chart.to_dict()
        datasets.update(view.pop("datasets", {}))
        for name in ("$schema", "config", "description"):
            view.pop(name, None)
        meta = view.pop("usermeta", {})
        _drop_legends(view)
        chart = f"{study}-{figure.name}-{place}"
        specifications[chart] = view
        views.append((chart, panel, int(view.get("height", 300)), tuple(meta.get("key", ()))))
    keys = [key for *_, key in views]
    common = keys[0] if keys and all(key == keys[0] for key in keys) else ()
    return _Drawn(
        figure=figure,
        id=anchor,
        title=f"Figure {figure.number}. {figure.title}" if figure.number is not None else figure.title,
        key=common,
        charts=tuple(
            _Chart(chart, panel.title, panel.description, height, () if common else key)
            for chart, panel, height, key in views
        ),
    )


def _drop_legends(view: dict[str, Any]) -> None:
    """Leave a chart's key to the page, where it is made of buttons that wrap."""
    for layer in view.get("layer", [view]):
        for channel in layer.get("encoding", {}).values():
            if isinstance(channel, dict) and "legend" in channel:
                channel["legend"] = None


def _tally(claims: Sequence[Judged]) -> list[tuple[Decision, int, int]]:
    # Count the verdicts, in the order in which a reader wants them, and those of each that chance could do.
    counted = []
    for decision in _SYMBOLS:
        same = [claim for claim in claims if claim.verdict.decision == decision]
        counted.append((decision, len(same), sum(claim.light for claim in same)))
    return [one for one in counted if one[1]]


def _p(value: float | None) -> str:
    # Write a p-value as papers do.
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _sentence(words: str) -> str:
    # Begin a clause as a sentence and end it as one.
    return words[:1].upper() + words[1:].rstrip(".") + "." if words else ""


def _held_together(value: object) -> object:
    # Keep a line from breaking between a number and its per cent sign, and within "p = 0.03". Stored words may hold
    # characters that turn the rest of a line around, which are shown instead of obeyed.
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    value = printable(value)
    return re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", re.sub(r"(?<=\d) %", "\u00a0%", value))


def _code(text: str) -> Markup:
    # Leave a program as it is, but for what HTML would take for markup.
    return escape(text)


def _in_key(entry: Mapping[str, Any]) -> Markup:
    # Draw an entry of a key in the colour that its class gives it.
    return Markup(sample(entry, "var(--colour)"))


def _json(content: Mapping[str, Any]) -> str:
    # Write JSON that no HTML parser can mistake for markup.
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _inside_script(source: str) -> str:
    # Keep a script's own text from ending the element that it stands in.
    return source.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")
